"""The table of all models: a line each, which puts it under every law of `test_laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

import probae as pb
from probae.data import Dataset
from probae.models.base import Model

SHAPE, SIZE, CODES = (8, 8), 64, 6
"""Of one example, of its pixels, and of every model's codes (latent dimensions or hidden units)."""


def zeros_and_ones(binarize: str) -> tuple[Dataset, Dataset]:
    """The digits 0 and 1, to train and to validate on: two clusters are learned in a few steps."""
    splits = pb.data.load("digits", binarize=binarize)
    return splits.train[splits.train.labels < 2], splits.valid[splits.valid.labels < 2]


BITS, VALID_BITS = zeros_and_ones("stochastic")
GREY, VALID_GREY = zeros_and_ones("none")


@dataclass(frozen=True)
class Case:
    """How to make a model, and what the laws must know of it.

    Attributes:
        make: the constructor, for data of `SHAPE` and with `CODES` codes.
        data: what it trains on: `BITS`, or `GREY` where it takes any real values.
        fit: settings under which a few epochs improve its monitor.
        own: modules of one's own, to be handed in when it is loaded.
        likelihood: whether it has one.
    """

    make: Callable[[], Model]
    data: Dataset = BITS
    fit: dict[str, Any] = field(default_factory=lambda: {"epochs": 5, "batch_size": 32, "learning_rate": 1e-2})
    own: Callable[[], dict[str, nn.Module]] = dict
    likelihood: bool = True


def own_modules() -> dict[str, nn.Module]:
    """An encoder and a decoder as a user may bring them: with batch normalization, and an image inside."""
    encoder = [nn.Linear(SIZE, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2 * CODES)]
    image = [nn.Unflatten(-1, (1, *SHAPE)), nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(-3)]
    return {"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(nn.Linear(CODES, SIZE), *image)}


def normal(**settings: Any) -> dict[str, Any]:
    return {"name": "normal", **settings}


SGD = {"epochs": 5, "batch_size": 32, "learning_rate": 0.5}

CASES: dict[str, Case] = {
    "VAE bernoulli": Case(lambda: pb.VAE(SHAPE, CODES, (16, 12))),
    "VAE normal": Case(lambda: pb.VAE(SHAPE, CODES, 16, normal(scale=0.3)), GREY),
    "VAE learned scale": Case(lambda: pb.VAE(SHAPE, CODES, 16, normal(learned=True)), GREY),
    "VAE own modules": Case(lambda: pb.VAE(SHAPE, CODES, **own_modules()), own=own_modules),
    "SparseAutoencoder normal": Case(lambda: pb.SparseAutoencoder(SHAPE, CODES, strength=0.1), GREY, likelihood=False),
    "SparseAutoencoder bernoulli": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, 16, 0.1, likelihood="bernoulli"), likelihood=False
    ),
    "RBM CD": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.CD(steps=1)), fit=SGD),
    "RBM PCD": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.PCD(num_chains=32)), fit=SGD),
    "RBM Exact": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase="exact"), fit=SGD),
}
