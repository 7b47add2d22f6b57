"""All mass on one code: the guide of deterministic autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import choice, positive_int
from probae.distributions.guides.base import GuideFamily
from probae.errors import ArgumentError

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
        top_k: how many of an example's values stay, the largest; the others are zero. By default all stay.

    Raises:
        ArgumentError: names the argument.

    Source:
        Makhzani and Frey 2014 (arXiv 1312.5663) for top_k.

    Example:
        >>> Delta(2).distribution(torch.tensor([[-1.0, 2.0]])).mean
        tensor([[0., 2.]])
        >>> Delta(3, "linear", top_k=2).code(torch.tensor([[-1.0, 2.0, -3.0]]))
        tensor([[-1.,  2.,  0.]])
    """

    has_density = False

    def __init__(self, latent_dim: int, nonlinearity: str = "relu", top_k: int | None = None) -> None:
        super().__init__(latent_dim)
        self.num_outputs = self.latent_dim
        self.nonlinearity = choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.top_k = None if top_k is None else positive_int("top_k", top_k)
        if self.top_k is not None and self.top_k > self.latent_dim:
            raise ArgumentError("top_k", f"at most {self.latent_dim}, the length of the code", top_k)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Delta(self.code(outputs), event_dim=1)

    def code(self, outputs: Tensor) -> Tensor:
        code = NONLINEARITIES[self.nonlinearity](outputs)
        if self.top_k is None:
            return code
        values, places = code.topk(self.top_k, -1)
        return torch.zeros_like(code).scatter(-1, places, values)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "delta", "nonlinearity": self.nonlinearity} | ({"top_k": self.top_k} if self.top_k else {})
