"""What every prior p(z) is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
from torch import Tensor, nn

from probae.checks import positive_int

Posterior = Callable[[Tensor], dist.TorchDistribution]
"""The model's q(z given x): from examples (K, D) to a distribution of batch shape (K,), event shape (latent_dim,)."""


class Prior(nn.Module, ABC):
    """A distribution over latent vectors (latent_dim,). To write a new one, implement `distribution` and `config`.

    Parameters of its own train with the model's. Enter it in `PRIORS`.

    Args:
        latent_dim: number of latent variables.

    Attributes:
        uses_posterior: whether `distribution` needs the model's q(z given x), as a VampPrior does; that guide family
            must be one that `mixes`.
        proper: whether it can be normalized, and so sampled from.
    """

    uses_posterior: ClassVar[bool] = False
    proper: ClassVar[bool] = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = positive_int("latent_dim", latent_dim)

    @abstractmethod
    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        """The prior, batch shape (), event shape (latent_dim,).

        Args:
            posterior: the model's q(z given x), always given where `uses_posterior`.
        """

    def attach(self, num_visible: int) -> None:
        """Make the parameters whose size hangs on the data's D; the model's constructor calls it once."""
        return None

    def prepare(self, x: Tensor) -> None:
        """Set what should be known of the training data (N, D) before the first step; what is trained stays."""
        return None

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the latent dimension aside."""
