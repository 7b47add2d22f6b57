"""Many draws of a loss and its gradients, and the test that their mean is what it should be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

from tests.inference import zoo

FALSE_ALARM = 1e-8
"""The rate at which one call of `assert_mean` or `assert_same_mean` fails by chance."""


def draws(loss: Callable[[], Tensor], calls: int = 100) -> Tensor:
    """The loss and all its gradients, flattened, a row a call: (calls, 1 + number of parameters)."""
    rows = []
    for _ in range(calls):
        value = loss()
        rows.append(flat(value, zoo.gradients(value)))
    return torch.stack(rows)


def flat(value: Tensor, gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().reshape(1), *(g.flatten() for g in gradients.values())])


def t_statistics(rows: Tensor, expected: Tensor) -> Tensor:
    """Student's t for each column; columns without variance must agree to 1e-9 and count as 0."""
    scale = rows.std(0) / rows.shape[0] ** 0.5
    exact = scale < 1e-12 * (1 + expected.abs())
    torch.testing.assert_close(rows.mean(0)[exact], expected[exact], rtol=1e-9, atol=1e-9)
    return torch.where(exact, 0.0, (rows.mean(0) - expected) / scale.clamp(min=1e-300))


def limit(degrees: float, comparisons: int) -> float:
    """What |t| exceeds with probability FALSE_ALARM in one of several comparisons."""
    return float(stats.t.isf(FALSE_ALARM / (2 * comparisons), degrees))


def assert_mean(rows: Tensor, expected: Tensor) -> None:
    """t-tests of each column's mean, Bonferroni over the columns; false alarm 1e-8 for sums of many examples."""
    t = t_statistics(rows, expected.detach())
    assert t.abs().max() < limit(len(rows) - 1, t.numel()), t


def assert_same_mean(one: Tensor, other: Tensor) -> None:
    """Welch's t-tests of each column, Bonferroni over the columns; false alarm 1e-8."""
    t = welch(one, other)
    assert t.abs().max() < limit(min(len(one), len(other)) - 1, t.numel()), t


def welch(one: Tensor, other: Tensor) -> Tensor:
    variance = one.var(0) / len(one) + other.var(0) / len(other)
    return (one.mean(0) - other.mean(0)) / variance.clamp(min=1e-30).sqrt()
