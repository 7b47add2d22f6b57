"""Independent Normals."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch.nn.functional as F
from torch import Tensor

from probae.distributions.guides.base import GuideFamily


@final
class DiagonalNormal(GuideFamily):
    """Independent Normals: the first half of the outputs are locations, softplus of the second half the scales.

    Softplus grows linearly, so no output, however large, makes the scale overflow; at zero the scale is about one.

    Example:
        >>> import torch
        >>> DiagonalNormal(2).distribution(torch.zeros(5, 4)).batch_shape
        torch.Size([5])
    """

    has_density = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.num_outputs = 2 * self.latent_dim

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        loc, raw = outputs.chunk(2, -1)
        return dist.Normal(loc, F.softplus(raw + 0.5) + 1e-6).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "diagonal"}
