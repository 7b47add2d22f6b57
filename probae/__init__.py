"""Probabilistic autoencoders and Boltzmann machines on Pyro: one engine trains them, honest estimates judge them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from probae import data, errors
from probae.engine.callbacks import Callback
from probae.engine.fit import fit
from probae.engine.loggers import CSVLogger
from probae.engine.monitor import Monitor
from probae.engine.run import Run
from probae.evaluation.estimate import Estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.inference.adversarial import Adversarial
from probae.inference.elbo import ELBO
from probae.inference.iwae import IWAE
from probae.inference.negative_phases import CD, PCD, Exact
from probae.inference.penalties import TargetRate, WeightPrior
from probae.inference.tempering import ParallelTempering
from probae.inference.trajectory import TrajectoryTempering
from probae.models.adversarial import AdversarialAutoencoder
from probae.models.autoencoder import Autoencoder
from probae.models.class_rbm import ClassRBM
from probae.models.classifier import Classifier
from probae.models.contractive import ContractiveAutoencoder
from probae.models.denoising import DenoisingAutoencoder
from probae.models.ppca import ProbabilisticPCA
from probae.models.rbm import RBM
from probae.models.saving import load
from probae.models.sparse import SparseAutoencoder
from probae.models.vae import VAE

if TYPE_CHECKING:
    from probae import applications, plots, sklearn

__version__ = "0.1.0"

__all__ = [
    "CD",
    "ELBO",
    "IWAE",
    "PCD",
    "RBM",
    "VAE",
    "Adversarial",
    "AdversarialAutoencoder",
    "Autoencoder",
    "CSVLogger",
    "Callback",
    "ClassRBM",
    "Classifier",
    "ContractiveAutoencoder",
    "DenoisingAutoencoder",
    "Estimate",
    "Exact",
    "Monitor",
    "ParallelTempering",
    "ProbabilisticPCA",
    "Run",
    "SparseAutoencoder",
    "TargetRate",
    "TrajectoryTempering",
    "WeightPrior",
    "applications",
    "data",
    "errors",
    "fit",
    "load",
    "log_likelihood",
    "plots",
    "sklearn",
]


def __getattr__(name: str) -> Any:
    if name in ("applications", "plots", "sklearn"):  # they bring matplotlib and scikit-learn, so only on demand
        return importlib.import_module(f"probae.{name}")
    raise AttributeError(f"module 'probae' has no attribute {name!r}")
