"""The table of all likelihoods: a line each, which puts it under every law of `test_laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probae.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Likelihood,
    Normal,
)

SIZE = 6
"""D in all laws but where a law says so."""


@dataclass(frozen=True)
class Case:
    """How to make a likelihood, and what the laws must know of it.

    Attributes:
        make: the constructor, for D dimensions.
        atoms: the values of one unit, (n, K), of a discrete likelihood; K is 1 but for categories.
        interval: otherwise, where nearly all mass of a value is.
        outputs: ends of a range of ordinary outputs.
        bad: a value outside the support, if there is one.
        largest: outputs up to this have finite densities in float32.
        least: settings beside its name that it cannot do without.
    """

    make: Callable[[int], Likelihood]
    atoms: Tensor | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    outputs: tuple[float, float] = (-3.0, 3.0)
    bad: float | None = 0.3
    largest: float = 1e30
    least: tuple[str, ...] = ()

    @property
    def unit(self) -> int:
        """How many values one unit has."""
        return 1 if self.atoms is None else self.atoms.shape[-1]

    def some_outputs(self, *shape: int) -> Tensor:
        """Ordinary outputs in float64, evenly spaced."""
        return torch.linspace(*self.outputs, int(np.prod(shape)), dtype=torch.float64).reshape(shape)

    def points(self) -> tuple[Tensor, Tensor]:
        """Values of one unit, (n, K), and weights (n,) under which a sum over them is the integral."""
        if self.atoms is not None:
            return self.atoms, torch.ones(len(self.atoms), dtype=torch.float64)
        nodes, weights = np.polynomial.legendre.leggauss(300)
        low, high = self.interval
        return torch.tensor(low + (high - low) * (nodes + 1) / 2)[:, None], torch.tensor(weights * (high - low) / 2)


BITS = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
LEVELS = torch.arange(17, dtype=torch.float64)[:, None] / 16
AROUND_ZERO = (-12.0, 12.0)
GREY = (-0.3, 1.3)

CASES: dict[str, Case] = {
    "bernoulli": Case(Bernoulli, BITS),
    "continuous bernoulli": Case(ContinuousBernoulli, bad=1.1),
    "categorical": Case(
        lambda size: Categorical(size, categories=3), torch.eye(3, dtype=torch.float64), least=("categories",)
    ),
    "discretized logistic": Case(lambda size: DiscretizedLogistic(size, 17), LEVELS, outputs=GREY),
    "discretized logistic, fixed scale": Case(
        lambda size: DiscretizedLogistic(size, 17, scale=0.02, learned=False), LEVELS, outputs=(0.05, 0.95)
    ),
    "discretized logistic, scales": Case(
        lambda size: DiscretizedLogistic(size, 17, learned="per_dimension"), LEVELS, outputs=GREY
    ),
    "normal": Case(lambda size: Normal(size, 0.7), interval=AROUND_ZERO, bad=None, largest=1e18),
    "normal, learned scale": Case(
        lambda size: Normal(size, 0.7, learned=True), interval=AROUND_ZERO, bad=None, largest=1e18
    ),
    "normal, learned scales": Case(
        lambda size: Normal(size, 0.7, learned="per_dimension"), interval=AROUND_ZERO, bad=None, largest=1e18
    ),
}
