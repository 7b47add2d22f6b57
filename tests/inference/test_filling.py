"""Filling in: the chain leaves p(x_missing given x_observed) as it is, whatever the guide; observed values stay."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.applications.restoration import channel_mask, colorize
from probae.errors import ArgumentError, DataError
from probae.inference.filling import fill

CHAINS = 20_000
WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 1.0], [-1.0, 0.5]])
NOISE = 0.6
SHOWN = torch.tensor([True, False, False])


def model(x: Tensor, mask: Tensor | None = None) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        each = dist.Normal(z @ WEIGHT.T, NOISE)
        pyro.sample("x", (each if mask is None else each.mask(mask)).to_event(1), obs=x)


def wrong_guide(x: Tensor) -> None:
    """Hangs on the missing values alone, so it moves with them."""
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.8 * x[:, 1:] + 0.2, 0.9).to_event(1))


def conditional() -> tuple[Tensor, Tensor]:
    """Mean and covariance of the two missing values given that the first is 1."""
    covariance = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(3)
    gain = covariance[1:, :1] / covariance[0, 0]
    return gain[:, 0], covariance[1:, 1:] - gain @ covariance[:1, 1:]


def test_the_limit_is_the_conditional_distribution() -> None:
    """After 60 steps with a wrong guide, means and covariances of 20,000 chains are the exact ones (six errors)."""
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 0.0, 0.0]]).expand(CHAINS, 3)
    filled = fill(model, wrong_guide, x, SHOWN.expand(CHAINS, 3), steps=60)
    mean, covariance = conditional()
    assert (filled[:, 0] == 1).all()
    missing = filled[:, 1:]
    error = covariance.diagonal().div(CHAINS).sqrt()
    assert ((missing.mean(0) - mean).abs() < 6 * error).all()
    spread = (covariance.square() + covariance.diagonal().outer(covariance.diagonal())).div(CHAINS).sqrt()
    assert ((missing.T.cov() - covariance).abs() < 6 * spread).all()


def test_the_mean_is_that_of_the_likelihood_in_the_last_step() -> None:
    """Its spread over the chains is the posterior's of W z alone, without the noise."""
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 0.0, 0.0]]).expand(CHAINS, 3)
    filled = fill(model, wrong_guide, x, SHOWN.expand(CHAINS, 3), steps=60, mean=True)
    mean, covariance = conditional()
    covariance = covariance - NOISE**2 * torch.eye(2)
    missing = filled[:, 1:]
    assert ((missing.mean(0) - mean).abs() < 6 * covariance.diagonal().div(CHAINS).sqrt()).all()
    spread = (covariance.square() + covariance.diagonal().outer(covariance.diagonal())).div(CHAINS).sqrt()
    assert ((missing.T.cov() - covariance).abs() < 6 * spread).all()


# The verb.


def digits_like(count: int = 300) -> Tensor:
    """Two patterns of eight bits with a little noise: half of the bits tell which it is."""
    generator = torch.Generator().manual_seed(0)
    pattern = torch.tensor([[1.0, 1, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0, 1, 1]])
    x = pattern[torch.randint(2, (count,), generator=generator)]
    return torch.where(torch.rand(x.shape, generator=generator) < 0.02, 1 - x, x)


MAKES: dict[str, Any] = {
    "VAE": lambda: pb.VAE(8, 2, 16),
    "layers": lambda: pb.VAE(8, (2, 2), 16),
    "labels": lambda: pb.VAE(8, 2, 16, num_labels=2, labels="latent"),
    "condition": lambda: pb.VAE(8, 2, 16, num_labels=2),
    "flow": lambda: pb.VAE(8, 2, 16, guide="flow"),
    "autoencoder": lambda: pb.Autoencoder(8, 1, 16, "bernoulli"),
    "denoising": lambda: pb.DenoisingAutoencoder(8, 4, 16, likelihood="bernoulli"),
    "RBM": lambda: pb.RBM(8, 4),
}


@pytest.mark.parametrize("name", MAKES)
def test_models_fill_in_what_they_have_learned(name: str) -> None:
    if name == "flow":
        pytest.importorskip("zuko")
    torch.manual_seed(0)
    x = digits_like()
    made, labels = MAKES[name](), x[:, 0].long()
    data = (x, labels) if name in ("labels", "condition") else x
    made.fit(data, epochs=30, batch_size=32, learning_rate=1e-2 if name != "RBM" else 0.1, seed=0, progress=False)
    shown = torch.tensor([True, True, True, True, False, False, False, False])
    given = torch.where(shown, x, torch.nan)
    options: dict[str, Any] = {"y": labels} if name == "condition" else {}
    filled = made.inpaint(given, shown, steps=20, **options)
    assert (filled[:, :4] == x[:, :4]).all()
    assert filled.isfinite().all()
    assert ((filled - x).abs()[:, 4:] < 0.5).float().mean() > 0.85
    untouched = made.inpaint(x, torch.ones(8, dtype=torch.bool), steps=2, **options)
    torch.testing.assert_close(untouched, x, rtol=0, atol=0)


def test_a_deterministic_filling_reproduces_itself() -> None:
    torch.manual_seed(0)
    made, x = pb.Autoencoder(8, 1, 16), digits_like(50)
    made.fit(digits_like(), epochs=10, learning_rate=1e-2, seed=0, progress=False)
    shown = torch.arange(8) < 5
    filled = made.inpaint(x, shown, steps=500)
    torch.testing.assert_close(filled, torch.where(shown, x, made.reconstruct(filled)), rtol=1e-4, atol=1e-4)


def test_the_colours_that_are_not_known_are_filled_in() -> None:
    """Pictures whose second channel is the first turned upside down."""
    torch.manual_seed(0)
    first = (torch.rand(400, 1, 2, 2) > 0.5).float()
    x = torch.cat([first, first.flip(2)], 1)
    made = pb.VAE((2, 2, 2), 4, 32)
    made.fit(x, epochs=120, batch_size=50, learning_rate=1e-2, seed=0, progress=False)
    coloured = colorize(made, torch.cat([first, torch.zeros_like(first)], 1)[:100], 0, steps=30, mean=True)
    assert ((coloured.reshape(100, 2, 2, 2)[:, 1] > 0.5).float() == x[:100, 1]).float().mean() > 0.9
    assert (coloured.reshape(100, 2, 2, 2)[:, 0] == x[:100, 0]).all()


def test_what_is_refused() -> None:
    made, x = pb.VAE(8, 2, 4), digits_like(3)
    with pytest.raises(ArgumentError, match=r"^mask: expected a bool tensor"):
        made.inpaint(x, torch.ones(8))
    with pytest.raises(ArgumentError, match=r"^mask: expected at least one observed"):
        made.inpaint(x, torch.zeros(8, dtype=torch.bool))
    with pytest.raises(ArgumentError, match=r"^steps"):
        made.inpaint(x, torch.ones(8, dtype=torch.bool), steps=0)
    with pytest.raises(DataError, match=r"^x"):
        made.inpaint(torch.full((3, 8), 0.5), torch.ones(8, dtype=torch.bool))
    with pytest.raises(ArgumentError, match=r"^model: expected one of images in colour"):
        colorize(made, x)
    for channels in ([], 3, [0, 1, 2], -1, True):
        with pytest.raises(ArgumentError, match=r"^channels"):
            channel_mask((3, 2, 2), channels)  # type: ignore[arg-type]
