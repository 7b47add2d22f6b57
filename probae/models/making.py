"""The parts of a model from its constructor's arguments, checked against each other."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

from torch import nn

from probae import checks
from probae.distributions.guides import GUIDES, GuideFamily
from probae.distributions.named import make
from probae.errors import ArgumentError
from probae.networks.mlp import MLP
from probae.networks.tied import tied_decoder

if TYPE_CHECKING:
    from probae.models.latent import LatentModel


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


def widths(hidden: Any, argument: str = "hidden") -> tuple[int, ...]:
    """Widths of hidden layers, from a number or a sequence of them, which may be empty."""
    sizes = (hidden,) if isinstance(hidden, Integral) else hidden
    if not isinstance(sizes, (tuple, list)):
        raise ArgumentError(argument, "a positive integer or a sequence of them", repr(hidden))
    return tuple(checks.positive_int(argument, size) for size in sizes)


def with_dropout(network: Any, dropout: float, hidden: Any, *, own: bool) -> dict[str, Any]:
    """The configuration of an MLP with dropout, where there is one that has hidden layers."""
    if network != "mlp" or own:
        raise ArgumentError("dropout", "0 beside modules of your own or another network than 'mlp'", dropout)
    if hidden in ((), []):
        raise ArgumentError("dropout", "0 without hidden layers", dropout)
    return {"name": "mlp", "dropout": dropout}


def tied(model: LatentModel) -> nn.Sequential:
    """A decoder that uses the weights of a model's encoder, transposed, where both are MLPs of the library's making."""
    if model.own_modules or not isinstance(model.network, MLP):
        raise ArgumentError("tied", "False beside modules of your own or another network than 'mlp'", True)
    if model.likelihood.num_outputs != model.num_visible:
        raise ArgumentError("tied", "False beside a likelihood of more than one output for each value", True)
    encoder: Any = model.encoder
    return tied_decoder(encoder)
