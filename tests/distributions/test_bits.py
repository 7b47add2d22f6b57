"""Random bits: the right rate in every place, independent, in any dtype."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from probae.distributions.bits import random_bits

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""


def test_every_lane_has_its_rate() -> None:
    """z-tests of 65 lanes (word sizes divide it badly) over 40,000 draws, Bonferroni; false alarm 1e-7."""
    rates, count = torch.linspace(0.01, 0.99, 65), 40_000
    bits = random_bits(rates.expand(count, -1))
    z = (bits.mean(0) - rates) / (rates * (1 - rates) / count).sqrt()
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / (2 * 65))


def test_neighbours_are_independent() -> None:
    """Correlations of 64 pairs of lanes and of successive draws are Normal(0, 1/n); Bonferroni, false alarm 1e-7."""
    count = 40_000
    signs = 2 * random_bits(torch.full((count, 65), 0.5)) - 1
    z = torch.cat([(signs[:, 1:] * signs[:, :-1]).sum(0), (signs[1:] * signs[:-1]).sum(0)]) / count**0.5
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / (2 * len(z)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_certain_bits_are_certain(dtype: torch.dtype) -> None:
    rates = torch.tensor([0.0, 1.0], dtype=dtype).expand(100_000, 2)
    bits = random_bits(rates)
    assert bits.dtype == dtype
    assert torch.equal(bits, rates)


def test_nothing_is_differentiated() -> None:
    rates = torch.full((3,), 0.5, requires_grad=True)
    assert not random_bits(rates).requires_grad
