"""Priors p(z) over the latent vector."""

from probae.distributions.priors.base import Posterior, Prior
from probae.distributions.priors.flat import Flat
from probae.distributions.priors.flow import FlowPrior
from probae.distributions.priors.kernel import KernelDensity
from probae.distributions.priors.laplace import Laplace
from probae.distributions.priors.mixture import MixtureOfNormals
from probae.distributions.priors.standard_normal import StandardNormal
from probae.distributions.priors.vamp import VampPrior

PRIORS: dict[str, type[Prior]] = {
    "normal": StandardNormal,
    "laplace": Laplace,
    "flat": Flat,
    "mixture": MixtureOfNormals,
    "vamp": VampPrior,
    "flow": FlowPrior,
    "kernel": KernelDensity,
}

__all__ = [
    "PRIORS",
    "Flat",
    "FlowPrior",
    "KernelDensity",
    "Laplace",
    "MixtureOfNormals",
    "Posterior",
    "Prior",
    "StandardNormal",
    "VampPrior",
]
