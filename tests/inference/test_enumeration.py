"""Summing out: equal to Pyro's under the same noise, to sums written out by hand, and without a synchronization."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from probae.errors import SiteError
from probae.inference.elbo import ELBO
from probae.inference.enumeration import exact_log_prob
from probae.inference.traces import probe
from tests.inference import zoo
from tests.inference.comparisons import PARTICLES, assert_equal, pyros
from tests.inference.zoo import PARALLEL, SEQUENTIAL, Pair, ones, param, pick, positive, zeros
from tests.no_sync import no_sync


@pytest.mark.parametrize("particles", PARTICLES)
@pytest.mark.parametrize("make", zoo.ENUMERATED.values(), ids=lambda make: make.__name__)
def test_it_equals_trace_enum_elbo(make: Callable[[], Pair], particles: dict[str, Any]) -> None:
    pair = make()
    assert_equal(ELBO(**particles), pyros(TraceEnum_ELBO, pair, **particles), pair)


@pytest.mark.parametrize("particles", PARTICLES)
def test_labels_that_are_given_are_not_enumerated(particles: dict[str, Any]) -> None:
    pair = zoo.semi_supervised(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]])
    assert_equal(ELBO(analytic_kl=False, **particles), pyros(Trace_ELBO, pair, **particles), pair)


def test_impossible_labels_are_left_out() -> None:
    """A label of probability zero, whose cost is infinite, adds nothing to value or gradient, and nobody waits."""
    never = torch.tensor(-math.inf, dtype=torch.float64)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
            pyro.sample("x", dist.Normal(pick(param("centre", 3), k), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=torch.stack([param("q"), zeros(), never])), infer=PARALLEL)

    x, objective = zoo.tensor(4), ELBO()
    objective(model, guide, x)
    with no_sync():
        loss = objective(model, guide, x)
        found = zoo.gradients(loss)
    q = torch.stack([param("q").sigmoid(), (-param("q")).sigmoid()])
    likelihood = dist.Normal(param("centre", 3)[:2], 1.0).log_prob(x.unsqueeze(-1)).sum(0)
    wanted = -(q * (likelihood + 4 * (param("prior", 3).log_softmax(0)[:2] - q.log()))).sum()
    torch.testing.assert_close(loss, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found, zoo.gradients(wanted), rtol=1e-8, atol=1e-8)


# beta.


def test_beta_weighs_the_kl_of_a_label_in_the_guide() -> None:
    """-(E[log p(x given k)] - beta KL(q(k) to p(k))), all by hand."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
            pyro.sample("x", dist.Normal(pick(param("centre", 3), k), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=x.unsqueeze(-1) * param("q", 3)), infer=PARALLEL)

    x = zoo.tensor(4)
    loss = ELBO(beta=0.3)(model, guide, x)
    q, p = dist.Categorical(logits=x.unsqueeze(-1) * param("q", 3)), dist.Categorical(logits=param("prior", 3))
    likelihood = (q.probs * dist.Normal(param("centre", 3), 1.0).log_prob(x.unsqueeze(-1))).sum()
    wanted = -(likelihood - 0.3 * torch.distributions.kl_divergence(q, p).sum())
    torch.testing.assert_close(loss, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(zoo.gradients(loss), zoo.gradients(wanted), rtol=1e-8, atol=1e-8)


def mixture_prior(summed_out: bool) -> Pair:
    """A Gaussian mixture as the prior of z, its component summed out by the model or by the distribution."""

    def model(x: Tensor) -> None:
        weights, centres = dist.Categorical(logits=param("weights", 3)), param("centres", 3)
        with pyro.plate("data", len(x)):
            if summed_out:
                k = pyro.sample("k", weights, infer=PARALLEL)
                z = pyro.sample("z", dist.Normal(pick(centres, k), 1.0))
            else:
                components = dist.Normal(centres, ones(3))
                z = pyro.sample("z", dist.MixtureSameFamily(weights, components))
            pyro.sample("x", dist.Normal(z * param("w"), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * param("a"), positive("s")))

    return Pair(model, guide, (zoo.tensor(5),), 1)


@pytest.mark.parametrize("particles", PARTICLES)
def test_beta_weighs_a_prior_that_is_summed_out_in_the_model(particles: dict[str, Any]) -> None:
    losses = []
    for summed_out in (True, False):
        pair, objective = mixture_prior(summed_out), ELBO(beta=0.3, **particles)
        objective(pair.model, pair.guide, *pair.args)
        pyro.set_rng_seed(1)
        losses.append(objective(pair.model, pair.guide, *pair.args))
    torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(*map(zoo.gradients, losses), rtol=1e-8, atol=1e-8)


def test_beta_leaves_a_likelihood_that_is_summed_out_in_the_model() -> None:
    """In a mixture with a latent centre, beta weighs the centre's KL and not the assignment's."""
    pair = zoo.mixture()
    losses = []
    for beta in (0.0, 0.3, 1.0):
        objective = ELBO(beta=beta)
        objective(pair.model, pair.guide, *pair.args)
        pyro.set_rng_seed(1)
        losses.append(objective(pair.model, pair.guide, *pair.args))
    pyro.set_rng_seed(1)
    centre = param("loc", 3) + positive("scale", 3) * torch.randn(3, dtype=torch.float64)
    q, p = dist.Normal(param("loc", 3), positive("scale", 3)), dist.Normal(zeros(3), 2.0)
    kl = (q.log_prob(centre) - p.log_prob(centre)).sum()
    torch.testing.assert_close(losses[2] - losses[0], kl, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(losses[1] - losses[0], 0.3 * kl, rtol=1e-10, atol=1e-10)


def test_beta_is_refused_where_a_kl_is_no_term_of_its_own() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(0.5 * ones()), infer=PARALLEL)
            z = pyro.sample("z", dist.Normal(k, 1.0))
            pyro.sample("x", dist.Normal(z + k, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    with pytest.raises(SiteError, match=r"beta weighs the KL term of 'z', but .* observed 'x'"):
        ELBO(beta=0.5)(model, guide, zoo.tensor(3))
    ELBO()(model, guide, zoo.tensor(3))


def test_a_penalty_sees_the_guide_trace() -> None:
    pair = zoo.enumerated_guide()
    seen: list[Any] = []
    objective = ELBO(penalties=lambda batch, trace: seen.append(trace.nodes["k"]["fn"].probs) or zeros())
    objective(pair.model, pair.guide, *pair.args)
    assert seen[0].shape == (4, 3)


# The exact likelihood.


def labelled_pair(where: str) -> Pair:
    """Two labels for each example, one dependent on the other, summed out where it says; a value is missing."""
    in_guide = {"parallel": PARALLEL, "sequential": SEQUENTIAL}

    def model(x: Tensor) -> None:
        infer = {} if where in in_guide else PARALLEL
        with pyro.plate("data", len(x)):
            j = pyro.sample("j", dist.Categorical(logits=param("prior", 3)), infer=infer)
            k = pyro.sample("k", dist.Bernoulli(logits=pick(param("bias", 3), j)), infer=PARALLEL)
            with poutine.mask(mask=x < 1.0):
                pyro.sample("x", dist.Normal(pick(param("centre", 3), j) + k, 1.0), obs=x)
            with pyro.plate("parts", 2, dim=-2):
                pyro.sample("y", dist.Normal(k * param("w"), 1.0), obs=torch.stack([x, x**2]))

    def guide(x: Tensor) -> None:
        if where in in_guide:
            with pyro.plate("data", len(x)):
                with poutine.mask(mask=False):
                    pyro.sample("noise", dist.Normal(zeros(), 1.0), infer={"is_auxiliary": True})
                pyro.sample("j", dist.Categorical(logits=param("q", 3)), infer=in_guide[where])

    return Pair(model, guide, (zoo.tensor(5),), 2)


@pytest.mark.parametrize("where", ["model", "parallel", "sequential"])
@pytest.mark.parametrize("size", [5, 1])
def test_the_exact_likelihood_is_the_sum_over_all_labels(where: str, size: int) -> None:
    """Also where the guide enumerates: what the guide thinks of the labels does not matter."""
    pair, x = labelled_pair(where), zoo.tensor(5)[:size]
    structure, _, _ = probe(pair.model, pair.guide, (x,), {})
    with torch.no_grad(), pyro.validation_enabled(False):
        found = exact_log_prob(pair.model, pair.guide, (x,), structure)
    total = []
    for j in range(3):
        for k in (0.0, 1.0):
            log_p = param("prior", 3).log_softmax(0)[j]
            log_p = log_p + dist.Bernoulli(logits=param("bias", 3)[j]).log_prob(torch.tensor(k, dtype=torch.float64))
            log_p = log_p + (x < 1.0) * dist.Normal(param("centre", 3)[j] + k, 1.0).log_prob(x)
            y = torch.stack([x, x**2])
            total.append(log_p + dist.Normal(k * param("w"), 1.0).log_prob(y).sum(0))
    wanted = torch.stack(total).logsumexp(0)
    assert found.shape == (size,)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-10, atol=1e-10)


def test_the_exact_likelihood_of_a_model_without_latent_sites() -> None:
    pair = zoo.boltzmann()
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    found = exact_log_prob(pair.model, pair.guide, pair.args, structure)
    torch.testing.assert_close(found.sum(), -ELBO()(pair.model, pair.guide, *pair.args), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (zoo.enumerated_guide, "'z' is sampled"),
        (zoo.linear_vae, "'z' is sampled"),
        (zoo.mixture, "'centre' is sampled"),
    ],
)
def test_the_exact_likelihood_refuses_sampled_sites(make: Callable[[], Pair], message: str) -> None:
    pair = make()
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    with pytest.raises(SiteError, match=message):
        exact_log_prob(pair.model, pair.guide, pair.args, structure)


def test_the_exact_likelihood_refuses_global_labels() -> None:
    def model(x: Tensor) -> None:
        k = pyro.sample("k", dist.Bernoulli(0.5 * ones()), infer=PARALLEL)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    x = zoo.tensor(3)
    structure, _, _ = probe(model, zoo.nothing, (x,), {})
    with pytest.raises(SiteError, match="inside one plate over the examples"):
        exact_log_prob(model, zoo.nothing, (x,), structure)


def test_exact_likelihood_never_waits() -> None:
    pair = labelled_pair("parallel")
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    with torch.no_grad(), no_sync():
        exact_log_prob(pair.model, pair.guide, pair.args, structure)


def test_the_elbo_of_an_exact_posterior_is_the_likelihood() -> None:
    """One label in the guide with the posterior's probabilities: no gap."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(logits=param("prior")))
            pyro.sample("x", dist.Normal(k * param("w"), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        odds = param("prior") + x * param("w") - param("w") ** 2 / 2
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(logits=odds), infer=PARALLEL)

    x = zoo.tensor(5)
    each = [dist.Normal(k * param("w"), 1.0).log_prob(x) for k in (0.0, 1.0)]
    share = param("prior").sigmoid()
    evidence = torch.stack([each[0] + (1 - share).log(), each[1] + share.log()]).logsumexp(0).sum()
    loss = ELBO()(model, guide, x)
    torch.testing.assert_close(-loss, evidence, rtol=1e-10, atol=1e-10)
    found, wanted = zoo.gradients(-loss), zoo.gradients(evidence)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
