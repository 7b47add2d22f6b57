"""Bits: the density in closed form, and grey values are refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from probae.distributions.likelihoods import Bernoulli
from probae.errors import DataError


def test_the_density() -> None:
    outputs = torch.linspace(-3, 3, 30, dtype=torch.float64).reshape(5, 6)
    x = (outputs > 0.3).double()
    expected = -F.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(-1)
    torch.testing.assert_close(Bernoulli(6).distribution(outputs).log_prob(x), expected)


@pytest.mark.parametrize("logit", [50.0, 1e4, 1e30])
def test_a_sure_mistake_costs_its_logits(logit: float) -> None:
    outputs = torch.tensor([[logit, -logit]])
    for x in ([[1.0, 0.0]], [[0.0, 1.0]]):
        log_prob = Bernoulli(2).distribution(outputs).log_prob(torch.tensor(x))
        assert log_prob.item() == pytest.approx(0.0 if x[0][0] else -2 * logit)


@pytest.mark.parametrize("x", [0.0, 1.0])
def test_what_is_nearly_sure_is_not_rounded_away(x: float) -> None:
    """In float32, relative to float64: torch's own loses all digits of log p(0) below logits of -17."""
    logits = torch.linspace(-80, 80, 161)[:, None]
    low, exact = (Bernoulli(1).distribution(of).log_prob(torch.full_like(of, x)) for of in (logits, logits.double()))
    torch.testing.assert_close(low.double(), exact, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("bad", [[0.0, 0.5], [2.0, 1.0], [-1.0, 0.0], [255.0, 0.0]])
def test_grey_values_are_no_bits(bad: list[float]) -> None:
    with pytest.raises(DataError, match=r"x: expected bits .* grey values such as .* 'learned': True"):
        Bernoulli(2).check("x", torch.tensor([bad]))
