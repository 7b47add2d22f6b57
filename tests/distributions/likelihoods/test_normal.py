"""A Normal whose mean is a nonlinearity of the outputs."""

from __future__ import annotations

import pytest
import torch

import probae as pb
from probae.distributions.likelihoods import LIKELIHOODS, Likelihood, Normal
from probae.distributions.named import make
from probae.errors import ArgumentError
from probae.networks.mlp import ACTIVATIONS, NONLINEARITIES


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_it_is_a_normal_around_the_nonlinearity(nonlinearity: str) -> None:
    likelihood, outputs = Normal(3, 0.7, nonlinearity=nonlinearity), torch.randn(5, 3)
    mean, x = NONLINEARITIES[nonlinearity](outputs), torch.randn(5, 3)
    assert torch.equal(likelihood.mean(outputs), mean)
    wanted = torch.distributions.Normal(mean, 0.7).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.distribution(outputs).log_prob(x), wanted)
    twin = make("likelihood", likelihood.config, Likelihood, LIKELIHOODS, 3)
    assert torch.equal(twin.mean(outputs), mean)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_outputs_for_a_mean(nonlinearity: str) -> None:
    likelihood, start = Normal(6, nonlinearity=nonlinearity), torch.linspace(0.1, 3.5, 6)
    mean = likelihood.mean(start)
    found = likelihood.outputs_for(mean)
    assert found.dtype == mean.dtype
    torch.testing.assert_close(likelihood.mean(found), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nonlinearity", ACTIVATIONS)
def test_outputs_for_the_ends_can_still_learn(nonlinearity: str) -> None:
    """A unit that never was active, and one that always was."""
    outputs = Normal(2, nonlinearity=nonlinearity).outputs_for(torch.tensor([0.0, 1.0]))
    assert outputs.isfinite().all()
    assert outputs.abs().max() <= 5


def test_values_in_the_unit_interval_are_reconstructed_there() -> None:
    x = (torch.arange(40.0).reshape(10, 4) % 7) / 6
    model = pb.Autoencoder(4, 2, 8, {"name": "normal", "nonlinearity": "sigmoid"}).prepare(x)
    torch.testing.assert_close(model.decoder[-1].bias.sigmoid(), x.mean(0), rtol=1e-4, atol=0)  # type: ignore[index, union-attr, operator]
    model.fit(x, epochs=3, compile="eager", seed=0)
    assert ((model.reconstruct(x) > 0) & (model.reconstruct(x) < 1)).all()


def test_another_name_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^nonlinearity: expected one of .*'sigmoid'"):
        Normal(3, nonlinearity="logistic")
