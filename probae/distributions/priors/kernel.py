"""A fixed prior of any shape: points of one's own, blurred."""

from __future__ import annotations

from numbers import Integral
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import examples, positive_int, real
from probae.distributions.normal_mixture import MixtureOfDiagonalNormals
from probae.distributions.priors.base import Posterior, Prior


@final
class KernelDensity(Prior):
    """Equally likely Normals of one scale around given points, p(z) = (1/M) sum_m Normal(z; u_m, scale^2 I). Fixed.

    Many points with a small scale are whatever they were drawn from: any prior that can be drawn from, such as the
    plane's toys of `pb.data`. A few points with a larger scale are a mixture whose components stay where they are.

    Args:
        latent_dim: number of latent variables, d.
        points: the u_m, (M, d); or M, for that many draws from Normal(0, I), as a configuration says it. They are kept
            as a buffer and saved with the model.
        scale: the standard deviation of each Normal.

    Raises:
        ArgumentError: names the argument.

    See also:
        `MixtureOfNormals`, which is learned.

    Source:
        Parzen 1962.

    Example:
        >>> import probae as pb
        >>> prior = KernelDensity(2, pb.data.load("swiss_roll", size=1000).train.tensor, scale=0.05)
        >>> prior.distribution().sample((3,)).shape, prior.config
        (torch.Size([3, 2]), {'name': 'kernel', 'points': 1000, 'scale': 0.05})
    """

    points: Tensor
    logits: Tensor
    widths: Tensor

    def __init__(self, latent_dim: int, points: Tensor | int, scale: float = 0.1) -> None:
        super().__init__(latent_dim)
        self.scale = real("scale", scale, low=0.0, open_low=True)
        if isinstance(points, Integral):
            points = torch.randn(positive_int("points", points), self.latent_dim)
        points = examples("points", points, (self.latent_dim,)).detach()
        self.register_buffer("points", points.to(torch.get_default_dtype(), copy=True))
        self.register_buffer("logits", torch.zeros(len(points)), persistent=False)
        self.register_buffer("widths", torch.full_like(self.points, self.scale), persistent=False)

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return MixtureOfDiagonalNormals(self.logits, self.points, self.widths)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "kernel", "points": len(self.points), "scale": self.scale}
