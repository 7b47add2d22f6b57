"""Two honest baselines for bits: what a model has to beat, under the same protocol, to have learned anything."""

from __future__ import annotations

import itertools
from typing import Any, final

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.checks import positive_int
from probae.data import Dataset
from probae.engine.fit import fit
from probae.evaluation.estimate import Estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.inference import stepping

_numbers = itertools.count()


@final
class BernoulliMixture(nn.Module):
    """A mixture of products of Bernoullis, p(x) = sum_k pi_k prod_i Bernoulli(x_i; rate_ki), as a Pyro pair.

    The component is summed out by enumeration, so its ELBO is the exact log-likelihood. With one component it is the
    product of independent pixels.

    Args:
        x: (N, D) bits; components start at randomly chosen ones, one component at their mean.
        num_components: of the mixture.

    Raises:
        ArgumentError: for a number of components that is not positive.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
        >>> mixture = BernoulliMixture(x, num_components=1)
        >>> log_likelihood(mixture.model, mixture.guide, x, method="exact").direction
        'exact'
    """

    def __init__(self, x: Tensor, num_components: int) -> None:
        super().__init__()
        count = positive_int("num_components", num_components)
        mean = (x.sum(0) + 1) / (len(x) + 2)  # a Laplace-smoothed rate is never 0 or 1
        starts = 0.5 * x[torch.randint(len(x), (count,), device=x.device)] + 0.5 * mean if count > 1 else mean[None]
        self.rate_logits = nn.Parameter(torch.logit(starts))
        self.weight_logits = nn.Parameter(torch.zeros(count, device=x.device, dtype=x.dtype))
        self._number = next(_numbers)  # not id(self), which a later mixture may get again

    def model(self, x: Tensor) -> None:
        """p(x, k), with k marked to be summed out."""
        stepping.register(f"probae.BernoulliMixture.{self._number}", self)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=self.weight_logits), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Bernoulli(logits=self.rate_logits[k]).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """Empty: the model sums its latent site out."""


def bernoulli_baseline(train: Dataset, test: Dataset) -> Estimate:
    """Exact log-likelihood of the test set under independent pixels, with (smoothed) rates of the training set."""
    pixels = BernoulliMixture(train.tensor, 1)
    return log_likelihood(pixels.model, pixels.guide, test, method="exact")


def mixture_baseline(
    train: Dataset, valid: Dataset, test: Dataset, num_components: int = 50, *, seed: int = 0, **settings: Any
) -> Estimate:
    """Exact log-likelihood of the test set under a Bernoulli mixture, trained by the same engine.

    Args:
        train, valid, test: bits; the epoch that is best on the validation set is kept.
        num_components: of the mixture.
        seed: of its start and its training.
        settings: of `pb.fit`.
    """
    with torch.random.fork_rng(devices=[train.device] if train.device.type == "cuda" else []):
        torch.manual_seed(seed)
        mixture = BernoulliMixture(train.tensor, num_components)
    settings = {"epochs": 100, "patience": 10, "learning_rate": 0.03, "progress": False, **settings}
    fit(mixture.model, mixture.guide, train, valid=valid, seed=seed, **settings)
    return log_likelihood(mixture.model, mixture.guide, test, method="exact")
