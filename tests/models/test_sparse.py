"""The sparse autoencoder: its ELBO is the classical objective, and its penalty cannot be escaped."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError, NoLikelihoodError
from probae.models.sparse import BoundedLinear

GREY = pb.data.load("digits", binarize="none").train


def test_the_elbo_is_reconstruction_minus_penalty() -> None:
    """log p(x given z) - strength |z|_1 + latent_dim log(strength / 2), summed over the examples."""
    x, strength = GREY.tensor[:20], 0.7
    sparse = pb.SparseAutoencoder(64, 10, strength=strength, likelihood={"name": "normal", "scale": 0.3}).double()
    x = x.double()
    z = sparse.encoder(x).relu()
    log_density = -((x - sparse.decoder(z)) ** 2).sum() / (2 * 0.3**2)
    constant = z.numel() * math.log(strength / 2) - x.numel() * math.log(0.3 * math.sqrt(2 * math.pi))
    elbo = log_density - strength * z.abs().sum() + constant
    torch.testing.assert_close(-sparse.objective()(sparse.model, sparse.guide, x), elbo, rtol=1e-6, atol=0)


def test_the_textbooks_weight() -> None:
    """At variance 1/2 the gradient is that of squared error + strength |z|_1: the textbook's weight 2 s^2 strength."""
    x, strength = GREY.tensor[:20].double(), 0.7
    scale = {"name": "normal", "scale": math.sqrt(0.5)}
    sparse = pb.SparseAutoencoder(64, 10, strength=strength, likelihood=scale).double()

    def gradient(loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(sparse.parameters()))])

    z = sparse.encoder(x).relu()
    textbook = ((x - sparse.decoder(z)) ** 2).sum() + 2 * 0.5 * strength * z.sum()
    ours = sparse.objective()(sparse.model, sparse.guide, x)
    torch.testing.assert_close(gradient(ours), gradient(textbook), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (32,)])
def test_the_decoders_columns_stay_bounded(hidden: tuple[int, ...]) -> None:
    sparse = pb.SparseAutoencoder(64, 30, hidden, strength=0.5, likelihood={"name": "normal", "scale": 0.2})
    sparse.fit(GREY[:300], epochs=10, learning_rate=1e-2, seed=0)
    norms = [layer.weight.norm(dim=0) for layer in sparse.decoder.modules() if isinstance(layer, BoundedLinear)]
    assert len(norms) == 1 + len(hidden)
    assert all((norm <= 1 + 1e-6).all() for norm in norms)
    assert any((norm > 0.999).any() for norm in norms), "the bound is not even reached: the test tests nothing"


def test_a_stronger_penalty_gives_sparser_codes() -> None:
    active, length = [], []
    for strength in (0.03, 0.3, 3.0):
        torch.manual_seed(0)
        sparse = pb.SparseAutoencoder(64, 100, strength=strength, likelihood={"name": "normal", "scale": 0.3})
        sparse.fit(GREY[:500], epochs=20, learning_rate=3e-3, seed=0)
        z = sparse.embed(GREY[:500])
        active.append((z > 0).float().mean().item())
        length.append(z.sum(1).mean().item())
    assert active[0] > 1.3 * active[1] > 1.3**2 * active[2]
    assert length[0] > 1.3 * length[1] > 1.3**2 * length[2]


def test_the_defaults_learn_something() -> None:
    torch.manual_seed(0)
    sparse, x = pb.SparseAutoencoder(64), GREY.tensor
    sparse.fit(GREY, epochs=10, seed=0)
    error, variance = ((sparse.reconstruct(x) - x) ** 2).sum(), ((x - x.mean(0)) ** 2).sum()
    assert error < 0.6 * variance


def test_it_has_no_likelihood() -> None:
    sparse = pb.SparseAutoencoder(64, 10)
    for method in ("importance", "exact"):
        with pytest.raises(NoLikelihoodError, match="'z' is a Delta"):
            sparse.log_likelihood(GREY[:5], method=method)
        with pytest.raises(NoLikelihoodError, match="'z' is a Delta"):
            pb.log_likelihood(sparse.model, sparse.guide, GREY[:5], method=method)


@pytest.mark.parametrize("options", [{}, {"prior": "normal"}, {"target_rate": 0.1}, {"top_k": 3}])
def test_it_has_nothing_to_sample_from(options: dict[str, Any]) -> None:
    """Draws of both signs would go through a decoder that has only seen codes of one."""
    sparse = pb.SparseAutoencoder(64, 10, **options).prepare(GREY)
    for generate in (sparse.sample, sparse.model):
        with pytest.raises(NoLikelihoodError, match=r"prior.*(penalty|flat|be sampled).*decode\(model\.embed\(x\)\)"):
            generate()


def test_the_monitor_is_what_map_maximizes() -> None:
    sparse, x = pb.SparseAutoencoder(64, 10), GREY.tensor[:20]
    run = sparse.fit(x, valid=x, epochs=2, batch_size=7, seed=0)
    assert run.monitor == "log_joint"
    codes = sparse.embed(x)
    prior = torch.distributions.Laplace(0.0, 1 / sparse.strength).log_prob(codes).sum(1)
    best = (sparse.decode(codes).log_prob(x) + prior).mean().item()
    assert run.best == pytest.approx(best, rel=1e-5)


def test_it_starts_from_a_transposed_dictionary_of_unit_vectors_around_the_mean() -> None:
    sparse, x = pb.SparseAutoencoder(64, 100), GREY.tensor
    encoder: Any = sparse.encoder
    torch.testing.assert_close(sparse.dictionary.norm(dim=1), torch.ones(100))
    torch.testing.assert_close(encoder[0].weight, sparse.dictionary)
    sparse.prepare(x)
    torch.testing.assert_close(encoder[0](x).mean(0), torch.zeros(100), rtol=0, atol=1e-4)
    bias = encoder[0].bias.clone()
    sparse.prepare(x + 1)
    assert torch.equal(encoder[0].bias, bias)


def test_a_sparse_code_has_no_dead_units() -> None:
    """From independent weights more than half of the units die at this strength."""
    torch.manual_seed(0)
    sparse = pb.SparseAutoencoder(64, 64, strength=4.0, likelihood={"name": "normal", "scale": 0.2})
    sparse.fit(GREY, epochs=40, batch_size=64, seed=0)
    active = (sparse.embed(GREY) > 0).double().mean(0)
    assert (active > 0).all()
    assert active.mean() < 0.4


def test_the_dictionary() -> None:
    sparse = pb.SparseAutoencoder((8, 8), 10)
    z = torch.rand(5, 10)
    bias = sparse.decoder[-1].bias  # type: ignore[index]
    torch.testing.assert_close(sparse.decode(z).mean, z @ sparse.dictionary + bias)
    assert sparse.dictionary.shape == (10, 64)
    assert not sparse.dictionary.requires_grad
    with pytest.raises(ArgumentError, match="only a linear decoder"):
        _ = pb.SparseAutoencoder(64, 10, hidden=5).dictionary
    with pytest.raises(ArgumentError, match="only a linear decoder"):
        _ = pb.SparseAutoencoder(64, 10, decoder=torch.nn.Linear(10, 64)).dictionary


def test_codes_have_exact_zeros_and_no_negative_values() -> None:
    z = pb.SparseAutoencoder(64, 50).embed(GREY[:20])
    assert (z >= 0).all()
    assert (z == 0).any()


@pytest.mark.parametrize("strength", [0.0, -1.0, math.inf, math.nan, "1", True])
def test_strength_is_checked(strength: object) -> None:
    with pytest.raises(ArgumentError, match=r"^strength: expected a finite number above 0"):
        pb.SparseAutoencoder(64, 10, strength=strength)  # type: ignore[arg-type]
