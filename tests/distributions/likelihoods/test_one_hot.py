"""One-hot units: torch's categorical distribution, flattened; what is no one-hot vector is named."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from probae.distributions.likelihoods import Categorical
from probae.distributions.likelihoods.one_hot import OneHotUnits
from probae.errors import ArgumentError, DataError


@given(units=st.integers(1, 4), categories=st.integers(2, 20), batch=st.lists(st.integers(1, 3), max_size=2))
def test_it_is_torchs_categorical_flattened(units: int, categories: int, batch: list[int]) -> None:
    logits = 3 * torch.randn(*batch, units, categories, dtype=torch.float64)
    p, torchs = OneHotUnits(logits.flatten(-2), categories), dist.OneHotCategorical(logits=logits).to_event(1)
    x = torchs.sample()
    torch.testing.assert_close(p.log_prob(x.flatten(-2)), torchs.log_prob(x))
    torch.testing.assert_close(p.mean, torchs.mean.flatten(-2))
    torch.testing.assert_close(p.variance, torchs.variance.flatten(-2))


def test_two_categories_are_a_bernoulli() -> None:
    """A unit of logits (0, l) is a bit of logit l."""
    logits = torch.linspace(-5, 5, 11, dtype=torch.float64)
    p = OneHotUnits(torch.stack([torch.zeros_like(logits), logits], -1).flatten(), 2)
    bits = (torch.arange(11) % 2).double()
    wanted = dist.Bernoulli(logits=logits).to_event(1).log_prob(bits)
    torch.testing.assert_close(p.log_prob(torch.stack([1 - bits, bits], -1).flatten()), wanted)


def test_what_is_impossible_is_never_drawn() -> None:
    logits = torch.tensor([-1e4, 0.0, 0.0, 0.0, 1e30, -1e30])
    draws = OneHotUnits(logits, 3).sample(torch.Size([100_000]))
    assert draws[:, [0, 3, 5]].sum() == 0
    assert (draws.unflatten(-1, (2, 3)).sum(-1) == 1).all()


@pytest.mark.parametrize(
    ("unit", "named"),
    [([0.0, 0.0, 0.0], "0, 0, 0"), ([1.0, 1.0, 0.0], "1, 1, 0"), ([0.2, 0.3, 0.5], "0.2, 0.3, 0.5"),
     ([2.0, -1.0, 0.0], "2, -1, 0")],
)  # fmt: skip
def test_what_is_not_one_hot_is_named(unit: list[float], named: str) -> None:
    x = F.one_hot(torch.zeros(4, 2).long(), 3).flatten(1).float()
    x[2, 3:] = torch.tensor(unit)
    with pytest.raises(DataError, match=rf"^data: .*3 categories, flattened; got a unit with the values {named}\. "):
        Categorical(6, 3).check("data", x)


def test_the_hint_of_the_error_is_right() -> None:
    classes = torch.tensor([[0, 2], [1, 1]])
    Categorical(6, 3).check("data", torch.nn.functional.one_hot(classes, 3).flatten(1).float())


@pytest.mark.parametrize(("categories", "expected"), [
    (4, "a divisor of the data's 6 values; got 4"), (1, "an integer of at least 2; got 1"), ("3", "an integer"),
    (True, "an integer"), (2.0, "an integer"),
])  # fmt: skip
def test_categories_are_checked(categories: Any, expected: str) -> None:
    with pytest.raises(ArgumentError, match=f"^categories: expected {expected}"):
        Categorical(6, categories)
