"""What every guide family q(z given x) is: what an encoder's outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from probae.checks import positive_int


class GuideFamily(nn.Module, ABC):
    """A family of distributions over latent vectors, with parameters from an encoder's outputs.

    To write a new one, implement the abstract methods and enter it in `GUIDES`.

    Attributes:
        num_outputs: how many outputs an encoder needs.
        has_density: whether it has a density in z, so that the model has a likelihood to estimate.
    """

    num_outputs: int
    has_density: bool

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = positive_int("latent_dim", latent_dim)

    @abstractmethod
    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        """The distribution of z, event shape (latent_dim,), for encoder outputs (..., num_outputs)."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the latent dimension aside."""
