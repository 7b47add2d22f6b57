"""Bennett's estimate along the ladder of parallel tempering, against exact partition functions."""

import math
from typing import Any

import pytest
import torch
from scipy import optimize, stats

import probae as pb
from probae.errors import ArgumentError, NotPreparedError
from probae.evaluation.bridge import bennett, bridge_log_partition

FALSE_ALARM = 1e-7


def rbm_of(visible: Any, hidden: Any, seed: int = 0, scale: float = 0.6) -> pb.RBM:
    torch.manual_seed(seed)
    rbm = pb.RBM(4, 2, visible, hidden).double()
    return rbm.set_parameters(*(scale * torch.randn(s, dtype=torch.float64) for s in ((4, 2), (4,), (2,))))


def test_it_solves_bennetts_equation() -> None:
    """Against scipy's root finder, on draws from two normals whose ratio of Z is known: ten standard errors of it."""
    torch.manual_seed(0)
    v, w, shift = torch.randn(1, 1, 20_000).double(), 1.0 + torch.randn(1, 1, 20_000).double(), 0.7

    def change(x: torch.Tensor) -> torch.Tensor:  # log of exp(shift) N(x; 1, 1) over N(x; 0, 1)
        return x - 0.5 + shift

    up, down = change(v), -change(w)
    root = optimize.brentq(lambda r: float((up - r).sigmoid().sum() - (down + r).sigmoid().sum()), -5, 5, xtol=1e-12)
    value = bennett(up, down).item()
    assert value == pytest.approx(root, abs=1e-9)
    assert value == pytest.approx(shift, abs=0.06)


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [
        ("bernoulli", "bernoulli"), ("gaussian", "bernoulli"), ("bernoulli", "gaussian"), ("relu", "bernoulli"),
        ({"name": "categorical", "num_categories": 2}, "relu"),
    ],
)  # fmt: skip
def test_it_finds_log_z_of_all_units(visible: Any, hidden: Any) -> None:
    """Within seven of its standard errors, which are small; it calls itself reliable."""
    scale = 0.3 if "relu" in (visible, hidden) else 0.6
    rbm = rbm_of(visible, hidden, scale=scale)
    estimate = rbm.log_partition("bridge", base=torch.full((4,), 0.4).double(), num_temperatures=5, rounds=300)
    exact = rbm.log_partition("exact").value
    assert estimate.stderr < 0.02
    assert abs(estimate.value - exact) < 7 * estimate.stderr + 1e-6
    assert estimate.direction == "estimate"
    assert estimate.reliable, estimate.reason


def test_its_standard_error_is_honest() -> None:
    """Sixty estimates from short runs: their z-scores scatter as they should, within a chi-square's tails of 1e-7."""
    rbm = rbm_of("bernoulli", "bernoulli", scale=1.5)
    exact, base = rbm.log_partition("exact").value, torch.full((4,), 0.3).double()
    z = []
    for seed in range(60):
        estimate = rbm.log_partition("bridge", base=base, num_temperatures=3, rounds=20, seed=seed)
        z.append((estimate.value - exact) / estimate.stderr)
    total = sum(x * x for x in z)
    # A jackknife over 8 groups has 7 degrees of freedom: z is Student's, of variance 7 / 5.
    assert stats.chi2.ppf(FALSE_ALARM, 60) < total < 2.0 * stats.chi2.isf(FALSE_ALARM, 60)
    assert abs(sum(z)) / math.sqrt(60) < 1.5 * stats.norm.isf(FALSE_ALARM / 2)


def test_documents_have_a_log_z_for_each_length() -> None:
    torch.manual_seed(1)
    rbm = pb.RBM(4, 2, "counts").double()
    rbm.set_parameters(*(0.4 * torch.randn(s, dtype=torch.float64) for s in ((4, 2), (4,), (2,))))
    for length in (1, 6):
        estimate = rbm.log_partition(
            "bridge", base=torch.ones(4).double(), length=length, num_temperatures=4, rounds=100
        )
        assert abs(estimate.value - rbm.log_partition("exact", length=length).value) < 7 * estimate.stderr + 1e-6


def test_chains_that_start_elsewhere_find_the_second_mode() -> None:
    rbm = pb.RBM(60, 1).set_parameters(torch.full((60, 1), 6.0), torch.full((60,), -3.0), torch.full((1,), -150.0))
    estimate = rbm.log_partition("bridge", base=torch.full((60,), 0.05), rounds=40, num_temperatures=8)
    assert not estimate.reliable
    assert "disagree" in estimate.reason
    assert estimate.lower is not None
    assert 30 < estimate.lower < 32.92


def test_too_few_temperatures_are_a_reason() -> None:
    rbm = rbm_of("bernoulli", "bernoulli", scale=12.0)
    estimate = rbm.log_partition("bridge", base=torch.full((4,), 0.5).double(), num_temperatures=2, rounds=20)
    assert not estimate.reliable


@pytest.mark.parametrize("options", [{"num_chains": 15}, {"num_temperatures": 1}, {"rounds": 1}])
def test_options_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=f"^{next(iter(options))}: "):
        bridge_log_partition(rbm_of("bernoulli", "bernoulli").distribution(), torch.full((4,), 0.5), **options)


def test_it_needs_a_base() -> None:
    with pytest.raises(NotPreparedError, match="bridges start"):
        rbm_of("bernoulli", "bernoulli").log_partition("bridge")
