"""The standard Normal prior."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.distributions.priors.base import Posterior, Prior


@final
class StandardNormal(Prior):
    """Independent Normal(0, 1) latent variables.

    Example:
        >>> StandardNormal(3).distribution().log_prob(torch.zeros(3))
        tensor(-2.7568)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "normal"}
