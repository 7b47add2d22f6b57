"""A learned mixture of Normals."""

from __future__ import annotations

import math
from typing import Any, final

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import positive_int
from probae.distributions.normal_mixture import MixtureOfDiagonalNormals
from probae.distributions.priors.base import Posterior, Prior

SMALLEST_SCALE = 1e-3
"""Scales stay above this: a component that shrinks onto one code of a Delta guide has no bound on its density."""


@final
class MixtureOfNormals(Prior):
    """A mixture of diagonal Normals whose means, scales and weights are learned.

    Training starts near Normal(0, 1): equal weights, and half of the variance between means drawn at random, the other
    half within the components, so that each code has a component of its own to pull at.

    Args:
        latent_dim: number of latent variables.
        num_components: K.

    Raises:
        ArgumentError: for fewer than one component.

    See also:
        `VampPrior`, whose components are tied to the guide.

    Example:
        >>> MixtureOfNormals(2, num_components=5).distribution().sample((3,)).shape
        torch.Size([3, 2])
    """

    def __init__(self, latent_dim: int, num_components: int = 50) -> None:
        super().__init__(latent_dim)
        self.num_components = positive_int("num_components", num_components)
        shape, half = (self.num_components, self.latent_dim), math.sqrt(0.5)
        self.logits = nn.Parameter(torch.zeros(self.num_components))
        self.loc = nn.Parameter(half * torch.randn(shape))
        self.raw_scale = nn.Parameter(torch.full(shape, math.log(math.expm1(half - SMALLEST_SCALE))))

    @property
    def scale(self) -> Tensor:
        """The standard deviations, (K, latent_dim)."""
        return F.softplus(self.raw_scale) + SMALLEST_SCALE

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return MixtureOfDiagonalNormals(self.logits, self.loc, self.scale)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "mixture", "num_components": self.num_components}
