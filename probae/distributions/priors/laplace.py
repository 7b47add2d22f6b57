"""The Laplace prior, whose mode is sparse."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import real
from probae.distributions.priors.base import Posterior, Prior


@final
class Laplace(Prior):
    """Independent Laplace(0, 1/rate) latent variables: under a Delta guide, an L1 penalty of weight `rate`.

    With a Normal likelihood of variance s^2 the textbook's weight beside the squared error is 2 s^2 rate.

    Args:
        latent_dim: number of latent variables.
        rate: the inverse scale, in nats per unit of |z|.

    Raises:
        ArgumentError: for a rate that is not positive.

    Example:
        >>> Laplace(2, rate=3.0).distribution().log_prob(torch.tensor([1.0, -2.0])).item()  # doctest: +ELLIPSIS
        -8.18...
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, rate: float = 1.0) -> None:
        super().__init__(latent_dim)
        self.rate = real("rate", rate, low=0.0, open_low=True)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.full((latent_dim,), 1 / self.rate), persistent=False)

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return dist.Laplace(self.loc, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "laplace", "rate": self.rate}
