"""Bisection finds what it is asked for."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from probae.distributions.likelihoods.inversion import inverse


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=5))
def test_it_undoes_an_increasing_function(x: list[float]) -> None:
    wanted = torch.tensor(x, dtype=torch.float64)
    found = inverse(torch.sinh, wanted.sinh(), torch.tensor(-10.0), torch.tensor(10.0))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)


def test_values_out_of_reach_give_the_nearer_end() -> None:
    ends = inverse(torch.tanh, torch.tensor([-2.0, 2.0]), torch.tensor(-1.0), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(ends, torch.tensor([-1.0, 3.0], dtype=torch.float64))


def test_nothing_is_differentiated() -> None:
    values = torch.zeros(2, requires_grad=True)
    assert not inverse(torch.tanh, values, torch.tensor(-1.0), torch.tensor(1.0)).requires_grad
