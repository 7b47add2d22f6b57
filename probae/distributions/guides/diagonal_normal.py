"""Independent Normals."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
from torch import Tensor

from probae.distributions.guides.base import GuideFamily, positive_scale


@final
class DiagonalNormal(GuideFamily):
    """Independent Normals: the first half of the outputs are locations, softplus of the second half the scales.

    No output, however large, makes a scale vanish or overflow; at zero it is about one.

    Example:
        >>> import torch
        >>> DiagonalNormal(2).distribution(torch.zeros(5, 4)).batch_shape
        torch.Size([5])
    """

    pointwise = "linear"
    has_density = True
    mixes = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.num_outputs = 2 * self.latent_dim

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw = outputs.chunk(2, -1)
        return dist.Normal(loc, positive_scale(raw)).to_event(1)

    def code(self, outputs: Tensor) -> Tensor:
        return outputs[..., : self.latent_dim]

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "diagonal"}
