"""The sparse gamma deep exponential family (Ranganath et al. 2015, arXiv 1411.2581): three layers over counts."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import Trace_ELBO
from torch import Tensor

from benchmarks.programs.program import Pair, Program

Sizes = tuple[int, int, int]
"""Widths of the layers, the topmost first."""


def sparse(mean: Tensor, shape: float = 0.1) -> Any:
    """Gamma variables of this mean, most of them nearly zero."""
    return dist.Gamma(shape, shape / mean)


def make_model(widths: Sizes, words: int) -> Any:
    """Each layer's mean is the one above times weights; the counts are Poisson."""

    def weights(x: Tensor, name: str, inputs: int, outputs: int) -> Tensor:
        return pyro.sample(name, sparse(x.new_full((inputs, outputs), 0.3)).to_event(2))

    def model(x: Tensor) -> None:
        top, middle, bottom = widths
        above = weights(x, "weights_top", top, middle)
        between = weights(x, "weights_middle", middle, bottom)
        below = weights(x, "weights_bottom", bottom, words)
        with pyro.plate("documents", len(x)):
            z = pyro.sample("top", sparse(x.new_ones(len(x), top)).to_event(1))
            z = pyro.sample("middle", sparse(z @ above).to_event(1))
            z = pyro.sample("bottom", sparse(z @ between).to_event(1))
            pyro.sample("x", dist.Poisson(z @ below).to_event(1), obs=x)

    return model


def make_guide(start: dict[str, tuple[Tensor, Tensor]]) -> Any:
    """A Gamma for each variable, by its shape and mean: for each weight, and in each document for each unit."""

    def gamma(name: str, x: Tensor) -> Any:
        first_shape, first_mean = start[name]
        # Far smaller shapes give draws that float32 cannot tell from zero.
        shape = pyro.param(f"{name}_shape", lambda: first_shape.to(x), constraint=constraints.greater_than(0.3))
        mean = pyro.param(f"{name}_mean", lambda: first_mean.to(x), constraint=constraints.positive)
        return dist.Gamma(shape, shape / mean)

    def guide(x: Tensor) -> None:
        for layer in LAYERS:
            pyro.sample(f"weights_{layer}", gamma(f"weights_{layer}", x).to_event(2))
        with pyro.plate("documents", len(x)):
            for layer in LAYERS:
                pyro.sample(layer, gamma(layer, x).to_event(1))

    return guide


LAYERS = ("top", "middle", "bottom")


def initial(seed: int, widths: Sizes, words: int, documents: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Shapes of about 1 and means of about 1/2 (weights) and 1 (units), jittered."""
    generator = torch.Generator().manual_seed(seed)

    def jittered(middle: float, *size: int) -> Tensor:
        return middle * (0.2 * torch.randn(size, generator=generator)).exp()

    found = {}
    for layer, inputs, outputs in zip(LAYERS, widths, (*widths[1:], words), strict=True):
        size = (inputs, outputs)
        found[f"weights_{layer}"] = (jittered(1.0, *size), jittered(0.5, *size))
        found[layer] = (jittered(1.0, documents, inputs), jittered(1.0, documents, inputs))
    return found


def program(widths: Sizes, words: int, documents: int) -> Program:
    """The deep exponential family in one size; each document has its own parameters, so a step takes all."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        return Pair(make_model(widths, words), make_guide(initial(seed, widths, words, documents)))

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        generator = torch.Generator().manual_seed(seed)
        topics = torch.randn(widths[-1], words, generator=generator).exp()
        mixed = torch.rand(documents, widths[-1], generator=generator).pow(4) @ topics
        return [(torch.poisson(mixed, generator=generator).to(dtype),)]

    return Program(make, data, Trace_ELBO, 1e-2, None, documents)


FULL = program(widths=(100, 40, 15), words=1000, documents=320)
SMALL = program(widths=(4, 3, 2), words=10, documents=6)
