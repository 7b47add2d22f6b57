"""Priors p(z) over the latent vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.checks import positive_int, real


class Prior(nn.Module, ABC):
    """A distribution over latent vectors (latent_dim,). To write a new one, implement `distribution` and `config`."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = positive_int("latent_dim", latent_dim)

    @abstractmethod
    def distribution(self) -> dist.TorchDistribution:
        """The prior, batch shape (), event shape (latent_dim,)."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the latent dimension aside."""


@final
class StandardNormal(Prior):
    """Independent Normal(0, 1) latent variables.

    Example:
        >>> StandardNormal(3).distribution().log_prob(torch.zeros(3))
        tensor(-2.7568)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def distribution(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "normal"}


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

    def distribution(self) -> dist.TorchDistribution:
        return dist.Laplace(self.loc, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "laplace", "rate": self.rate}


PRIORS: dict[str, type[Prior]] = {"normal": StandardNormal, "laplace": Laplace}
