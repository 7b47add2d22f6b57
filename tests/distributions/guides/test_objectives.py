"""Every guide family with a density under every objective, in a small linear model whose truth is known."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.distributions.guides import FullNormal, GuideFamily
from probae.distributions.priors import Prior, StandardNormal, VampPrior
from probae.inference.elbo import ELBO
from probae.inference.iwae import IWAE
from tests.distributions.guides.cases import DENSE, trained
from tests.inference import zoo
from tests.inference.comparisons import recorded_and_eager, value_and_gradients
from tests.inference.draws import assert_same_mean, draws
from tests.inference.zoo import Pair
from tests.no_sync import no_sync

OBJECTIVES = {
    "elbo": ELBO(),
    "particles": ELBO(3),
    "iwae": IWAE(3),
    "dreg": IWAE(3, "dreg"),
    "stl": IWAE(3, "stl"),
    "looped": IWAE(2, "dreg", vectorize=False),
}
every = pytest.mark.parametrize("name", DENSE)
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=list(OBJECTIVES))

WEIGHT, BIAS, SIGMA = zoo.tensor(2, 3, seed=7), zoo.tensor(3, seed=8), 0.8


def pair(
    family: GuideFamily, x: Tensor | None = None, encoder: nn.Linear | None = None, prior: Prior | None = None
) -> Pair:
    """z from the prior, x = z W + b + noise; a linear encoder. Parameters are in Pyro's store, as the zoo's are."""
    torch.manual_seed(1)
    network = encoder or nn.Linear(3, family.num_outputs).double()
    prior = prior or StandardNormal(2).double()

    def model(x: Tensor) -> None:
        if list(prior.parameters()):
            pyro.module("prior", prior)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior.distribution(lambda u: family.distribution(network(u))))
            mean = z @ WEIGHT + zoo.param("b", 3) - zoo.param("b", 3).detach() + BIAS
            pyro.sample("x", dist.Normal(mean, SIGMA).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", network)
        if list(family.parameters()):
            pyro.module("family", family)
        with pyro.plate("data", len(x)):
            pyro.sample("z", family.distribution(network(x)))

    return Pair(model, guide, (zoo.tensor(5, 3) if x is None else x,), 1)


def evidence(x: Tensor) -> Tensor:
    """log p(x) of each example."""
    covariance = WEIGHT.T @ WEIGHT + SIGMA**2 * torch.eye(3, dtype=torch.float64)
    return dist.MultivariateNormal(BIAS, covariance).log_prob(x)


def exact_encoder() -> nn.Linear:
    """A linear encoder whose outputs make a `FullNormal` the exact posterior."""
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + WEIGHT @ WEIGHT.T / SIGMA**2)
    gain, tril = covariance @ WEIGHT / SIGMA**2, torch.linalg.cholesky(covariance)
    raw = torch.log(torch.expm1(tril.diagonal() - 1e-6)) - 0.5
    ratio = tril[1:, 0] / tril[1, 1]
    encoder = nn.Linear(3, 5).double()
    with torch.no_grad():
        encoder.weight.zero_()[:2] = gain
        encoder.bias.copy_(torch.cat([-gain @ BIAS, raw, ratio / (1 - ratio.abs() / 100)]))
    return encoder


@every
def test_value_and_model_gradient_are_the_same_whatever_the_guide_s_gradient(name: str) -> None:
    """The value of "standard" has the samples' own densities, that of the others those found by inversion."""
    found = [value_and_gradients(pair(trained(name)), IWAE(4, gradient)) for gradient in ("standard", "dreg", "stl")]
    for value, gradients in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(gradients["b"], found[0][1]["b"], rtol=1e-8, atol=1e-8)


@every
def test_dreg_has_the_expectation_of_the_standard_gradient(name: str) -> None:
    """Of the encoder's and the family's parameters; 60 calls of 500 examples each; false alarm 1e-8."""
    made = pair(trained(name), zoo.tensor(1, 3).repeat(500, 1))
    found = []
    for gradient in ("standard", "dreg"):
        objective = IWAE(3, gradient)
        objective(made.model, made.guide, *made.args)
        with pyro.validation_enabled(False):
            found.append(draws(lambda objective=objective: objective(made.model, made.guide, *made.args), 60))
    assert_same_mean(*found)


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_so_it_has_where_the_prior_is_made_of_the_guide(name: str) -> None:
    """A VampPrior: the encoder is part of the model too; 60 calls of 500 examples each; false alarm 1e-8."""
    prior = VampPrior(2, num_components=3)
    prior.attach(3)
    made = pair(trained(name), zoo.tensor(1, 3).repeat(500, 1), prior=prior.double())
    found = []
    for gradient in ("standard", "dreg"):
        objective = IWAE(3, gradient)
        objective(made.model, made.guide, *made.args)
        with pyro.validation_enabled(False):
            found.append(draws(lambda objective=objective: objective(made.model, made.guide, *made.args), 60))
    assert_same_mean(*found)


@every
@every_objective
def test_gradients_reach_all_parameters_without_waiting_for_the_device(name: str, objective: ELBO | IWAE) -> None:
    made = pair(trained(name))
    objective(made.model, made.guide, *made.args)
    with no_sync():
        gradients = zoo.gradients(objective(made.model, made.guide, *made.args))
    assert len(gradients) == 3 + len(list(trained(name).parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


@every
@every_objective
def test_a_step_can_be_recorded(name: str, objective: ELBO | IWAE) -> None:
    recorded, eager = recorded_and_eager(objective, pair(trained(name)), (zoo.tensor(5, 3, seed=9),))
    torch.testing.assert_close(recorded, eager, rtol=1e-10, atol=1e-10)


@every
def test_importance_sampling_finds_the_evidence(name: str) -> None:
    """The mean over 20 examples within 6 of its standard errors (false alarm 2e-9) and the logarithm's small bias."""
    made = pair(trained(name), 0.5 * zoo.tensor(20, 3))
    (x,) = made.args
    estimate = pb.log_likelihood(made.model, made.guide, x, num_samples=20_000, progress=False)
    assert abs(estimate.value - evidence(x).mean()) < 6 * estimate.stderr + 1e-3


def test_a_full_normal_reaches_the_exact_posterior_where_no_diagonal_one_can() -> None:
    """Each sample's weight is then the evidence itself, and gradients through the samples vanish."""
    x = zoo.tensor(5, 3)
    made = pair(FullNormal(2), x, exact_encoder())
    for objective in (ELBO(analytic_kl=False), IWAE(3), IWAE(3, "stl"), IWAE(3, "dreg")):
        value, gradients = value_and_gradients(made, objective)
        torch.testing.assert_close(-value, evidence(x).sum(), rtol=1e-9, atol=1e-9)
        if getattr(objective, "gradient", "standard") != "standard":
            assert all(g.abs().max() < 1e-9 for name, g in gradients.items() if name.startswith("encoder"))


def test_the_kl_of_a_full_normal_is_exact_so_that_it_adds_no_noise() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", StandardNormal(2).double().distribution())
            pyro.sample("x", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1), obs=x)

    made = pair(FullNormal(2))
    (x,) = made.args
    constant = (-(x**2) / 2 - math.log(2 * math.pi) / 2).sum()
    values = []
    for seed in range(3):
        pyro.set_rng_seed(seed)
        values.append(ELBO()(model, made.guide, x) + constant)
    assert values[0] == values[1] == values[2]
    pyro.set_rng_seed(0)
    sampled = torch.stack([ELBO(analytic_kl=False)(model, made.guide, x) + constant for _ in range(200)])
    assert sampled.std() > 0.1
    assert (sampled.mean() - values[0]).abs() < 6 * sampled.std() / 200**0.5, "false alarm 1e-8"
