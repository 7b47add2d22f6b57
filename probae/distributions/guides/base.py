"""What every guide family q(z given x) is: what an encoder's outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pyro.distributions as dist
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import positive_int


class GuideFamily(nn.Module, ABC):
    """A family of distributions over latent vectors, with parameters from an encoder's outputs.

    To write a new one, implement the abstract methods and enter it in `GUIDES`. Parameters of its own train with the
    model's.

    Args:
        latent_dim: number of latent variables.

    Attributes:
        num_outputs: how many outputs an encoder needs.
        has_density: whether it has a density in z, so that the model has a likelihood to estimate.
        mixes: whether it can be the component of a mixture, as a VampPrior wants it: a density at a price that K
            components times N values can pay.
        pointwise: name of the nonlinearity that makes the code of the first latent_dim outputs; None where it is made
            otherwise.
    """

    num_outputs: int
    has_density: ClassVar[bool]
    mixes: ClassVar[bool] = False
    pointwise: str | None = None

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = positive_int("latent_dim", latent_dim)

    @abstractmethod
    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        """The distribution of z, event shape (latent_dim,), for encoder outputs (..., num_outputs)."""

    @abstractmethod
    def code(self, outputs: Tensor) -> Tensor:
        """The point that embeds an example, (..., latent_dim): the mean, or what is at hand in its place."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the latent dimension aside."""


def positive_scale(raw: Tensor) -> Tensor:
    """Scales from raw outputs of any size: softplus, about one at zero, from 1e-6 to 1e15.

    No output makes the scale zero, or so large that its square overflows in float32.
    """
    return F.softplus(raw.clamp(max=1e15) + 0.5) + 1e-6
