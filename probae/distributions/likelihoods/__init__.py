"""Likelihoods p(x given z): what a decoder's outputs mean."""

from probae.distributions.likelihoods.base import Likelihood
from probae.distributions.likelihoods.bernoulli import Bernoulli
from probae.distributions.likelihoods.normal import Normal

LIKELIHOODS: dict[str, type[Likelihood]] = {"bernoulli": Bernoulli, "normal": Normal}

__all__ = ["LIKELIHOODS", "Bernoulli", "Likelihood", "Normal"]
