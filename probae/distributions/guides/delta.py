"""All mass on one code: the guide of deterministic autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import choice
from probae.distributions.guides.base import GuideFamily

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
        return dist.Delta(self.code(outputs), event_dim=1)

    def code(self, outputs: Tensor) -> Tensor:
        return NONLINEARITIES[self.nonlinearity](outputs)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "delta", "nonlinearity": self.nonlinearity}
