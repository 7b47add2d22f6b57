"""Weights on sites: the loss is the weighted sum, and what weighs nothing is never scored."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError
from probae.inference.weighted import Weighted

X = torch.tensor([0.3, -1.0, 2.0])


class Loud(dist.Normal):
    """Says when it is scored."""

    scored = 0

    def log_prob(self, value: Tensor) -> Tensor:
        Loud.scored += 1
        return super().log_prob(value)


def model(x: Tensor) -> None:
    with pyro.plate("data", 6, subsample=x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        pyro.sample("y", Loud(0.5, 2.0), obs=2 * x)


def guide(x: Tensor) -> None:
    with pyro.plate("data", 6, subsample=x):
        pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))


def loss_of(objective: Any) -> float:
    pyro.set_rng_seed(0)
    return objective(model, guide, X).item()


@pytest.mark.parametrize(("of_x", "of_y"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.0), (2.0, 0.5), (0.0, 0.0)])
def test_the_loss_is_the_weighted_sum(of_x: float, of_y: float) -> None:
    pyro.set_rng_seed(0)
    z = dist.Normal(X / 2, 0.5**0.5).rsample()
    kl = torch.distributions.kl_divergence(dist.Normal(X / 2, 0.5**0.5), dist.Normal(0.0, 1.0))
    terms = of_x * dist.Normal(z, 1.0).log_prob(X) + of_y * dist.Normal(0.5, 2.0).log_prob(2 * X) - kl
    weights = {"x": of_x, "y": of_y}
    assert loss_of(Weighted(weights)) == pytest.approx(-2 * terms.sum().item(), rel=1e-5)


def test_settings_are_the_elbos() -> None:
    assert loss_of(Weighted({}, beta=0.5, num_particles=3)) == loss_of(pb.ELBO(beta=0.5, num_particles=3))


def test_what_weighs_nothing_is_not_scored() -> None:
    loss_of(Weighted({"y": 0.0}))  # the first call looks at the pair
    Loud.scored, objective = 0, Weighted({"y": 0.0})
    objective(model, guide, X)
    before = Loud.scored
    objective(model, guide, X)
    assert Loud.scored == before
    loss_of(Weighted({"y": 0.1}))
    assert Loud.scored > before


@pytest.mark.parametrize("weights", [{"x": -1.0}, {"x": "much"}, 3.0])
def test_wrong_weights_are_named(weights: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^weights: expected"):
        Weighted(weights)
