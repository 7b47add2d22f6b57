"""Real values around a decoder's outputs, of fixed or learned scale."""

from __future__ import annotations

import math
from typing import Any, final

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import real
from probae.distributions.likelihoods.base import Likelihood

SMALLEST_SCALE = 1e-6
"""A learned scale stays above this, or data that is reconstructed exactly would drive it to zero."""


@final
class Normal(Likelihood):
    """Independent Normals around the decoder's outputs, of one scale for all dimensions.

    The squared error of a classical autoencoder is its negative logarithm at scale sqrt(1/2), up to a constant.

    Args:
        num_visible: D.
        scale: the standard deviation; where training starts if it is learned.
        learned: whether the scale is a parameter.

    Raises:
        ArgumentError: for a scale that is not above `SMALLEST_SCALE`.

    Example:
        >>> Normal(3, scale=2.0).distribution(torch.zeros(1, 3)).log_prob(torch.zeros(1, 3))
        tensor([-4.8363])
    """

    fixed_scale: Tensor

    def __init__(self, num_visible: int, scale: float = 1.0, learned: bool = False) -> None:
        super().__init__(num_visible)
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
