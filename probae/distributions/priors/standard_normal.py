"""The Normal prior, standard unless told otherwise."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import real
from probae.distributions.priors.base import Posterior, Prior


@final
class StandardNormal(Prior):
    """Independent Normal(0, 1) latent variables, or of another scale.

    Args:
        latent_dim: number of latent variables.
        scale: the standard deviation; under a Delta guide, an L2 penalty of weight 1 / (2 scale^2).

    Raises:
        ArgumentError: for a scale that is not positive.

    Example:
        >>> StandardNormal(3).distribution().log_prob(torch.zeros(3))
        tensor(-2.7568)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, scale: float = 1.0) -> None:
        super().__init__(latent_dim)
        self.start = real("scale", scale, low=0.0, open_low=True)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), self.start), persistent=False)

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "normal"} | ({} if self.start == 1.0 else {"scale": self.start})
