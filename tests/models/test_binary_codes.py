"""Binary codes: noise at the inputs of logistic units, in training alone, drives them to both ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.distributions.guides import Delta
from probae.errors import ArgumentError

DIGITS = pb.data.load("digits", binarize="none")


def hashing(noise: float, latent_dim: int = 16) -> pb.Autoencoder:
    torch.manual_seed(0)
    return pb.Autoencoder(64, latent_dim, 64, nonlinearity="sigmoid", noise=noise)


def test_noise_is_normal_at_the_inputs_of_the_units() -> None:
    """The mean of n draws is within 6 standard errors, P = 2e-9, and so is their deviation, of error s / sqrt(2 n)."""
    n = 100_000
    outputs = torch.full((n, 1), 0.7, dtype=torch.float64)
    z = Delta(1, "sigmoid", noise=1.5).train().distribution(outputs).rsample()
    inputs = z.logit()
    assert abs(float(inputs.mean()) - 0.7) < 6 * 1.5 / math.sqrt(n)
    assert abs(float(inputs.std()) - 1.5) < 6 * 1.5 / math.sqrt(2 * n)


def test_noise_is_drawn_anew_in_training_and_never_elsewhere() -> None:
    family, outputs = Delta(3, "sigmoid", noise=2.0), torch.randn(5, 3)
    first, second = (family.distribution(outputs).rsample() for _ in range(2))
    assert not torch.equal(first, second)
    for mode in (True, False):
        assert torch.equal(family.train(mode).code(outputs), torch.sigmoid(outputs))
    assert torch.equal(family.eval().distribution(outputs).rsample(), torch.sigmoid(outputs))


def test_it_is_a_step_like_any_other_recorded_or_not() -> None:
    models = [hashing(4.0) for _ in range(2)]
    for model, way in zip(models, ("eager", "trace"), strict=True):
        model.fit(DIGITS.train[:256], epochs=2, seed=3, compile=way, progress=False)
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def error(model: pb.Autoencoder, reconstructed: Tensor) -> float:
    return (reconstructed - DIGITS.test.tensor).square().sum(1).mean().item()


def test_noise_saturates_the_units_so_that_rounding_costs_little() -> None:
    shares, lost = {}, {}
    for noise in (0.0, 4.0):
        model = hashing(noise)
        model.fit(DIGITS.train, epochs=30, learning_rate=3e-3, seed=0, progress=False)
        codes, bits = model.embed(DIGITS.test), model.binary_codes(DIGITS.test)
        assert torch.equal(bits, codes > 0.5)
        shares[noise] = ((codes < 0.1) | (codes > 0.9)).double().mean().item()
        whole, rounded = error(model, model.reconstruct(DIGITS.test)), error(model, model.decode(bits.float()).mean)
        lost[noise] = (rounded - whole) / (error(model, DIGITS.train.tensor.mean(0)) - whole)
    assert shares[0.0] < 0.2 < 0.8 < shares[4.0]
    assert lost[4.0] < 0.1 < 1.0 < lost[0.0]  # of what the model explains beyond the mean


def test_rates_of_other_models_make_binary_codes_too() -> None:
    sparse = pb.SparseAutoencoder(64, 10, target_rate=0.2)
    contractive = pb.ContractiveAutoencoder(64, 10)
    for model in (sparse, contractive):
        bits = model.binary_codes(DIGITS.test)
        assert (bits.shape, bits.dtype) == ((len(DIGITS.test), 10), torch.bool)
        assert torch.equal(bits, model.embed(DIGITS.test) > 0.5)


@pytest.mark.parametrize("model", [pb.VAE(64, 2, 8), pb.Autoencoder(64, 2), pb.SparseAutoencoder(64, 2)])
def test_units_that_are_not_between_zero_and_one_have_no_sides(model: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^nonlinearity: expected 'sigmoid'"):
        model.binary_codes(DIGITS.test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 4.0}, "noise: expected 0 beside units that are not 'sigmoid'"),
        ({"noise": 4.0, "nonlinearity": "relu"}, "noise: expected 0 beside"),
        ({"noise": -1.0, "nonlinearity": "sigmoid"}, "noise: expected a finite number at least 0"),
        ({"noise": True, "nonlinearity": "sigmoid"}, "noise: expected a finite number"),
    ],
)
def test_noise_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        pb.Autoencoder(64, 2, **options)


def test_noise_is_part_of_the_configuration(tmp_path: Path) -> None:
    loaded = pb.load(hashing(4.0).save(tmp_path / "model"))
    assert loaded.config["noise"] == 4.0
    assert loaded.family.noise == 4.0  # type: ignore[union-attr]
    assert "noise" not in Delta(3, "sigmoid").config
