"""Pareto k-hat against Pyro's fit, column by column, and at the edges where that one divides by zero."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

from probae.evaluation.pareto import SHORTEST_TAIL, pareto_khat, tail_size

TAILS: dict[str, Callable[[Tensor], Tensor]] = {
    "bounded": lambda u: u,
    "light": lambda u: (1 - u.log()).log(),
    "k = 0.3": lambda u: -0.3 * u.log(),
    "k = 0.7": lambda u: -0.7 * u.log(),
    "k = 1": lambda u: -u.log(),
    "k = 3": lambda u: -3 * u.log(),
    "k = 20": lambda u: -20 * u.log(),
    "nearly constant": lambda u: 1e-5 * u,
}


def uniform(size: int, columns: int) -> Tensor:
    return torch.rand(size, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [SHORTEST_TAIL, 20, 95, 400])
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_it_is_pyros_fit_of_each_column(tail: Callable[[Tensor], Tensor], size: int) -> None:
    log_weights = tail(uniform(size + 1, 4))
    for shift in (0.0, -700.0, 1e5):
        got = pareto_khat(log_weights + shift)
        for column, khat in zip((log_weights + shift).T, got, strict=True):
            weights = (column - column.max()).exp().sort().values
            assert khat.item() == pytest.approx(fit_generalized_pareto(weights[1:] - weights[0])[0], rel=1e-9, abs=1e-9)


def test_neither_order_nor_company_matters() -> None:
    log_weights = -uniform(96, 5).log()
    got = pareto_khat(log_weights)
    assert torch.equal(pareto_khat(log_weights[torch.randperm(96)]), got)
    torch.testing.assert_close(torch.cat([pareto_khat(column[:, None]) for column in log_weights.T]), got)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_it_finds_the_shape_of_long_tails(k: float) -> None:
    """The estimator's deviation is (1 + k) / sqrt(M) (Zhang and Stephens 2009); six of them, and its prior's pull."""
    size = 20_000
    got = pareto_khat(-k * uniform(size + 1, 1).log()).item()
    assert abs(got - k) < 6 * (1 + k) / size**0.5 + 10 / size


@pytest.mark.parametrize("size", range(SHORTEST_TAIL + 1))
def test_short_tails_say_nothing(size: int) -> None:
    assert pareto_khat(uniform(size, 3)).isnan().all()
    assert pareto_khat(uniform(SHORTEST_TAIL + 1, 3)).isfinite().all()


def test_discrete_weights_whose_bound_was_seen_have_no_tail() -> None:
    """All equal, or with ties at the top, as latent variables with few values give."""
    ties = torch.cat([torch.zeros(40), torch.ones(30), 1.5 * torch.ones(26)])
    few = torch.cat([torch.zeros(94), torch.ones(2)])
    got = pareto_khat(torch.stack([torch.zeros(96), torch.full((96,), -1e5), ties, few], 1))
    assert (got == -math.inf).all()


def test_one_weight_above_all_others_has_the_heaviest_tail() -> None:
    alone, far = torch.zeros(96, dtype=torch.float64), torch.linspace(0, 1e4, 96, dtype=torch.float64)
    alone[3] = 20.0
    assert (pareto_khat(torch.stack([alone, far, 1e3 * far], 1)) > 1).all()


def test_nothing_is_hidden() -> None:
    """NaN stays; zero weights below others do no harm."""
    assert pareto_khat(torch.full((96, 1), math.nan)).isnan().all()
    log_weights = -uniform(96, 1).log()
    log_weights[:10] = -math.inf
    assert pareto_khat(log_weights).isfinite().all()


def test_results_are_float64() -> None:
    assert pareto_khat(uniform(96, 2).float()).dtype == torch.float64


def test_tail_sizes() -> None:
    assert [tail_size(samples) for samples in (1, 5, 25, 100, 1000, 5000)] == [1, 1, 5, 20, 95, 213]
