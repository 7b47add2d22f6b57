"""The discretized logistic: a distribution over levels, however small its scale and however far its location."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from probae.distributions.likelihoods import DiscretizedLogistic
from probae.distributions.likelihoods.binned_logistic import BinnedLogistic, Grid
from probae.errors import ArgumentError, DataError

LOCATIONS = torch.tensor([-1e6, -3.0, -0.01, 0.0, 0.2503, 0.5, 0.999, 1.0, 1.7, 1e6], dtype=torch.float64)
SCALES = [1e-6, 1e-4, 1e-2, 0.3, 10.0, 1e6]


def grid(levels: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """All levels, (levels, 1)."""
    return (torch.arange(levels).to(dtype) / (levels - 1))[:, None]


def distribution(scale: float, levels: int, locations: Tensor = LOCATIONS) -> BinnedLogistic:
    return BinnedLogistic(locations, torch.tensor(scale, dtype=locations.dtype), levels)


@pytest.mark.parametrize("levels", [2, 3, 17, 256, 65536])
@pytest.mark.parametrize("scale", SCALES)
def test_levels_sum_to_one_and_have_the_moments(scale: float, levels: int) -> None:
    p, x = distribution(scale, levels), grid(levels)
    mass = p.log_prob(x).exp()
    torch.testing.assert_close(mass.sum(0), torch.ones(len(LOCATIONS)).double(), rtol=0, atol=1e-10)
    mean = (mass * x).sum(0)
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(p.variance, (mass * (x - mean) ** 2).sum(0), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-2, 0.3, 10.0])
def test_masses_are_differences_of_the_logistic_distribution_function(scale: float) -> None:
    locations = LOCATIONS[1:-1]
    edges = (torch.arange(16) + 0.5).double() / 16
    cdf = torch.tensor(stats.logistic.cdf((edges[:, None] - locations) / scale))
    ends = torch.zeros(1, len(locations)).double(), torch.ones(1, len(locations)).double()
    wanted = torch.cat([cdf, ends[1]]) - torch.cat([ends[0], cdf])
    mass = distribution(scale, 17, locations).log_prob(grid(17)).exp()
    torch.testing.assert_close(mass, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("scale", SCALES)
def test_no_log_of_zero_and_no_nan(scale: float, levels: int) -> None:
    """Float32: each level's log-probability and all gradients are finite, and agree with float64."""
    loc = LOCATIONS.float().requires_grad_()
    width = torch.tensor(scale, requires_grad=True)
    log_prob = BinnedLogistic(loc, width, levels).log_prob(grid(levels, torch.float32))
    assert log_prob.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(log_prob.sum(), [loc, width]))
    exact = distribution(scale, levels, LOCATIONS.float().double()).log_prob(grid(levels))
    # An offset between location and level is rounded to 1e-7, in units of the scale.
    torch.testing.assert_close(log_prob.double(), exact, rtol=1e-5, atol=1e-5 + 3e-7 / scale)


def test_gradients_are_those_of_finite_differences() -> None:
    """At the ends of the grid, in the middle, and far out."""
    loc = torch.tensor([-2.0, 0.0, 0.3, 0.5, 1.0, 4.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)[:, None]
    assert torch.autograd.gradcheck(lambda m, s: BinnedLogistic(m, s, 17).log_prob(x), (loc, scale))
    assert torch.autograd.gradcheck(lambda m, s: BinnedLogistic(m, s, 17).mean, (loc, scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_lie_on_the_grid(dtype: torch.dtype) -> None:
    for levels in (2, 17, 256, 65536):
        for scale in SCALES:
            draws = distribution(scale, levels, LOCATIONS.to(dtype)).sample(torch.Size([1000]))
            assert torch.equal((draws * (levels - 1)).round() / (levels - 1), draws)
            DiscretizedLogistic(len(LOCATIONS), levels).check("x", draws)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_the_outermost_draws_are_the_ends(u: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, u))
    assert (distribution(0.3, 17, torch.zeros(3)).sample() == round(u)).all()


def test_the_mean_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    p = distribution(0.03, 256)
    whole = p.mean
    monkeypatch.setitem(BinnedLogistic._sum_of_tails.__globals__, "_CHUNK", 70)
    torch.testing.assert_close(p.mean, whole, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("scale", [1e-5, 1e-3, 0.05, 1.0, 100.0])
def test_the_start_of_a_bias_has_the_mean(scale: float, levels: int) -> None:
    mean = torch.tensor([0.0, 0.001, 0.1, 0.5, 0.73, 0.999, 1.0], dtype=torch.float64)
    likelihood = DiscretizedLogistic(7, levels, scale, learned=False).double()
    torch.testing.assert_close(
        likelihood.mean(likelihood.outputs_for(mean)), mean.clamp(0.001, 0.999), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("levels", [2, 3, 17, 256, 4096, 65536])
def test_data_in_float32_are_on_their_grid(levels: int) -> None:
    x = grid(levels, torch.float32)
    DiscretizedLogistic(1, levels).check("x", x)
    DiscretizedLogistic(1, levels).check("x", x * (1 + 1e-7))
    between = x[:-1] + 0.5 / (levels - 1)
    assert not Grid(levels).check(between).any()
    assert not Grid(levels).check(torch.tensor([-1.0, 2.0, -1 / (levels - 1), 1 + 1 / (levels - 1)])).any()


@pytest.mark.parametrize("levels", [17, 256])
def test_values_off_the_grid_are_refused(levels: int) -> None:
    likelihood = DiscretizedLogistic(2, levels)
    for bad in (0.1234, -0.5, 1.5, 255.0):
        with pytest.raises(DataError, match=rf"^x: expected multiples of 1/{levels - 1} in .*, since levels={levels}"):
            likelihood.check("x", torch.tensor([[0.0, bad]]))


def test_digits_have_seventeen_levels() -> None:
    digits = torch.arange(17.0)[None] / 16
    DiscretizedLogistic(17, levels=17).check("x", digits)
    with pytest.raises(DataError, match="levels=17 fits the embedded digits"):
        DiscretizedLogistic(17, levels=256).check("x", digits)


@pytest.mark.parametrize("levels", [1, 0, 2.0, "256", True])
def test_levels_are_checked(levels: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^levels: expected an integer of at least 2"):
        DiscretizedLogistic(3, levels)
