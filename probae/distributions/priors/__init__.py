"""Priors p(z) over the latent vector."""

from probae.distributions.priors.base import Posterior, Prior
from probae.distributions.priors.laplace import Laplace
from probae.distributions.priors.standard_normal import StandardNormal

PRIORS: dict[str, type[Prior]] = {"normal": StandardNormal, "laplace": Laplace}

__all__ = ["PRIORS", "Laplace", "Posterior", "Prior", "StandardNormal"]
