"""The ELBO: equal to Pyro's under the same noise where Pyro's is right, to the truth where it is not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO, autoguide
from torch import Tensor

from probae.errors import ArgumentError, SiteError
from probae.inference.elbo import ELBO
from tests.inference import zoo
from tests.inference.comparisons import PARTICLES, assert_equal, pyros, recorded_and_eager
from tests.inference.draws import assert_mean, draws, t_statistics
from tests.inference.zoo import Pair, ones, param, positive, zeros
from tests.no_sync import SynchronizationError, no_sync


@pytest.mark.parametrize("particles", PARTICLES)
@pytest.mark.parametrize("make", (zoo.REPARAMETERIZED | zoo.SCORED).values(), ids=lambda make: make.__name__)
def test_sampled_kl_equals_trace_elbo(make: Callable[[], Pair], particles: dict[str, Any]) -> None:
    pair = make()
    ours = ELBO(analytic_kl=False, baseline=None, **particles)
    assert_equal(ours, pyros(Trace_ELBO, pair, **particles), pair)


@pytest.mark.parametrize("particles", PARTICLES)
@pytest.mark.parametrize("make", zoo.REPARAMETERIZED.values(), ids=lambda make: make.__name__)
def test_analytic_kl_equals_trace_mean_field_elbo(make: Callable[[], Pair], particles: dict[str, Any]) -> None:
    pair = make()
    assert_equal(ELBO(**particles), pyros(TraceMeanField_ELBO, pair, **particles), pair)


def positive_model(x: Tensor) -> None:
    """A model for the guides that Pyro makes: a positive latent, a vector, and local ones."""
    scale = pyro.sample("scale", dist.LogNormal(zeros(), 1.0))
    loc = pyro.sample("loc", dist.Normal(zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(loc[..., 0].unsqueeze(-1), 1.0))
        pyro.sample("x", dist.Normal(z + loc[..., 1].unsqueeze(-1), scale.unsqueeze(-1)), obs=x)


GUIDES = [
    autoguide.AutoDelta, autoguide.AutoNormal, autoguide.AutoDiagonalNormal, autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal, autoguide.AutoStructured, autoguide.AutoGaussian,
]  # fmt: skip


@pytest.mark.parametrize("make", GUIDES, ids=lambda make: make.__name__)
def test_pyros_own_guides(make: Any) -> None:
    """Their Deltas carry log-densities, and their auxiliary sites the noise."""
    torch.set_default_dtype(torch.float64)
    try:
        pair = Pair(positive_model, make(positive_model), (zoo.tensor(4),), 1)
        assert_equal(ELBO(analytic_kl=False), pyros(Trace_ELBO, pair), pair)
    finally:
        torch.set_default_dtype(torch.float32)


# Where Pyro's value or gradient is wrong.


class Energy(dist.TorchDistribution):
    """p(h) = exp(-E(h)) / Z over bits, E = -h'Jh/2 - b'h (J without a diagonal), by enumeration of all states."""

    support = dist.constraints.real_vector  # it contains the means of the bits
    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch's name)

    def __init__(self, coupling: Tensor, bias: Tensor) -> None:
        self.coupling, self.bias = coupling, bias
        super().__init__(bias.shape[:-1], bias.shape[-1:])

    def score(self, h: Tensor) -> Tensor:
        return torch.einsum("...i,...j,ij->...", h, h, self.coupling) / 2 + (h * self.bias).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.score(value) - self.score(states(3).unsqueeze(1)).logsumexp(0)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Energy:
        return Energy(self.coupling, self.bias.expand(*batch_shape, 3))


def states(count: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=count)), dtype=torch.float64)


def entropy(mu: Tensor) -> Tensor:
    return -(mu.xlogy(mu) + (1 - mu).xlogy(1 - mu)).sum(-1)


@pytest.mark.parametrize("analytic", [True, False])
def test_mean_field_is_a_delta_with_an_entropy(analytic: bool) -> None:
    """The bound of a factorial guide on an energy that is multilinear in the bits, against the sum over all states."""
    upper = torch.triu(zoo.tensor(3, 3), 1)
    x = zoo.tensor(4, 3)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("h", Energy(upper + upper.T, x + param("bias", 3)))

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            mu = (x @ param("V", 3, 3)).sigmoid()
            pyro.sample("h", dist.Delta(mu, log_density=-entropy(mu), event_dim=1))

    loss = ELBO(analytic_kl=analytic)(model, guide, x)
    mu = (x @ param("V", 3, 3)).sigmoid()
    log_q = dist.Bernoulli(probs=mu).to_event(1).log_prob(states(3).unsqueeze(1))
    log_p = Energy(upper + upper.T, x + param("bias", 3)).log_prob(states(3).unsqueeze(1))
    exact = -(log_q.exp() * (log_p - log_q)).sum()
    torch.testing.assert_close(loss, exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(zoo.gradients(loss), zoo.gradients(exact), rtol=1e-10, atol=1e-10)
    with warnings.catch_warnings():
        theirs = TraceMeanField_ELBO().differentiable_loss(model, guide, x)
    torch.testing.assert_close(theirs - loss, entropy(mu).sum(), rtol=1e-10, atol=1e-10)  # what Pyro loses


def reversed_hierarchy(x: Tensor) -> Pair:
    """p(z2) p(z1 given z2) against q(z1) q(z2 given z1): the closed-form KL of z1 would ignore its later parent z2."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(zeros(), 1.0))
            z1 = pyro.sample("z1", dist.Normal(param("a") * z2, positive("s")))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(param("m"), positive("t")))
            pyro.sample("z2", dist.Normal(param("c") * z1 + param("d"), positive("u")))

    return Pair(model, guide, (x,), 1)


def reversed_bound(x: Tensor) -> Tensor:
    """The negative bound of that pair, by the moments of the guide."""
    a, s, m, t, c, d, u = param("a"), positive("s"), param("m"), positive("t"), param("c"), param("d"), positive("u")
    mean2, variance2, residual = c * m + d, (c * t) ** 2 + u**2, m - a * (c * m + d)
    z1_given_z2 = -s.log() - (residual**2 + t**2 * (1 - a * c) ** 2 + a**2 * u**2) / (2 * s**2)
    prior = -(mean2**2 + variance2) / 2 + z1_given_z2
    likelihood = -((x - m) ** 2 + t**2) / 2 - math.log(2 * math.pi) / 2
    return -(likelihood + prior + t.log() + u.log() + 1).sum()


def test_reversed_order_is_sampled_where_the_closed_form_would_be_wrong() -> None:
    """40 calls of 2000 examples; false alarm 1e-8. Pyro's mean-field objective is off by more than 50 errors."""
    x = zoo.tensor(2000)
    pair, ours = reversed_hierarchy(x), ELBO()
    ours(pair.model, pair.guide, x)
    exact = reversed_bound(x)
    expected = torch.cat([exact.detach().reshape(1), *(g.reshape(-1) for g in zoo.gradients(exact).values())])
    assert_mean(draws(lambda: ours(pair.model, pair.guide, x), 40), expected)
    with pyro.validation_enabled(False):
        theirs = draws(lambda: TraceMeanField_ELBO().differentiable_loss(pair.model, pair.guide, x), 40)
    assert t_statistics(theirs, expected).abs().max() > 50


# One objective, several pairs; SVI.


def test_an_objective_serves_several_pairs_in_turn() -> None:
    """With a structure from the wrong pair the particles' plate would collide with one of the program's."""
    objective = ELBO(num_particles=3)
    for make in (zoo.linear_vae, zoo.nested, zoo.mixture, zoo.linear_vae):
        pair = make()
        pyro.clear_param_store()
        pyro.set_rng_seed(4)
        shared = objective(pair.model, pair.guide, *pair.args)
        pyro.set_rng_seed(4)
        torch.testing.assert_close(shared, ELBO(num_particles=3)(pair.model, pair.guide, *pair.args), rtol=0, atol=0)


def test_labelled_and_unlabelled_batches_take_turns() -> None:
    """The first batch has labels, so that nothing is enumerated; the second has none, and its labels are summed out."""
    labelled = zoo.semi_supervised(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]])
    unlabelled = Pair(labelled.model, labelled.guide, labelled.args[:1], 1)
    objective = ELBO()
    objective(labelled.model, labelled.guide, *labelled.args)
    assert objective.structure is not None
    assert not objective.structure.enumerates
    objective(unlabelled.model, unlabelled.guide, *unlabelled.args)
    assert objective.structure.enumerates


def test_a_subsample_given_to_the_plate_counts_as_one() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            pyro.sample("x", dist.Normal(param("m"), 1.0), obs=x)

    objective, x = ELBO(), zoo.tensor(5)
    loss = objective(model, zoo.nothing, x)
    assert objective.structure is not None
    assert objective.structure.subsampled == (("data", 30),)
    assert objective.structure.num_examples((x,), {}) == 30
    torch.testing.assert_close(loss, -6 * dist.Normal(param("m"), 1.0).log_prob(x).sum())


def test_svi_trains_with_it() -> None:
    """Conjugate: at the optimum the guide is the posterior, and the loss is -log p(x) without noise."""
    x = zoo.tensor(20) + 1.0

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(param("loc"), positive("scale")))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=ELBO(num_particles=10))
    for _ in range(400):
        svi.step(x)
    precision = 1 + len(x)
    assert abs(param("loc").item() - x.sum().item() / precision) < 0.05
    assert abs(positive("scale").item() - precision**-0.5) < 0.05
    evidence = dist.MultivariateNormal(zeros(20), torch.eye(20, dtype=torch.float64) + 1).log_prob(x)
    assert abs(svi.evaluate_loss(x) + evidence.item()) < 0.5


# It never waits, and it can be recorded.


@pytest.mark.parametrize("options", [{}, {"num_particles": 3, "beta": 0.5, "warmup": 10}], ids=["plain", "all"])
@pytest.mark.parametrize(
    "make", (zoo.REPARAMETERIZED | zoo.SCORED | zoo.ENUMERATED).values(), ids=lambda make: make.__name__
)
def test_loss_and_gradient_never_wait_for_the_device(make: Callable[[], Pair], options: dict[str, Any]) -> None:
    pair = zoo.boltzmann(exact=False) if make is zoo.boltzmann else make()
    objective = ELBO(**options)
    objective(pair.model, pair.guide, *pair.args)
    with no_sync():
        loss = objective(pair.model, pair.guide, *pair.args)
        zoo.gradients(loss)


def test_pyros_objective_waits() -> None:
    """So the test above can fail."""
    pair = zoo.linear_vae()
    with no_sync(), pytest.raises(SynchronizationError, match="_local_scalar_dense"):
        Trace_ELBO().differentiable_loss(pair.model, pair.guide, *pair.args)


@pytest.mark.parametrize(
    "make", (zoo.REPARAMETERIZED | zoo.SCORED | zoo.ENUMERATED).values(), ids=lambda make: make.__name__
)
def test_it_can_be_recorded(make: Callable[[], Pair]) -> None:
    """A smoke test: forward and backward of the recorded program give the eager numbers under other noise."""
    pair = make()
    recorded, eager = recorded_and_eager(ELBO(num_particles=2, baseline=None), pair, pair.args)
    torch.testing.assert_close(recorded, eager, rtol=1e-12, atol=1e-12)


def test_what_is_recorded_takes_another_batch() -> None:
    recorded, eager = recorded_and_eager(ELBO(), zoo.linear_vae(), (zoo.tensor(5, 3, seed=9),))
    torch.testing.assert_close(recorded, eager, rtol=1e-12, atol=1e-12)


# Errors.


def test_a_guide_site_that_the_model_lacks_is_named() -> None:
    pair = zoo.linear_vae()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("zz", zoo.normal(2))

    with pytest.raises(SiteError, match=r"guide samples 'zz'.*did you mean 'z'.*is_auxiliary"):
        ELBO()(pair.model, guide, *pair.args)


def test_a_latent_site_that_the_guide_lacks_is_named() -> None:
    pair = zoo.hierarchy()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z2", zoo.normal(2))

    with pytest.raises(SiteError, match=r"latent site 'z1' is not sampled by the guide.*did you mean 'z2'"):
        ELBO()(pair.model, guide, *pair.args)


def test_a_guide_that_observes_is_refused() -> None:
    pair = zoo.linear_vae()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", zoo.normal(2))
            pyro.sample("y", dist.Normal(zeros(), 1.0), obs=x[:, 0])

    with pytest.raises(SiteError, match="guide observes 'y'"):
        ELBO()(pair.model, guide, *pair.args)


@pytest.mark.parametrize("enumerate_label", [False, True])
def test_grey_values_in_a_bernoulli_offer_the_ways_out(enumerate_label: bool) -> None:
    infer = zoo.PARALLEL if enumerate_label else {}

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Bernoulli(0.5 * ones()), infer=infer)
            pyro.sample("x", dist.Bernoulli(0.3 + 0.4 * y), obs=x)

    def guide(x: Tensor) -> None:
        if not enumerate_label:
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Bernoulli(0.5 * ones()))

    with pytest.raises(SiteError, match=r"site 'x': grey values .*binarize.*'normal'"):
        ELBO()(model, guide, torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("enumerate_label", [False, True])
def test_a_batch_dim_without_a_plate_is_named(enumerate_label: bool) -> None:
    def model(x: Tensor) -> None:
        if enumerate_label:
            pyro.sample("y", dist.Bernoulli(0.5 * ones()), infer=zoo.PARALLEL)
        pyro.sample("x", dist.Normal(zeros(), 1.0), obs=x)

    with pytest.raises(SiteError, match=r"(?s)'x'.*invalid log_prob shape.*plate"):
        ELBO()(model, zoo.nothing, zoo.tensor(3))


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"num_particles": 0}, "num_particles"),
        ({"num_particles": 1.5}, "num_particles"),
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"free_bits": -0.1}, "free_bits"),
        ({"warmup": -1}, "warmup"),
        ({"warmup": 2.5}, "warmup"),
        ({"penalties": 3}, "penalties"),
        ({"penalties": [None]}, "penalties"),
        ({"baseline": "mean"}, "baseline"),
    ],
)
def test_arguments_are_checked_at_the_door(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        ELBO(**settings)


def test_a_guide_that_runs_the_model_is_refused() -> None:
    pair = zoo.linear_vae()
    guide = autoguide.AutoNormalMessenger(pair.model)
    with pytest.raises(SiteError, match="AutoNormalMessenger runs the model inside the guide"):
        ELBO()(pair.model, guide, *pair.args)
