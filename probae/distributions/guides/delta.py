"""All mass on one code: the guide of deterministic autoencoders."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import choice, positive_int, real
from probae.distributions.guides.base import GuideFamily
from probae.errors import ArgumentError
from probae.networks.mlp import NONLINEARITIES


@final
class Delta(GuideFamily):
    """All mass on one code, as in a deterministic autoencoder: maximizing the ELBO is then MAP.

    Args:
        latent_dim: length of the code.
        nonlinearity: of the code: "relu" for codes with exact zeros, "sigmoid" for rates, "linear", or another
            activation of an MLP.
        top_k: how many of an example's values stay, the largest; the others are zero. By default all stay.
        noise: scale of Normal noise that is added to the inputs of sigmoid units, in training mode only, like dropout.
            What such units say is lost in it unless they are near 0 or 1, so that training saturates them: the code
            becomes binary. It is the same for all particles, and there is none in evaluation mode.

    Raises:
        ArgumentError: names the argument; also for noise of other units, which would only grow above it.

    Source:
        Makhzani and Frey 2014 (arXiv 1312.5663) for top_k; Salakhutdinov and Hinton 2009, "Semantic hashing", section
        3, for noise: theirs is drawn once for each example, and here at each step.

    Example:
        >>> Delta(2).distribution(torch.tensor([[-1.0, 2.0]])).mean
        tensor([[0., 2.]])
        >>> Delta(3, "linear", top_k=2).code(torch.tensor([[-1.0, 2.0, -3.0]]))
        tensor([[-1.,  2.,  0.]])
    """

    has_density = False

    def __init__(
        self, latent_dim: int, nonlinearity: str = "relu", top_k: int | None = None, noise: float = 0.0
    ) -> None:
        super().__init__(latent_dim)
        self.num_outputs = self.latent_dim
        self.nonlinearity = choice("nonlinearity", nonlinearity, NONLINEARITIES)
        self.top_k = None if top_k is None else positive_int("top_k", top_k)
        if self.top_k is not None and self.top_k > self.latent_dim:
            raise ArgumentError("top_k", f"at most {self.latent_dim}, the length of the code", top_k)
        self.noise = real("noise", noise, low=0.0)
        if self.noise and self.nonlinearity != "sigmoid":
            raise ArgumentError("noise", "0 beside units that are not 'sigmoid', since they can outgrow it", noise)
        self.pointwise = None if self.top_k else self.nonlinearity

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        if self.training and self.noise:
            outputs = outputs + self.noise * torch.randn_like(outputs)
        return dist.Delta(self.code(outputs), event_dim=1)

    def code(self, outputs: Tensor) -> Tensor:
        code = NONLINEARITIES[self.nonlinearity](outputs)
        if self.top_k is None:
            return code
        values, places = code.topk(self.top_k, -1)
        return torch.zeros_like(code).scatter(-1, places, values)

    @property
    def config(self) -> dict[str, Any]:
        more = {"top_k": self.top_k, "noise": self.noise}
        return {"name": "delta", "nonlinearity": self.nonlinearity} | {name: x for name, x in more.items() if x}
