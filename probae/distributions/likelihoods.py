"""Likelihoods p(x given z): what a decoder's outputs mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, final

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import real
from probae.errors import DataError

SMALLEST_SCALE = 1e-6
"""A learned scale stays above this, or data that is reconstructed exactly would drive it to zero."""


class Likelihood(nn.Module, ABC):
    """A distribution over examples of D dimensions, with parameters from a decoder's (..., D) outputs.

    To write a new one, implement the abstract methods and enter it in `LIKELIHOODS`.
    """

    @abstractmethod
    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        """The distribution of x, event shape (D,), for decoder outputs (..., D)."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of x: (..., D)."""

    @abstractmethod
    def check(self, argument: str, x: Tensor) -> None:
        """Refuse data outside the support, with a DataError that names `argument`."""

    @abstractmethod
    def outputs_for(self, mean: Tensor) -> Tensor:
        """The decoder outputs, (D,), whose distribution has this mean: where an output bias should start."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it."""


@final
class Bernoulli(Likelihood):
    """Independent bits, with the decoder's outputs as logits.

    Example:
        >>> Bernoulli().distribution(torch.zeros(2, 3)).log_prob(torch.ones(2, 3))
        tensor([-2.0794, -2.0794])
        >>> Bernoulli().check("x", torch.tensor([[0.0, 0.4]]))
        Traceback (most recent call last):
        ...
        probae.errors.DataError: x: expected bits (0 or 1), since the likelihood is Bernoulli; got grey values such as \
0.4. Draw bits with pb.data.load(..., binarize='stochastic') or (x > 0.5).float(), or choose a likelihood over grey \
values: likelihood={'name': 'normal', 'learned': True}
    """

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=outputs).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def check(self, argument: str, x: Tensor) -> None:
        bad = (x != 0) & (x != 1)
        if bool(bad.any()):
            raise DataError(
                argument, "bits (0 or 1), since the likelihood is Bernoulli",
                f"grey values such as {x[bad][0].item():.3g}",
                "Draw bits with pb.data.load(..., binarize='stochastic') or (x > 0.5).float(), or choose a likelihood "
                "over grey values: likelihood={'name': 'normal', 'learned': True}",
            )  # fmt: skip

    def outputs_for(self, mean: Tensor) -> Tensor:
        return torch.logit(mean.clamp(0.01, 0.99))

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "bernoulli"}


@final
class Normal(Likelihood):
    """Independent Normals around the decoder's outputs, of one scale for all dimensions.

    The squared error of a classical autoencoder is its negative logarithm at scale sqrt(1/2), up to a constant.

    Args:
        scale: the standard deviation; where training starts if it is learned.
        learned: whether the scale is a parameter.

    Raises:
        ArgumentError: for a scale that is not above `SMALLEST_SCALE`.

    Example:
        >>> Normal(scale=2.0).distribution(torch.zeros(1, 3)).log_prob(torch.zeros(1, 3))
        tensor([-4.8363])
    """

    fixed_scale: Tensor

    def __init__(self, scale: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        self.start = real("scale", scale, low=SMALLEST_SCALE, open_low=True)
        self.learned = bool(learned)
        if self.learned:
            excess = self.start - SMALLEST_SCALE
            self.raw_scale = nn.Parameter(torch.tensor(excess + math.log(-math.expm1(-excess))))  # inverse of softplus
        else:
            self.register_buffer("fixed_scale", torch.tensor(self.start), persistent=False)

    @property
    def scale(self) -> Tensor:
        """The standard deviation, a scalar."""
        return F.softplus(self.raw_scale) + SMALLEST_SCALE if self.learned else self.fixed_scale

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Normal(outputs, self.scale).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs

    def check(self, argument: str, x: Tensor) -> None:
        return None

    def outputs_for(self, mean: Tensor) -> Tensor:
        return mean

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "normal", "scale": self.start, "learned": self.learned}


LIKELIHOODS: dict[str, type[Likelihood]] = {"bernoulli": Bernoulli, "normal": Normal}
