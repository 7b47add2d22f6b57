"""KL terms of single sites: closed forms only where they are right, the rest sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import kl_divergence

from probae.inference.elbo import ELBO
from probae.inference.kl import analytic_kl, base_distribution
from probae.inference.traces import run_pair
from tests.inference import zoo
from tests.inference.draws import assert_mean, draws, flat
from tests.inference.zoo import Pair, ones, param, positive, zeros
from tests.no_sync import no_sync


def one_site(q: Any, p: Any) -> tuple[Any, Any]:
    """The traced guide site and model site of a latent with these distributions."""

    def guide() -> None:
        with pyro.plate("data", 5):
            pyro.sample("z", q)

    def model() -> None:
        with pyro.plate("data", 5):
            pyro.sample("z", p)

    model_trace, guide_trace = run_pair(model, guide, (), {})
    return guide_trace.nodes["z"], model_trace.nodes["z"]


loc, scale, square = zoo.tensor(5, 2), zoo.tensor(5, 2, seed=1).exp(), torch.eye(2, dtype=torch.float64) + 0.5
affine = dist.transforms.AffineTransform(1.0, 2.0)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (dist.Normal(loc, scale).to_event(1), zoo.normal(2)),
        (dist.Normal(loc, scale).to_event(1), dist.MultivariateNormal(zeros(2), square)),
        (dist.MultivariateNormal(loc, square), dist.MultivariateNormal(zeros(2), square * 2)),
        (dist.MultivariateNormal(loc, square), zoo.normal(2)),
        (dist.MultivariateNormal(loc, square), dist.Laplace(zeros(2), ones(2)).to_event(1)),
        (dist.Gamma(scale[:, 0], scale[:, 1]), dist.Gamma(ones(), ones())),
        (dist.LogNormal(loc[:, 0], scale[:, 0]), dist.LogNormal(zeros(), ones())),
        (dist.Laplace(loc[:, 0], scale[:, 0]), dist.Laplace(zeros(), ones())),
        (dist.Normal(loc[:, 0], scale[:, 0]), dist.Laplace(zeros(), ones())),
        (dist.Normal(loc[:, 0], scale[:, 0]).mask(True), dist.Normal(zeros(), ones()).mask(True)),
    ],
)
def test_closed_forms_are_used(q: Any, p: Any) -> None:
    site, prior = one_site(q, p)
    kl = analytic_kl(site, prior)
    assert kl is not None
    wanted = kl_divergence(*(d.base_dist if isinstance(d, dist.MaskedDistribution) else d for d in (q, p)))
    torch.testing.assert_close(kl, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (dist.Delta(loc, event_dim=1), zoo.normal(2)),
        (dist.Delta(loc, log_density=3.0).to_event(1), zoo.normal(2)),
        (dist.Delta(loc[:, 0]).mask(torch.arange(5) < 3), dist.Normal(zeros(), ones())),
        (dist.Bernoulli(logits=loc[:, 0]), dist.Bernoulli(0.5 * ones())),
        (dist.Normal(loc[:, 0], scale[:, 0]).has_rsample_(False), dist.Normal(zeros(), ones())),
        (dist.Normal(loc[:, 0], scale[:, 0]), dist.StudentT(ones(), zeros(), ones())),
        (dist.MultivariateNormal(loc, square), dist.StudentT(ones(2), zeros(2), ones(2)).to_event(1)),
        (dist.TransformedDistribution(dist.Normal(loc[:, 0], scale[:, 0]), [affine]), dist.Normal(zeros(), ones())),
        (dist.Normal(loc[:, 0], scale[:, 0]).mask(torch.arange(5) < 3), dist.Normal(zeros(), ones())),
        (dist.Normal(loc[:, 0], 1.0).mask(torch.arange(5) < 3), dist.Normal(zeros(), 1.0).mask(torch.arange(5) < 2)),
    ],
)
def test_other_pairs_are_sampled(q: Any, p: Any) -> None:
    assert analytic_kl(*one_site(q, p)) is None


def test_a_mask_of_false_leaves_nothing() -> None:
    site, prior = one_site(dist.Normal(loc[:, 0], scale[:, 0]).mask(False), dist.Normal(zeros(), ones()).mask(False))
    torch.testing.assert_close(analytic_kl(site, prior), zeros(5))


def test_the_base_is_found_inside() -> None:
    inner = dist.Normal(loc, scale)
    assert base_distribution(inner.to_event(1).mask(True)) is inner


def weighed(in_model: Callable[[], Any], in_guide: Callable[[], Any]) -> Pair:
    """A Normal latent under these handlers."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with in_model():
                z = pyro.sample("z", dist.Normal(zeros(), positive("t")))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), in_guide():
            pyro.sample("z", dist.Normal(x * param("a"), positive("s")))

    return Pair(model, guide, (zoo.tensor(2).repeat(500),), 1)


def first(count: int) -> Tensor:
    return torch.arange(1000) % 2 < count


@pytest.mark.parametrize(
    ("in_model", "in_guide", "weights"),
    [
        (lambda: poutine.scale(scale=0.4), lambda: poutine.scale(scale=1.5), ([0.4, 0.4], [1.5, 1.5])),
        (lambda: poutine.scale(scale=2 * ones()), lambda: poutine.scale(scale=2 * ones()), ([2, 2], [2, 2])),
        (lambda: poutine.mask(mask=first(1)), lambda: poutine.mask(mask=first(1)), ([1, 0], [1, 0])),
        (lambda: poutine.mask(mask=first(1)), lambda: poutine.scale(scale=1.0), ([1, 0], [1, 1])),
        (lambda: poutine.scale(scale=2.0), lambda: poutine.mask(mask=first(1)), ([2, 2], [1, 0])),
        (lambda: poutine.mask(mask=False), lambda: poutine.scale(scale=1.0), ([0, 0], [1, 1])),
    ],
)
def test_model_and_guide_may_weigh_a_site_differently(in_model: Any, in_guide: Any, weights: Any) -> None:
    """E[v log p - w log q] in closed form; 60 calls of 1000 examples; false alarm 1e-8."""
    pair, objective = weighed(in_model, in_guide), ELBO()
    (x,) = pair.args
    objective(pair.model, pair.guide, x)
    of_p, of_q = (torch.tensor(w, dtype=torch.float64).repeat(500) for w in weights)
    mean, s, t = x * param("a"), positive("s"), positive("t")
    log_p = dist.Normal(zeros(), t).log_prob(mean) - (s / t) ** 2 / 2
    log_q = -dist.Normal(mean, s).entropy()
    wanted = -(of_p * log_p - of_q * log_q + dist.Normal(mean, 1.0).log_prob(x) - s**2 / 2).sum()
    with pyro.validation_enabled(False):
        rows = draws(lambda: objective(pair.model, pair.guide, x), 60)
    assert_mean(rows, flat(wanted, zoo.gradients(wanted)))
    with no_sync():
        objective(pair.model, pair.guide, x)


def test_equal_masks_keep_the_closed_form() -> None:
    """Also where model and guide each make their own: the KL terms then have no noise."""
    pair = weighed(lambda: poutine.mask(mask=first(1)), lambda: poutine.mask(mask=first(1)))
    site, prior = (trace.nodes["z"] for trace in reversed(run_pair(pair.model, pair.guide, pair.args, {})))
    kl = analytic_kl(site, prior)
    wanted = torch.where(first(1), kl_divergence(site["fn"], prior["fn"]), 0.0)
    torch.testing.assert_close(kl, wanted, rtol=1e-12, atol=1e-12)
