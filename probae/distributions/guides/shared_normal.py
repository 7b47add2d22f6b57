"""Independent Normals of one spread for all examples."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.distributions.guides.base import GuideFamily


@final
class SharedNormal(GuideFamily):
    """Independent Normals whose scales are the same for every example: the outputs are locations, the scales learned.

    So is the exact posterior wherever the decoder is linear and the noise Normal. Scales start at one.

    Args:
        latent_dim: number of latent variables.

    Example:
        >>> SharedNormal(2).distribution(torch.zeros(5, 2)).stddev[0]
        tensor([1., 1.], grad_fn=...)
    """

    pointwise = "linear"
    has_density = True
    mixes = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.num_outputs = self.latent_dim
        self.log_scale = nn.Parameter(torch.zeros(self.latent_dim))

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Normal(outputs, self.log_scale.exp()).to_event(1)

    def code(self, outputs: Tensor) -> Tensor:
        return outputs

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "shared"}
