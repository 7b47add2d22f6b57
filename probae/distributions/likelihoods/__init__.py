"""Likelihoods p(x given z): what a decoder's outputs mean."""

from probae.distributions.likelihoods.base import Likelihood
from probae.distributions.likelihoods.bernoulli import Bernoulli
from probae.distributions.likelihoods.categorical import Categorical
from probae.distributions.likelihoods.continuous_bernoulli import ContinuousBernoulli
from probae.distributions.likelihoods.discretized_logistic import DiscretizedLogistic
from probae.distributions.likelihoods.normal import Normal

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "categorical": Categorical,
    "discretized_logistic": DiscretizedLogistic,
    "normal": Normal,
}

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Likelihood",
    "Normal",
]
