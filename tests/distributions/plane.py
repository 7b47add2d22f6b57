"""Integrals over the plane, and the test that what is drawn has the density that is said."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

WAVES = torch.tensor([[0.5, 0.0], [0.0, 0.5], [1.0, 0.7], [0.8, -1.1], [2.0, 0.3]], dtype=torch.float64)


@cache
def points(size: float = 20.0, step: float = 0.1) -> Tensor:
    """Midpoints of the cells of [-size, size]^2: (n, 2), in float64."""
    axis = torch.arange(-size, size, step, dtype=torch.float64) + step / 2
    return torch.cartesian_prod(axis, axis)


def integral(log_density: Tensor, function: Tensor | float = 1.0, step: float = 0.1) -> Tensor:
    """The integral of exp(log_density) times a function over `points(step=step)`, on the last axis."""
    return (log_density.exp() * function).sum(-1) * step**2


def waves(z: Tensor) -> Tensor:
    """cos and sin of some directions of z (n, 2): (10, n), all in [-1, 1]."""
    angle = WAVES @ z.T.double()
    return torch.cat([angle.cos(), angle.sin()])


@torch.no_grad()
def assert_draws_have_the_density(distribution: Any, count: int = 100_000) -> None:
    """Ten waves of the draws have the means that quadrature of the density gives.

    A mean of n values in [-1, 1] misses by t with probability 2 exp(-n t^2 / 2) at most (Hoeffding); with t as below
    that is 1e-8 each, 1e-7 for all.
    """
    expected = integral(distribution.log_prob(points()), waves(points()))
    found = waves(distribution.sample((count,))).mean(-1)
    assert (found - expected).abs().max() < math.sqrt(2 * math.log(2e8) / count)
