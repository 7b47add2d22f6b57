"""Scales of Normal and discretized logistic likelihoods: fixed, learned, learned per dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from probae.distributions.likelihoods import DiscretizedLogistic, Normal
from probae.distributions.likelihoods.location_scale import SMALLEST_SCALE, LocationScale
from probae.errors import ArgumentError

both = pytest.mark.parametrize("make", [Normal, DiscretizedLogistic])


@both
@pytest.mark.parametrize(("learned", "shape"), [(False, ()), (True, ()), ("per_dimension", (6,))])
@pytest.mark.parametrize("scale", [1e-4, 0.3, 1.0, 20.0, 100.0, 1e6])
def test_the_scale_is_the_one_asked_for(
    make: Callable[..., LocationScale], scale: float, learned: bool | str, shape: tuple[int, ...]
) -> None:
    likelihood = make(6, scale=scale, learned=learned)
    torch.testing.assert_close(likelihood.scale.detach(), torch.full(shape, scale), rtol=1e-5, atol=0)
    assert (likelihood.config["scale"], likelihood.config["learned"]) == (scale, learned)
    assert len(list(likelihood.parameters())) == bool(learned)
    assert bool(likelihood.state_dict()) == bool(learned), "a fixed scale is configuration, not state"


@both
@pytest.mark.parametrize("learned", [True, "per_dimension"])
def test_a_learned_scale_never_reaches_zero(make: Callable[..., LocationScale], learned: bool | str) -> None:
    likelihood = make(3, learned=learned)
    with torch.no_grad():
        likelihood.get_parameter("raw_scale").fill_(-1e4)
    assert (likelihood.scale > 0.99 * SMALLEST_SCALE).all()
    log_prob = likelihood.distribution(torch.zeros(1, 3)).log_prob(torch.zeros(1, 3))
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    gradient = likelihood.get_parameter("raw_scale").grad
    assert gradient is not None
    assert gradient.isfinite().all()


@both
def test_each_dimension_learns_its_own_scale(make: Callable[..., LocationScale]) -> None:
    """By maximum likelihood around known locations: to a tenth, where a standard error is a fortieth."""
    scales = torch.tensor([0.03, 0.1, 0.3])
    likelihood = make(3, scale=0.1, learned="per_dimension")
    outputs = torch.full((1000, 3), 0.5)
    twin = make(3, scale=0.1, learned="per_dimension")
    with torch.no_grad():
        twin.get_parameter("raw_scale").copy_(torch.log(torch.expm1(scales - SMALLEST_SCALE)))
        x = twin.distribution(outputs).sample()
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(200):
        loss = -likelihood.distribution(outputs).log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(likelihood.scale.detach(), scales, rtol=0.15, atol=0)


@both
@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, "1", True, 1e-7])
def test_scales_are_checked(make: Callable[..., LocationScale], scale: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^scale: expected a finite number above"):
        make(6, scale=scale)


@both
@pytest.mark.parametrize("learned", ["per_pixel", "shared", None, 1, 0.0, ("per_dimension",)])
def test_what_may_be_learned_is_checked(make: Callable[..., LocationScale], learned: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^learned: expected False, True or 'per_dimension'; got"):
        make(6, learned=learned)


def test_the_normal_density() -> None:
    outputs, scale = torch.linspace(-3, 3, 30, dtype=torch.float64).reshape(5, 6), 0.7
    expected = (-(outputs**2) / (2 * scale**2) - math.log(scale * math.sqrt(2 * math.pi))).sum(-1)
    log_prob = Normal(6, scale).double().distribution(outputs).log_prob(torch.zeros_like(outputs))
    torch.testing.assert_close(log_prob, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learned", [True, "per_dimension"])
def test_a_learned_scale_starts_at_the_data_s_spread(learned: bool | str) -> None:
    x = torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 11.0]], dtype=torch.float64)
    likelihood = Normal(3, learned=learned).double()
    likelihood.prepare(x)
    per_dimension = torch.tensor([1.0, 1e-3, 3.0], dtype=torch.float64)
    shared = torch.tensor(10 / 3, dtype=torch.float64).sqrt()
    wanted = per_dimension if learned == "per_dimension" else shared
    torch.testing.assert_close(likelihood.scale.detach(), wanted)
    likelihood.prepare(100 * x)
    torch.testing.assert_close(likelihood.scale.detach(), wanted, msg="what has moved stays")
    assert likelihood.config["scale"] is None


@pytest.mark.parametrize("settings", [{"scale": 0.5, "learned": True}, {"scale": 0.5}, {}])
def test_a_scale_that_was_asked_for_stays(settings: dict[str, Any]) -> None:
    likelihood = Normal(3, **settings)
    likelihood.prepare(torch.randn(10, 3) * 7)
    assert likelihood.scale.item() == pytest.approx(settings.get("scale", 1.0))
