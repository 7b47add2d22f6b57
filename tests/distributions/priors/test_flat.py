"""The flat prior: no term in the objective, nothing to sample, no likelihood."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.distributions.priors import Flat
from probae.errors import NoLikelihoodError


def test_it_is_zero_of_the_type_and_place_of_its_values() -> None:
    p = Flat(2).distribution()
    for dtype in (torch.float16, torch.float32, torch.float64):
        value = p.log_prob(torch.randn(3, 2, dtype=dtype))
        assert (value.dtype, value.shape) == (dtype, (3,))
        assert not value.any()
    with pyro.validation_enabled(False):
        assert Flat(2).distribution().log_prob(torch.zeros(3, 2, device="meta")).device.type == "meta"


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", Flat(2).distribution())
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def deterministic(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(x / 2, event_dim=1))


def stochastic(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 1.0).to_event(1))


@pytest.mark.parametrize("particles", [1, 3])
def test_the_elbo_of_a_delta_guide_is_the_reconstruction(particles: int) -> None:
    x = torch.randn(5, 2)
    reconstruction = dist.Normal(x / 2, 1.0).log_prob(x).sum()
    torch.testing.assert_close(pb.ELBO(num_particles=particles)(model, deterministic, x), -reconstruction)


def test_it_cannot_be_sampled_from() -> None:
    for draw in (Flat(2).distribution().sample, Flat(2).distribution().expand(torch.Size((3,)))):
        with pytest.raises(NoLikelihoodError, match=r"flat prior cannot be sampled.*decode\(model\.embed\(x\)\)"):
            draw()


def test_it_gives_no_likelihood() -> None:
    with pytest.raises(NoLikelihoodError, match="'z' is flat"):
        pb.log_likelihood(model, stochastic, torch.randn(5, 2))
