"""The plain autoencoder: principal components where it is linear, and no likelihood ever."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import probae as pb
from probae.errors import NoLikelihoodError


def test_the_linear_autoencoder_is_pca() -> None:
    """Baldi and Hornik 1989: it reaches the error of the first principal components, and what its decoder spans."""
    x = pb.data.load("digits", binarize="none").train.tensor[:, 20:44]
    torch.manual_seed(0)
    linear = pb.Autoencoder(24, latent_dim=4, hidden=())
    linear.fit(x, epochs=600, batch_size=None, learning_rate=0.03, schedule="cosine", seed=0)
    _, sizes, components = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
    error = (linear.reconstruct(x).double() - x).square().sum()
    assert error.item() == pytest.approx(sizes[4:].square().sum().item(), rel=1e-4)
    basis = torch.linalg.qr(linear.decoder[0].weight.detach().double()).Q  # type: ignore[index, union-attr, operator]
    sine = torch.linalg.svdvals(basis - components[:4].T @ (components[:4] @ basis))[0]
    assert sine < 0.01


def test_it_has_neither_likelihood_nor_samples() -> None:
    model, x = pb.Autoencoder(12, 3, 8), torch.rand(5, 12)
    with pytest.raises(NoLikelihoodError, match="Delta"):
        model.log_likelihood(x)
    for draw in (model.sample, model.model):
        with pytest.raises(NoLikelihoodError, match="a flat prior cannot be sampled from"):
            draw()


def test_its_monitor_is_the_reconstruction() -> None:
    model, x = pb.Autoencoder(12, 3, 8), torch.rand(5, 12)
    run = model.fit(x, valid=x, epochs=2, seed=0)
    error = (model.reconstruct(x) - x).square().sum(1).mean()
    expected = -error / 2 - 6 * torch.tensor(2 * torch.pi).log()
    assert run.best == pytest.approx(expected.item(), rel=1e-5)


def test_an_autoencoder_without_parameters() -> None:
    """The pair z = x, x = z has none at all; device and dtype are known all the same."""
    model = pb.Autoencoder(3, 3, encoder=nn.Identity(), decoder=nn.Identity())
    assert (model.dtype, model.device.type) == (torch.float32, "cpu")
    x = torch.randn(5, 3)
    assert torch.equal(model.reconstruct(x), x)
    assert model.double().embed(x).dtype == torch.float64
