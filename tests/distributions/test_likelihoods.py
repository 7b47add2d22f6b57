"""Likelihoods: their densities in closed form, what data they take, and where an output bias starts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from probae.distributions.likelihoods import LIKELIHOODS, Bernoulli, Likelihood, Normal
from probae.distributions.likelihoods.normal import SMALLEST_SCALE
from probae.distributions.named import make
from probae.errors import ArgumentError, DataError

OUTPUTS = torch.linspace(-3, 3, 30, dtype=torch.float64).reshape(5, 6)
ALL: list[Likelihood] = [Bernoulli(6), Normal(6, 0.7).double(), Normal(6, 0.7, learned=True).double()]


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_shapes_and_means(likelihood: Likelihood) -> None:
    for outputs in (OUTPUTS, OUTPUTS.expand(2, 5, 6), OUTPUTS[0]):
        p = likelihood.distribution(outputs)
        assert (p.batch_shape, p.event_shape) == (outputs.shape[:-1], (6,))
        torch.testing.assert_close(likelihood.mean(outputs), p.mean)
        draw = p.sample()
        likelihood.check("x", draw)
        assert p.log_prob(draw).shape == outputs.shape[:-1]


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_outputs_for_a_mean_have_that_mean(likelihood: Likelihood) -> None:
    mean = torch.linspace(0.02, 0.98, 6, dtype=torch.float64)
    torch.testing.assert_close(likelihood.mean(likelihood.outputs_for(mean)), mean)
    assert likelihood.outputs_for(torch.tensor([0.0, 1.0] * 3)).isfinite().all()


@pytest.mark.parametrize("likelihood", ALL, ids=repr)
def test_its_configuration_rebuilds_it(likelihood: Likelihood) -> None:
    config = json.loads(json.dumps(likelihood.config))
    twin = make("likelihood", config, Likelihood, LIKELIHOODS, 6)
    assert type(twin) is type(likelihood)
    assert twin.config == config
    assert type(make("likelihood", config["name"], Likelihood, LIKELIHOODS, 6)) is type(likelihood)


def test_the_bernoulli_density() -> None:
    x = (OUTPUTS > 0.3).double()
    expected = -F.binary_cross_entropy_with_logits(OUTPUTS, x, reduction="none").sum(-1)
    torch.testing.assert_close(Bernoulli(6).distribution(OUTPUTS).log_prob(x), expected)


@pytest.mark.parametrize("logit", [50.0, 1e4, 1e30])
def test_extreme_logits_have_finite_densities_and_gradients(logit: float) -> None:
    outputs = torch.tensor([[logit, -logit]], requires_grad=True)
    for x in ([[1.0, 0.0]], [[0.0, 1.0]]):
        log_prob = Bernoulli(6).distribution(outputs).log_prob(torch.tensor(x))
        log_prob.sum().backward()
        assert log_prob.item() == pytest.approx(0.0 if x[0][0] else -2 * logit)
        assert outputs.grad is not None
        assert outputs.grad.isfinite().all()


def test_the_normal_density() -> None:
    x, scale = torch.zeros_like(OUTPUTS), 0.7
    expected = (-(OUTPUTS**2) / (2 * scale**2) - math.log(scale * math.sqrt(2 * math.pi))).sum(-1)
    normal = Normal(6, scale).double()
    torch.testing.assert_close(normal.distribution(OUTPUTS).log_prob(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("scale", [1e-4, 0.3, 1.0, 20.0, 100.0, 1e6])
def test_the_scale_is_the_one_asked_for(scale: float, learned: bool) -> None:
    normal = Normal(6, scale, learned)
    assert normal.scale.item() == pytest.approx(scale, rel=1e-5)
    assert normal.config == {"name": "normal", "scale": scale, "learned": learned}
    assert len(list(normal.parameters())) == int(learned)
    assert not (normal.state_dict() and not learned), "a fixed scale is configuration, not state"


def test_a_learned_scale_never_reaches_zero() -> None:
    normal = Normal(3, learned=True)
    with torch.no_grad():
        normal.raw_scale.fill_(-1e4)
    assert normal.scale.item() == pytest.approx(SMALLEST_SCALE)
    assert normal.distribution(torch.zeros(1, 3)).log_prob(torch.zeros(1, 3)).isfinite()


@pytest.mark.parametrize("bad", [[0.0, 0.5], [2.0, 1.0], [-1.0, 0.0], [255.0, 0.0]])
def test_grey_values_are_no_bits(bad: list[float]) -> None:
    with pytest.raises(DataError, match=r"x: expected bits .* grey values such as .* 'learned': True"):
        Bernoulli(6).check("x", torch.tensor([bad]))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, "1", True, 1e-7])
def test_scales_are_checked(scale: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^scale: expected a finite number above"):
        Normal(6, scale)
