"""What each kind of model calls strange, against the formula that it names."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import probae as pb
from probae.errors import ArgumentError, NoLikelihoodError
from probae.evaluation.pseudo_likelihood import pseudo_log_likelihood
from probae.models.base import Model

GREY = pb.data.load("digits", binarize="none")
BITS = pb.data.load("digits")
X, V = GREY.test.tensor[:20], BITS.test.tensor[:20]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_beside_a_normal_it_is_the_squared_error(scale: float) -> None:
    model = pb.Autoencoder(64, 8, 16, {"name": "normal", "scale": scale})
    errors = (X - model.reconstruct(X)).square() / (2 * scale**2)
    constant = math.log(scale) + 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(model.anomaly_map(X), errors + constant)
    torch.testing.assert_close(model.anomaly_score(X), errors.sum(1) + 64 * constant)


def test_beside_bits_it_is_the_cross_entropy() -> None:
    model = pb.Autoencoder(64, 8, 16, "bernoulli")
    rates = model.reconstruct(V)
    torch.testing.assert_close(model.anomaly_map(V), -(V * rates.log() + (1 - V) * (1 - rates).log()))


def test_a_denoising_autoencoder_looks_at_the_clean_example() -> None:
    model = pb.DenoisingAutoencoder(64, 8, 16, {"name": "masking", "rate": 0.9})
    clean = 0.5 * (X - model.reconstruct(X)).square().sum(1) + 32 * math.log(2 * math.pi)
    torch.testing.assert_close(model.anomaly_score(X), clean)
    assert torch.equal(model.anomaly_score(X), model.anomaly_score(X))


def test_a_sparse_autoencoder_does_not_count_its_prior() -> None:
    model = pb.SparseAutoencoder(64, 100, strength=5.0)
    torch.testing.assert_close(model.anomaly_score(X), model.anomaly_map(X).sum(1))


def test_probabilistic_pca_is_exact() -> None:
    model = pb.ProbabilisticPCA(64, 5).fit_closed_form(GREY.train)
    truth = -model.marginal().log_prob(X.double())
    torch.testing.assert_close(model.anomaly_score(X), truth.float())
    torch.testing.assert_close(model.anomaly_score(X, method="bound"), truth.float(), rtol=1e-4, atol=1e-3)


def test_a_vae_takes_its_bound_which_is_above_its_likelihood() -> None:
    """Of 20 examples the mean bound lies above -log p(x): by Jensen, and beyond six standard errors of both, 2e-9."""
    vae = pb.VAE(64, 4, 16)
    vae.fit(BITS.train, epochs=3, seed=0)
    bound = vae.log_likelihood(V, method="bound", num_samples=32)
    torch.testing.assert_close(vae.anomaly_score(V), -bound.per_example.float())
    better = vae.log_likelihood(V, method="importance", num_samples=2000)
    scores = vae.anomaly_score(V, method="importance", num_samples=2000)
    torch.testing.assert_close(scores, -better.per_example.float())
    assert bound.value + 6 * (bound.stderr + better.stderr) < better.value
    assert torch.equal(vae.anomaly_score(V, seed=3), vae.anomaly_score(V, seed=3))
    assert not torch.equal(vae.anomaly_score(V, seed=3), vae.anomaly_score(V, seed=4))


def test_any_model_with_a_code_can_be_asked_for_the_reconstruction() -> None:
    vae = pb.VAE(64, 4, 16)
    scores = vae.anomaly_score(V, method="reconstruction")
    torch.testing.assert_close(scores, -vae.decode(vae.embed(V)).log_prob(V))
    torch.testing.assert_close(scores, vae.anomaly_map(V).sum(1))


def test_an_rbm_is_a_constant_away_from_its_likelihood() -> None:
    rbm = pb.RBM(64, 6).set_parameters(torch.randn(64, 6), torch.randn(64), torch.randn(6))
    away = rbm.anomaly_score(V) + rbm.log_likelihood(V).per_example
    assert away.tolist() == pytest.approx([-rbm.log_partition().value] * 20, abs=1e-3)
    pseudo = pseudo_log_likelihood(rbm.distribution(), V, num_units=64)
    torch.testing.assert_close(rbm.anomaly_map(V).sum(1), -pseudo.detach())


def test_labels_that_are_a_condition_say_what_is_strange() -> None:
    data = BITS.train
    vae = pb.VAE(64, 4, 32, num_labels=10)
    vae.fit(data, epochs=15, learning_rate=5e-3, seed=0)
    labels = BITS.test.labels
    assert labels is not None
    right, wrong = (vae.anomaly_score(BITS.test.tensor, y) for y in (labels, (labels + 1) % 10))
    assert float((wrong > right).double().mean()) > 0.8
    assert torch.equal(vae.anomaly_score(BITS.test), right)
    assert vae.anomaly_map(BITS.test).shape == (300, 64)


def test_latent_labels_are_drawn() -> None:
    vae = pb.VAE(64, 4, 16, num_labels=10, labels="latent")
    assert vae.anomaly_score(BITS.test[:5]).shape == (5,)
    with pytest.raises(ArgumentError, match=r"^y: "):
        vae.anomaly_score(V, 3)


def test_only_what_is_observed_is_strange() -> None:
    """Whatever stands in the rest, even NaN; the encoder reads it as zero."""
    model, mask = pb.Autoencoder(64, 8, 16), torch.rand(20, 64) < 0.5
    terms = 0.5 * (X - model.reconstruct(torch.where(mask, X, 0.0))).square() + 0.5 * math.log(2 * math.pi)
    spoiled = torch.where(mask, X, torch.nan)
    torch.testing.assert_close(model.anomaly_map(spoiled, mask=mask), torch.where(mask, terms, 0.0))
    torch.testing.assert_close(model.anomaly_score(spoiled, mask=mask), torch.where(mask, terms, 0.0).sum(1))
    vae = pb.VAE(64, 4, 16)
    scores = vae.anomaly_score(V, mask=mask)
    found = vae.log_likelihood(V, method="bound", num_samples=32, mask=mask).per_example
    assert found is not None
    torch.testing.assert_close(scores, -found.float())


def test_a_padded_end_is_not_strange() -> None:
    melodies = pb.data.load("melodies", size=10, min_length=4).train
    vae = pb.VAE((16, 8), 4, 16, {"name": "categorical", "categories": 8})
    spoiled = melodies.tensor.clone().reshape(10, 16, 8)
    for row, length in enumerate(melodies.lengths.tolist()):
        spoiled[row, length:] = 7.0
    for method in ("bound", "reconstruction"):
        scores = vae.anomaly_score(melodies, method=method)
        torch.testing.assert_close(vae.anomaly_score(spoiled, lengths=melodies.lengths, method=method), scores)


def one_hot() -> Model:
    return pb.VAE(64, 4, 16, {"name": "categorical", "categories": 2})


REFUSED: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "a map of units": (ArgumentError, "^likelihood: expected one that is a product", lambda: one_hot().anomaly_map(
        torch.stack([V, 1 - V], -1).flatten(1)[:, :64])),
    "a bound of a Delta": (NoLikelihoodError, "Delta", lambda: pb.Autoencoder(64).anomaly_score(X, method="bound")),
    "a method of no Delta": (ArgumentError, "^method: .*'reconstruction'; got 'energy'", lambda: pb.Autoencoder(
        64).anomaly_score(X, method="energy")),
    "an unknown method": (ArgumentError, "^method: .*'bound', .*'reconstruction'", lambda: pb.VAE(64).anomaly_score(
        V, method="energy")),
    "an unknown option": (ArgumentError, "^num_sample: ", lambda: pb.VAE(64).anomaly_score(V, num_sample=3)),
    "an option without use": (ArgumentError, "^num_samples: ", lambda: pb.Autoencoder(64).anomaly_score(
        X, num_samples=3)),
    "an option of an RBM": (ArgumentError, "^num_samples: ", lambda: pb.RBM(64, 3).anomaly_score(V, num_samples=3)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_named(case: str) -> None:
    error, message, call = REFUSED[case]
    with pytest.raises(error, match=message):
        call()
