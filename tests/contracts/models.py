"""The table of all models: a line each, which puts it under every law of `test_laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn

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
PAIRS, VALID_PAIRS = (
    Dataset(torch.stack([part.tensor[:, ::2], 1 - part.tensor[:, ::2]], -1).flatten(1), part.labels, SHAPE,
            protocol=part.protocol) for part in (BITS, VALID_BITS)
)  # fmt: skip
"""Half of the pixels, each as a one-hot vector of two categories."""

HALF_LABELLED = BITS[:]
HALF_LABELLED.labels = torch.where(torch.arange(len(BITS)) % 2 == 0, BITS.labels, -1)


@dataclass(frozen=True)
class Case:
    """How to make a model, and what the laws must know of it.

    Attributes:
        make: the constructor, for data of `SHAPE` and with `CODES` codes.
        data: what it trains on: `BITS`, or `GREY` where it takes any real values.
        fit: settings under which a few epochs improve its monitor.
        own: modules of one's own, to be handed in when it is loaded.
        likelihood: whether it has one.
        labelled: whether it is trained on labels too.
        samples: whether it can be sampled from without having seen data.
        latent: its latent sites and their sizes, where they are not one vector of `CODES`.
        pyro_loss: one of Pyro's that trains it; None where its own objective alone trains all of it.
    """

    make: Callable[[], Model]
    data: Dataset = BITS
    fit: dict[str, Any] = field(default_factory=lambda: {"epochs": 5, "batch_size": 32, "learning_rate": 1e-2})
    own: Callable[[], dict[str, nn.Module]] = dict
    likelihood: bool = True
    labelled: bool = False
    samples: bool = True
    latent: dict[str, tuple[int, ...]] | None = None
    pyro_loss: type[Any] | None = Trace_ELBO

    def batch(self, data: Dataset | int) -> tuple[Tensor, ...]:
        """The arguments of the callables for a data set, or for the first examples of its own."""
        part = self.data[:data] if isinstance(data, int) else data
        assert part.labels is not None
        return (part.tensor, part.labels) if self.labelled else (part.tensor,)

    @property
    def valid(self) -> Dataset:
        """Other data like its own."""
        return {id(GREY): VALID_GREY, id(PAIRS): VALID_PAIRS}.get(id(self.data), VALID_BITS)


def own_modules() -> dict[str, nn.Module]:
    """An encoder and a decoder as a user may bring them: with batch normalization, and an image inside."""
    encoder = [nn.Linear(SIZE, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2 * CODES)]
    image = [nn.Unflatten(-1, (1, *SHAPE)), nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(-3)]
    return {"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(nn.Linear(CODES, SIZE), *image)}


def own_discriminator() -> dict[str, nn.Module]:
    return {"discriminator": nn.Sequential(nn.Linear(CODES, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Flatten(0))}


def normal(**settings: Any) -> dict[str, Any]:
    return {"name": "normal", **settings}


ADAM = {"epochs": 10, "batch_size": 32, "learning_rate": 1e-2}
SGD = {"epochs": 5, "batch_size": 32, "learning_rate": 0.5}

CASES: dict[str, Case] = {
    "VAE bernoulli": Case(lambda: pb.VAE(SHAPE, CODES, (16, 12))),
    "VAE normal": Case(lambda: pb.VAE(SHAPE, CODES, 16, normal(scale=0.3)), GREY),
    "VAE learned scale": Case(lambda: pb.VAE(SHAPE, CODES, 16, normal(learned=True)), GREY),
    "VAE own modules": Case(lambda: pb.VAE(SHAPE, CODES, **own_modules()), own=own_modules),
    "VAE per-dimension scale": Case(lambda: pb.VAE(SHAPE, CODES, 16, normal(learned="per_dimension")), GREY),
    "VAE continuous Bernoulli": Case(lambda: pb.VAE(SHAPE, CODES, 16, "continuous_bernoulli"), GREY),
    "VAE discretized logistic": Case(
        lambda: pb.VAE(SHAPE, CODES, 16, {"name": "discretized_logistic", "levels": 17}), GREY
    ),
    "VAE categorical": Case(lambda: pb.VAE(SHAPE, CODES, 16, {"name": "categorical", "categories": 2}), PAIRS),
    "VAE full covariance": Case(lambda: pb.VAE(SHAPE, CODES, 16, guide="full")),
    "VAE flow guide": Case(lambda: pb.VAE(SHAPE, CODES, 16, guide="flow")),
    "VAE mixture prior": Case(lambda: pb.VAE(SHAPE, CODES, 16, prior={"name": "mixture", "num_components": 5})),
    "VAE VampPrior": Case(lambda: pb.VAE(SHAPE, CODES, 16, prior={"name": "vamp", "num_components": 5})),
    "VAE VampPrior, full covariance": Case(
        lambda: pb.VAE(SHAPE, CODES, 16, prior={"name": "vamp", "num_components": 5}, guide="full")
    ),
    "VAE flow prior": Case(lambda: pb.VAE(SHAPE, CODES, 16, prior="flow")),
    "VAE convolutional": Case(lambda: pb.VAE(SHAPE, CODES, 8, network={"name": "conv", "channels": [4, 8]})),
    "VAE recurrent": Case(lambda: pb.VAE(SHAPE, CODES, 12, network="recurrent")),
    "VAE convolutional, conditional": Case(
        lambda: pb.VAE(SHAPE, CODES, 8, network={"name": "conv", "channels": [4]}, num_labels=2), labelled=True
    ),
    "VAE two layers": Case(lambda: pb.VAE(SHAPE, (CODES, 3), 16), latent={"z1": (CODES,), "z2": (3,)}),
    "VAE three layers": Case(lambda: pb.VAE(SHAPE, (CODES, 4, 2), ()), latent={"z1": (CODES,), "z2": (4,), "z3": (2,)}),
    "VAE conditional": Case(lambda: pb.VAE(SHAPE, CODES, 16, num_labels=2), labelled=True),
    "VAE latent labels": Case(
        lambda: pb.VAE(SHAPE, CODES, 16, num_labels=2, labels="latent"),
        HALF_LABELLED,
        labelled=True,
        latent={"y": (), "z": (CODES,)},
        pyro_loss=TraceEnum_ELBO,
    ),
    "Autoencoder": Case(lambda: pb.Autoencoder(SHAPE, CODES, 16), GREY, likelihood=False, samples=False),
    "Autoencoder bernoulli": Case(
        lambda: pb.Autoencoder(SHAPE, CODES, (), "bernoulli"), likelihood=False, samples=False
    ),
    "Autoencoder binary codes": Case(
        lambda: pb.Autoencoder(SHAPE, CODES, 16, nonlinearity="sigmoid", noise=2.0),
        GREY,
        likelihood=False,
        samples=False,
    ),
    "Autoencoder tied, dropout": Case(
        lambda: pb.Autoencoder(SHAPE, CODES, (16, 12), tied=True, dropout=0.1), GREY, likelihood=False, samples=False
    ),
    "SparseAutoencoder normal": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, strength=0.1), GREY, likelihood=False, samples=False
    ),
    "SparseAutoencoder bernoulli": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, 16, 0.1, likelihood="bernoulli"), likelihood=False, samples=False
    ),
    "DenoisingAutoencoder masking": Case(
        lambda: pb.DenoisingAutoencoder(SHAPE, CODES, 16, likelihood="bernoulli"), likelihood=False, samples=False
    ),
    "DenoisingAutoencoder walkback": Case(
        lambda: pb.DenoisingAutoencoder(SHAPE, CODES, 16, likelihood="bernoulli", walkback=2),
        likelihood=False,
        samples=False,
    ),
    "DenoisingAutoencoder gaussian": Case(
        lambda: pb.DenoisingAutoencoder(SHAPE, CODES, 16, "gaussian"), GREY, likelihood=False, samples=False
    ),
    "DenoisingAutoencoder salt and pepper, emphasis": Case(
        lambda: pb.DenoisingAutoencoder(SHAPE, CODES, 16, "salt_and_pepper", emphasis=(1.0, 0.5)),
        GREY,
        likelihood=False,
        samples=False,
    ),
    "ContractiveAutoencoder": Case(
        lambda: pb.ContractiveAutoencoder(SHAPE, CODES, likelihood="bernoulli"), likelihood=False, samples=False
    ),
    "ContractiveAutoencoder tied": Case(
        lambda: pb.ContractiveAutoencoder(SHAPE, CODES, 16, tied=True), GREY, likelihood=False, samples=False
    ),
    "ContractiveAutoencoder deep, estimated": Case(
        lambda: pb.ContractiveAutoencoder(SHAPE, CODES, 16, second_order=0.1, jacobian="estimated"),
        GREY,
        likelihood=False,
        samples=False,
    ),
    "SparseAutoencoder Normal prior": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, strength=0.1, prior="normal"), GREY, likelihood=False, samples=False
    ),
    "SparseAutoencoder target rate": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, target_rate=0.2), GREY, likelihood=False, samples=False
    ),
    "SparseAutoencoder top-k": Case(
        lambda: pb.SparseAutoencoder(SHAPE, CODES, top_k=3), GREY, likelihood=False, samples=False
    ),
    "AdversarialAutoencoder": Case(
        lambda: pb.AdversarialAutoencoder(SHAPE, CODES, 16), GREY, likelihood=False, pyro_loss=None
    ),
    "AdversarialAutoencoder bernoulli, diagonal": Case(
        lambda: pb.AdversarialAutoencoder(SHAPE, CODES, 16, "bernoulli", guide="diagonal"), pyro_loss=None
    ),
    "AdversarialAutoencoder conditional, kernel prior": Case(
        lambda: pb.AdversarialAutoencoder(
            SHAPE, CODES, 16, prior={"name": "kernel", "points": 50}, guide="diagonal", num_labels=2
        ),
        GREY,
        labelled=True,
        pyro_loss=None,
    ),
    "AdversarialAutoencoder own discriminator": Case(
        lambda: pb.AdversarialAutoencoder(SHAPE, CODES, 16, **own_discriminator()),
        GREY,
        own=own_discriminator,
        likelihood=False,
        pyro_loss=None,
    ),
    "ProbabilisticPCA": Case(lambda: pb.ProbabilisticPCA(SHAPE, CODES), GREY),
    "RBM CD": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.CD(steps=1)), fit=SGD),
    "RBM PCD": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.PCD(num_chains=32)), fit=SGD),
    "RBM fast weights": Case(
        lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.PCD(num_chains=32, fast_rate=0.01)), fit=SGD
    ),
    "RBM parallel tempering": Case(
        lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.ParallelTempering(num_chains=16, num_temperatures=4)), fit=SGD
    ),
    "RBM trajectory tempering": Case(
        lambda: pb.RBM(SHAPE, CODES, negative_phase=pb.TrajectoryTempering(num_chains=16, num_machines=4)), fit=SGD
    ),
    "RBM centred": Case(lambda: pb.RBM(SHAPE, CODES, centering=True), fit=SGD),
    "RBM running": Case(lambda: pb.RBM(SHAPE, CODES, running_chains=20), fit=SGD),
    "RBM Gaussian": Case(lambda: pb.RBM(SHAPE, CODES, {"name": "gaussian", "scale": "learned"}), GREY, fit=ADAM),
    "RBM ReLU": Case(lambda: pb.RBM(SHAPE, CODES, "relu", "bernoulli", "cd"), GREY, fit=ADAM),
    "RBM Gaussian hidden": Case(
        lambda: pb.RBM(SHAPE, CODES, hidden="gaussian", centering=True), fit={**ADAM, "learning_rate": 5e-2}
    ),
    "RBM categorical": Case(
        lambda: pb.RBM(SHAPE, CODES, *[{"name": "categorical", "num_categories": k} for k in (2, 3)]), PAIRS, fit=SGD
    ),
    "ClassRBM": Case(
        lambda: pb.ClassRBM(SHAPE, CODES, 2, negative_phase=pb.PCD(num_chains=32)), labelled=True, fit=SGD
    ),
    "ClassRBM half labelled": Case(
        lambda: pb.ClassRBM(SHAPE, CODES, 2, negative_phase="cd"), HALF_LABELLED, labelled=True, fit=SGD
    ),
    "ClassRBM Gaussian": Case(
        lambda: pb.ClassRBM(SHAPE, CODES, 2, {"name": "gaussian", "scale": "learned"}),
        GREY,
        labelled=True,
        fit={**ADAM, "epochs": 40, "learning_rate": 5e-2},
    ),
    "RBM Exact": Case(lambda: pb.RBM(SHAPE, CODES, negative_phase="exact"), fit=SGD),
}
