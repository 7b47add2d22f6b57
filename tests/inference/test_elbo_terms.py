"""What an ELBO adds to the bound: beta, free bits and penalties, against sums by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch import Tensor, nn

from probae.errors import SiteError
from probae.inference.elbo import ELBO
from probae.inference.traces import run_pair
from tests.inference import zoo
from tests.inference.comparisons import PARTICLES
from tests.inference.zoo import Pair, ones, param, positive, zeros
from tests.no_sync import no_sync


def noise_of(particles: dict[str, Any], *shape: int) -> Tensor:
    """The normal numbers of a site with this shape, (particles, *shape), as the program draws them."""
    count = particles.get("num_particles", 1)
    if particles.get("vectorize", True):
        return torch.randn(count, *shape, dtype=torch.float64)
    return torch.stack([torch.randn(shape, dtype=torch.float64) for _ in range(count)])


def by_hand(pair: Pair) -> tuple[Tensor, Tensor]:
    """Sums of log p(x given z) and of log q(z) - log p(z), on one draw of the guide."""
    model_trace, guide_trace = run_pair(pair.model, pair.guide, pair.args, {})
    model_trace.compute_log_prob()
    guide_trace.compute_log_prob()
    likelihood = sum(model_trace.nodes[name]["log_prob_sum"] for name in model_trace.observation_nodes)
    prior = sum(model_trace.nodes[name]["log_prob_sum"] for name in model_trace.stochastic_nodes)
    return likelihood, guide_trace.log_prob_sum() - prior  # type: ignore[operator, return-value]


@pytest.mark.parametrize("make", [zoo.linear_vae, zoo.hierarchy, zoo.auxiliary, zoo.nested], ids=lambda f: f.__name__)
def test_beta_weighs_the_kl_terms(make: Callable[[], Pair]) -> None:
    pair, objective = make(), ELBO(beta=0.3, analytic_kl=False)
    objective(pair.model, pair.guide, *pair.args)
    pyro.set_rng_seed(2)
    loss = objective(pair.model, pair.guide, *pair.args)
    pyro.set_rng_seed(2)
    likelihood, kl = by_hand(pair)
    wanted = -(likelihood - 0.3 * kl)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(zoo.gradients(loss), zoo.gradients(wanted), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize("particles", PARTICLES)
def test_free_bits_are_the_floor_of_each_dimension(particles: dict[str, Any], analytic: bool) -> None:
    """mean over the batch and the particles, maximum, sum over dimensions, times the number of examples."""
    pair, floor = zoo.linear_vae(), 0.45
    objective = ELBO(free_bits=floor, analytic_kl=analytic, **particles)
    (x,), count = pair.args, particles.get("num_particles", 1)
    objective(pair.model, pair.guide, x)
    pyro.set_rng_seed(2)
    loss = objective(pair.model, pair.guide, x)
    pyro.set_rng_seed(2)
    noise = noise_of(particles, len(x), 2)
    q = dist.Normal(x @ param("V", 3, 2), positive("s", 2))
    z, p = q.loc + q.scale * noise, dist.Normal(zeros(2), 1.0)
    likelihood = dist.Normal(z @ param("W", 2, 3) + param("b", 3), positive("sigma")).log_prob(x).sum() / count
    kl = torch.distributions.kl_divergence(q, p).expand(count, -1, -1) if analytic else q.log_prob(z) - p.log_prob(z)
    each = [kl[k].mean(0) for k in range(count)] if particles.get("vectorize") is False else [kl.mean((0, 1))]
    wanted = -likelihood + len(x) * sum(k.clamp(min=floor).sum() for k in each) / len(each)
    assert min(k.min() for k in each) < floor < max(k.max() for k in each)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(zoo.gradients(loss), zoo.gradients(wanted), rtol=1e-10, atol=1e-10)


def test_free_bits_under_a_subsampling_plate_scale_with_it() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            z = pyro.sample("z", zoo.normal(2))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            pyro.sample("z", dist.Normal(param("m", 2), ones(2)).to_event(1))

    x = zoo.tensor(5, 2)
    free, plain = ELBO(free_bits=4.0), ELBO()
    kl = (param("m", 2) ** 2).sum() / 2
    losses = []
    for objective in (free, plain):
        pyro.set_rng_seed(2)
        losses.append(objective(model, guide, x))
    torch.testing.assert_close(losses[0] - losses[1], 30 * (2 * 4.0 - kl), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [zoo.discrete, zoo.delta, zoo.scaled_and_masked], ids=lambda f: f.__name__)
def test_free_bits_refuse_sites_without_a_kl(make: Callable[[], Pair]) -> None:
    pair = make()
    with pytest.raises(SiteError, match="free_bits"):
        ELBO(free_bits=0.1)(pair.model, pair.guide, *pair.args)


def test_free_bits_with_enumerated_sites_are_refused() -> None:
    pair = zoo.enumerated_guide()
    with pytest.raises(SiteError, match="free_bits does not go with enumerated sites"):
        ELBO(free_bits=0.1)(pair.model, pair.guide, *pair.args)


class Bend(nn.Module):
    """A penalty with a parameter of its own: (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, batch: Tensor, guide_trace: Any) -> Tensor:
        return self.weight * guide_trace.nodes["z"]["value"].pow(2).sum(-1) * batch.sum(-1)


def statistic(batch: Any, guide_trace: Any) -> Tensor:
    """A penalty on the whole batch: a scalar."""
    return guide_trace.nodes["z"]["value"].mean().exp()


@pytest.mark.parametrize("particles", PARTICLES)
def test_penalties_are_added_to_the_loss_of_each_example(particles: dict[str, Any]) -> None:
    """A penalty of each example once for each particle, averaged over the particles; a statistic for each example."""
    pair, bend = zoo.linear_vae(), Bend()
    objective = ELBO(penalties=[bend, statistic], **particles)
    assert [name for name, _ in objective.named_parameters()] == ["penalty_modules.0.weight"]
    plain, (x,) = ELBO(**particles), pair.args
    plain(pair.model, pair.guide, x)
    losses = []
    for one in (objective, plain):
        one(pair.model, pair.guide, x)
        pyro.set_rng_seed(2)
        losses.append(one(pair.model, pair.guide, x))
    pyro.set_rng_seed(2)
    noise = noise_of(particles, len(x), 2)
    z = x @ param("V", 3, 2) + positive("s", 2) * noise
    each = (bend.weight * z.pow(2).sum(-1) * x.sum(-1)).mean(0).sum()
    means = z.flatten(1).mean(1) if particles.get("vectorize") is False else z.mean().reshape(1)
    wanted = each + len(x) * means.exp().mean()
    torch.testing.assert_close(losses[0] - losses[1], wanted, rtol=1e-10, atol=1e-10)
    (found,) = torch.autograd.grad(losses[0], bend.weight)
    torch.testing.assert_close(found, each.detach() / 0.7, rtol=1e-10, atol=1e-10)


def test_penalties_scale_with_the_subsample() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            pyro.sample("z", dist.Delta(param("code", 5)))

    x = zoo.tensor(5)
    with_penalty = ELBO(penalties=lambda batch, trace: trace.nodes["z"]["value"] * batch)(model, guide, x)
    difference = with_penalty - ELBO()(model, guide, x)
    torch.testing.assert_close(difference, 30 / 5 * (param("code", 5) * x).sum(), rtol=1e-10, atol=1e-10)


def test_a_penalty_sees_the_batch_as_the_model_is_called() -> None:
    seen = []
    objective = ELBO(penalties=lambda batch, trace: seen.append(batch) or zeros())
    pair = zoo.semi_supervised(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]])
    objective(pair.model, pair.guide, *pair.args)
    objective(pair.model, pair.guide, x=pair.args[0], y=pair.args[1])
    assert isinstance(seen[0], tuple)
    assert len(seen[0]) == 2
    assert set(seen[1]) == {"x", "y"}


def test_svi_trains_the_parameters_of_a_penalty() -> None:
    pair, bend = zoo.linear_vae(), Bend()
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.1}), loss=ELBO(penalties=bend))
    svi.step(*pair.args)
    assert abs(abs(bend.weight.item() - 0.7) - 0.1) < 1e-6  # Adam's first step


def test_free_bits_and_penalties_never_wait() -> None:
    pair, objective = zoo.linear_vae(), ELBO(free_bits=0.2, penalties=[Bend(), statistic], num_particles=2)
    objective(pair.model, pair.guide, *pair.args)
    with no_sync():
        zoo.gradients(objective(pair.model, pair.guide, *pair.args))
