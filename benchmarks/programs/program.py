"""What a program comes with, and the parts that several of them share: small networks, pictures of a few kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from pyro.infer import ELBO
from torch import Tensor, nn


class Pair(NamedTuple):
    """A model and its guide."""

    model: Callable[..., Any]
    guide: Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A Pyro program of one size, with all that a fair comparison needs.

    All parameters are in Pyro's store under fixed names, as in any Pyro script. Two instances at the same time each
    need a store of their own: `with pyro.get_param_store().scope() as store:` for the first use of an instance,
    `scope(store)` for the next ones.

    Attributes:
        make: `make(seed, dtype=torch.float32)` gives a new model and guide; the seed is that of the initial
            parameters, and the global generator stays as it is.
        data: `data(seed, dtype=torch.float32)` gives the arguments of each step of an epoch, made from the seed.
        elbo: makes Pyro's objective that this program is trained with.
        learning_rate: of Adam.
        batch_size: examples that a step is handed; None where it is handed all, whether or not it subsamples them.
        examples: how many examples the loss of a step stands for.
        enumerates: whether discrete sites are summed out.
    """

    make: Callable[..., Pair]
    data: Callable[..., list[tuple[Any, ...]]]
    elbo: Callable[[], ELBO]
    learning_rate: float
    batch_size: int | None
    examples: int
    enumerates: bool = False


def together(batches: list[tuple[Any, ...]]) -> Any:
    """All batches as one tuple of tensors, to be cut and shuffled anew; as they are where an argument is None."""
    if any(part is None for batch in batches for part in batch):
        return batches
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


def seeded(seed: int, build: Callable[[], nn.Module], dtype: torch.dtype) -> Any:
    """A module whose initial weights come from this seed; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(dtype)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with tanh between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def location_and_scale(output: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of a network's output, the second one made positive."""
    location, raw = output.chunk(2, -1)
    return location, raw.exp()


def pictures(seed: int, count: int, pixels: int, kinds: int = 10) -> tuple[Tensor, Tensor]:
    """Bits around as many prototypes as there are kinds, a tenth of them flipped, and the kinds: (N, D) and (N,)."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.rand(kinds, pixels, generator=generator) < 0.3
    labels = torch.randint(kinds, (count,), generator=generator)
    flips = torch.rand(count, pixels, generator=generator) < 0.1
    return (prototypes[labels] ^ flips).float(), labels
