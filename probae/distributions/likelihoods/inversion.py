"""Increasing functions inverted by bisection."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def inverse(function: Callable[[Tensor], Tensor], values: Tensor, low: Tensor, high: Tensor, steps: int = 64) -> Tensor:
    """Where an increasing function, applied to each element, has the given values.

    Args:
        function: (D,) -> (D,).
        values: (D,), between function(low) and function(high), or the nearer end is returned.
        low, high: ends of the interval, (D,) or a scalar.
        steps: each halves it.

    Returns:
        (D,) in float64, within (high - low) / 2^(steps + 1).

    Example:
        >>> inverse(torch.exp, torch.tensor([1.0, 2.0]), torch.tensor(-1.0), torch.tensor(1.0))
        tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    values = values.double()
    low, high = low.double().expand_as(values), high.double().expand_as(values)
    for _ in range(steps):
        middle = (low + high) / 2
        below = function(middle) < values
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
