"""Several stochastic layers: the density they stand for, integrated by hand, and the bound on it."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError

D = 6


def bits(count: int) -> Tensor:
    return (torch.rand(count, D, generator=torch.Generator().manual_seed(0)) < 0.4).double()


@pytest.fixture
def vae() -> pb.VAE:
    torch.manual_seed(0)
    vae = pb.VAE(D, latent_dim=(1, 1), hidden=5).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1.5)
    return vae


def exact_log_likelihood(vae: pb.VAE, x: Tensor) -> Tensor:
    """By the midpoint rule over z1 and z2: (N,)."""
    step = 0.02
    axis = torch.arange(-9, 9, step, dtype=torch.float64) + step / 2
    assert vae.upper is not None
    down = vae.upper.conditionals[0].distribution(vae.upper.down[0](axis.unsqueeze(-1)))  # type: ignore[operator]
    log_p1 = down.log_prob(axis.reshape(-1, 1, 1))  # (z1, z2)
    log_p2 = dist.Normal(0.0, 1.0).log_prob(axis)
    marginal = (log_p1 + log_p2 + math.log(step)).logsumexp(1)  # log p(z1)
    assert marginal.exp().sum().item() * step == pytest.approx(1, abs=1e-3)
    log_x = vae.decode(axis.unsqueeze(-1)).log_prob(x.unsqueeze(1))  # (N, z1)
    return (log_x + marginal + math.log(step)).logsumexp(1)


def test_the_likelihood_is_that_of_an_integral(vae: pb.VAE) -> None:
    x = bits(4)
    estimate = vae.log_likelihood(x, num_samples=20_000)
    torch.testing.assert_close(
        estimate.per_example, exact_log_likelihood(vae, x), rtol=0, atol=6 * 4 * estimate.stderr + 1e-3
    )


def test_the_elbo_is_a_bound_that_iwae_tightens(vae: pb.VAE) -> None:
    x = bits(4)
    torch.manual_seed(0)
    elbo, iwae = (
        -objective(vae.model, vae.guide, x).item() / 4
        for objective in (pb.ELBO(num_particles=3000), pb.IWAE(3000))
    )  # fmt: skip
    exact = exact_log_likelihood(vae, x).mean().item()
    assert elbo < exact + 0.02
    assert elbo < iwae
    assert iwae == pytest.approx(exact, abs=0.02)


def test_the_sites_and_their_order() -> None:
    vae = pb.VAE(D, latent_dim=[4, 3, 2], hidden=8)
    guide = poutine.trace(vae.guide).get_trace(bits(5).float())
    model = poutine.trace(vae.model).get_trace(num_examples=5)
    assert [name for name in guide.nodes if name.startswith("z")] == ["z1", "z2", "z3"]
    assert [name for name in model.nodes if name[0] in "xz"] == ["z3", "z2", "z1", "x"]
    assert vae.config["latent_dim"] == [4, 3, 2]
    assert vae.latent_dim == 4
    assert vae.prior.latent_dim == 2


def test_each_layer_listens_to_the_one_above(vae: pb.VAE) -> None:
    """The integral above cannot tell: at random weights what z1 hears moves log p(x) by less than its error."""
    assert vae.upper is not None
    with torch.no_grad():
        trace = poutine.trace(vae.model).get_trace(num_examples=50)
    network, family = vae.upper.down[0], vae.upper.conditionals[0]
    expected = family.distribution(network(trace.nodes["z2"]["value"]))  # type: ignore[operator]
    drawn: Any = trace.nodes["z1"]["fn"]
    torch.testing.assert_close((drawn.mean, drawn.stddev), (expected.mean, expected.stddev))
    assert drawn.mean.std() > 0.1


def test_one_layer_in_a_tuple_is_one_layer() -> None:
    assert pb.VAE(D, latent_dim=(4,)).config == pb.VAE(D, latent_dim=4).config


def test_the_upper_prior_may_be_learned() -> None:
    vae = pb.VAE(D, latent_dim=(3, 2), hidden=8, prior={"name": "mixture", "num_components": 4}, guide="full")
    vae.fit(bits(20).float(), epochs=2, seed=0)
    assert vae.log_likelihood(bits(5).float(), num_samples=50).value < 0


@pytest.mark.parametrize("bad", [(), (3, 0), (3, 2.0), "3", None])
def test_sizes_are_checked(bad: object) -> None:
    with pytest.raises(ArgumentError, match=r"^latent_dim: "):
        pb.VAE(D, latent_dim=bad)  # type: ignore[arg-type]


def test_a_guide_made_for_one_layer_is_refused() -> None:
    with pytest.raises(ArgumentError, match="guide: expected a name or a configuration"):
        pb.VAE(D, latent_dim=(3, 2), guide=pb.VAE(D, 3).family)
