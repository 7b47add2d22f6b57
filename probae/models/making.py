"""The parts of a model from its constructor's arguments, checked against each other."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from torch import nn

from probae import checks
from probae.distributions.guides import GUIDES, GuideFamily
from probae.distributions.named import make
from probae.errors import ArgumentError


def families(guide: Any, dims: tuple[int, ...]) -> list[GuideFamily]:
    """A guide family for each stochastic layer."""
    if len(dims) > 1 and isinstance(guide, GuideFamily):
        raise ArgumentError("guide", "a name or a configuration, from which each layer gets its own", repr(guide))
    made = [make("guide", guide, GuideFamily, GUIDES, dim) for dim in dims]
    for family, dim in zip(made, dims, strict=True):
        check_size("guide", "latent variables", family.latent_dim, dim)
    return made


def check_size(argument: str, what: str, size: int, wanted: int) -> None:
    """Refuse a part given as an object that was made for another size."""
    if size != wanted:
        raise ArgumentError(argument, f"one over {wanted} {what}", f"one over {size}")


def own_module(argument: str, module: Any) -> bool:
    """Whether a user brought a module of their own; something else in its place is an error."""
    if module is not None and not isinstance(module, nn.Module):
        raise ArgumentError(argument, "a torch.nn.Module", type(module).__name__)
    return module is not None


def widths(hidden: Any) -> tuple[int, ...]:
    """Widths of hidden layers, from a number or a sequence of them, which may be empty."""
    sizes = (hidden,) if isinstance(hidden, Integral) else hidden
    if not isinstance(sizes, (tuple, list)):
        raise ArgumentError("hidden", "a positive integer or a sequence of them", repr(hidden))
    return tuple(checks.positive_int("hidden", size) for size in sizes)
