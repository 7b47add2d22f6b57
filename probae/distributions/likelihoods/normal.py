"""Real values around a decoder's outputs, or a nonlinearity of them, of fixed or learned scale."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
from torch import Tensor

from probae.checks import choice
from probae.distributions.likelihoods.inversion import inverse
from probae.distributions.likelihoods.location_scale import LocationScale
from probae.networks.mlp import NONLINEARITIES

_FAR = 4.0  # an output whose sigmoid is 0.98: nearer to the end nothing would be learned


@final
class Normal(LocationScale):
    """Independent Normals around the decoder's outputs, of one scale for all dimensions or one for each.

    The squared error of a classical autoencoder is its negative logarithm at scale sqrt(1/2), up to a constant.

    Args:
        num_visible: D.
        scale: the standard deviation; where training starts if it is learned. By default 1, and where it is learned the
            data's spread about its mean, which `prepare` finds.
        learned: whether the scale is a parameter: False, True (one for all dimensions), or "per_dimension".
        nonlinearity: of which the outputs make the mean: "linear"; "sigmoid" for values in [0, 1], or another
            activation of an MLP.

    Raises:
        ArgumentError: for a scale that is not above `SMALLEST_SCALE`; for another `learned` or `nonlinearity`.

    Example:
        >>> import torch
        >>> Normal(3, scale=2.0).distribution(torch.zeros(1, 3)).log_prob(torch.zeros(1, 3))
        tensor([-4.8363])
        >>> Normal(3, scale=0.5, learned="per_dimension").scale.detach()
        tensor([0.5000, 0.5000, 0.5000])
    """

    def __init__(
        self, num_visible: int, scale: float | None = None, learned: bool | str = False, nonlinearity: str = "linear"
    ) -> None:
        super().__init__(num_visible, scale, learned)
        self.nonlinearity = choice("nonlinearity", nonlinearity, NONLINEARITIES)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.mean(outputs), self.scale).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return NONLINEARITIES[self.nonlinearity](outputs)

    def check(self, argument: str, x: Tensor) -> None:
        return None

    def outputs_for(self, mean: Tensor) -> Tensor:
        if self.nonlinearity == "linear":
            return mean
        ends = mean.new_tensor(-_FAR), _FAR + mean.clamp(min=0)
        return inverse(NONLINEARITIES[self.nonlinearity], mean, *ends).to(mean)

    @property
    def config(self) -> dict[str, Any]:
        behind = {} if self.nonlinearity == "linear" else {"nonlinearity": self.nonlinearity}
        return {"name": "normal", **self.scale_config, **behind}
