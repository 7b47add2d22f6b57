"""A normalizing flow as the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import positive_int, shape
from probae.distributions.flow import FlowDistribution, flow_network
from probae.distributions.priors.base import Posterior, Prior


@final
class FlowPrior(Prior):
    """A normalizing flow: log p(z) = log Normal(f(z); 0, I) + log |det df/dz|, f a chain of affine maps of zuko's.

    f starts as the identity, so training starts from Normal(0, 1). The density of given latent vectors, all that
    training needs, is one pass through f. A sample needs its inverse: latent_dim passes for an autoregressive flow,
    two for a coupling, which is the poorer one.

    Args:
        latent_dim: number of latent variables; for a single one, the prior is no richer than a Normal.
        transforms: how many maps.
        hidden: widths of the hidden layers of each map's network.
        conditioner: "autoregressive" (masked autoregressive flow) or "coupling" (Real NVP).

    Raises:
        ArgumentError: names the argument, or `prior` where zuko is not installed.

    Source:
        Papamakarios et al. 2017 (arXiv 1705.07057); Chen et al. 2017 (arXiv 1611.02731) for its use as a prior.

    Example:
        >>> FlowPrior(3, transforms=2).distribution().log_prob(torch.zeros(3))
        tensor(-2.7568, grad_fn=...)
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 4,
        hidden: Sequence[int] | int = (128, 128),
        conditioner: str = "autoregressive",
    ) -> None:
        super().__init__(latent_dim)
        self.transforms, self.hidden = positive_int("transforms", transforms), shape("hidden", hidden)
        self.conditioner = conditioner
        self.network = flow_network(
            "prior", self.latent_dim, transforms=self.transforms, hidden=self.hidden, conditioner=conditioner
        )
        self.register_buffer("loc", torch.zeros(self.latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(self.latent_dim), persistent=False)

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return FlowDistribution(self.network().inv, self.loc, self.scale)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "name": "flow",
            "transforms": self.transforms,
            "hidden": list(self.hidden),
            "conditioner": self.conditioner,
        }
