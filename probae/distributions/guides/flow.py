"""A normalizing flow, whose posterior takes any shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import pyro.distributions as dist
from torch import Tensor

from probae.checks import positive_int, shape
from probae.distributions.flow import FlowDistribution, flow_network
from probae.distributions.guides.base import GuideFamily, positive_scale


@final
class Flow(GuideFamily):
    """A normalizing flow, z = m(x) + s(x) f(e; c(x)), with e standard Normal and f a chain of affine maps of zuko's.

    The encoder gives location m, scale s and context c (through tanh); the networks inside f belong to the family and
    train with the model. f starts as the identity, so training starts from a diagonal Normal.

    A sample and its own density are one pass through f. Other values, among them those of `pb.IWAE` with
    gradient="dreg" or "stl", need the inverse: latent_dim passes for an autoregressive flow, two for a coupling, which
    is poorer and wants more transforms. The KL has no closed form and is sampled.

    Args:
        latent_dim: number of latent variables; for a single one, the family is no richer than a Normal.
        transforms: how many maps.
        hidden: widths of the hidden layers of each map's network.
        context_dim: length of c, what the encoder may tell the maps.
        conditioner: "autoregressive" (inverse autoregressive flow) or "coupling" (Real NVP).

    Shapes: outputs (..., 2 latent_dim + context_dim).

    Raises:
        ArgumentError: names the argument, or `guide` where zuko is not installed.

    Source:
        Kingma et al. 2016 (arXiv 1606.04934), section 4; Dinh et al. 2017 (arXiv 1605.08803).

    Example:
        >>> import torch
        >>> flow = Flow(2, transforms=2)
        >>> q = flow.distribution(torch.zeros(5, flow.num_outputs))
        >>> z = q.rsample()
        >>> torch.allclose(q.log_prob(z), q.log_prob(z.clone()))
        True
    """

    has_density = True

    def __init__(
        self,
        latent_dim: int,
        transforms: int = 4,
        hidden: Sequence[int] | int = (128, 128),
        context_dim: int = 16,
        conditioner: str = "autoregressive",
    ) -> None:
        super().__init__(latent_dim)
        self.transforms, self.hidden = positive_int("transforms", transforms), shape("hidden", hidden)
        self.conditioner = conditioner
        self.context_dim = positive_int("context_dim", context_dim)
        self.num_outputs = 2 * self.latent_dim + self.context_dim
        self.network = flow_network(
            "guide", self.latent_dim, transforms=self.transforms, hidden=self.hidden, conditioner=conditioner,
            context=self.context_dim,
        )  # fmt: skip

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return self._flow(outputs)

    def code(self, outputs: Tensor) -> Tensor:
        """The image of the base's centre, e = 0: the mean has no closed form."""
        return self._flow(outputs).centre

    def _flow(self, outputs: Tensor) -> FlowDistribution:
        loc, raw, context = outputs.split([self.latent_dim, self.latent_dim, self.context_dim], -1)
        return FlowDistribution(self.network(context.tanh()), loc, positive_scale(raw))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "name": "flow",
            "transforms": self.transforms,
            "hidden": list(self.hidden),
            "context_dim": self.context_dim,
            "conditioner": self.conditioner,
        }
