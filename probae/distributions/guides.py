"""Guide families q(z given x): what an encoder's outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import choice, positive_int


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


@final
class DiagonalNormal(GuideFamily):
    """Independent Normals: the first half of the outputs are locations, softplus of the second half the scales.

    Softplus grows linearly, so no output, however large, makes the scale overflow; at zero the scale is about one.

    Example:
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


NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda outputs: outputs,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}


@final
class Delta(GuideFamily):
    """All mass on one code, as in a deterministic autoencoder: maximizing the ELBO is then MAP.

    Args:
        latent_dim: length of the code.
        nonlinearity: of the code: "relu" for codes with exact zeros, "sigmoid" for rates, "linear".

    Example:
        >>> Delta(2).distribution(torch.tensor([[-1.0, 2.0]])).mean
        tensor([[0., 2.]])
    """

    has_density = False

    def __init__(self, latent_dim: int, nonlinearity: str = "relu") -> None:
        super().__init__(latent_dim)
        self.num_outputs = self.latent_dim
        self.nonlinearity = choice("nonlinearity", nonlinearity, NONLINEARITIES)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Delta(NONLINEARITIES[self.nonlinearity](outputs), event_dim=1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "delta", "nonlinearity": self.nonlinearity}


GUIDES: dict[str, type[GuideFamily]] = {"diagonal": DiagonalNormal, "delta": Delta}
