"""Values from zero up: truncated normals."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from probae.distributions.units.base import Tail, Units
from probae.distributions.units.functions import half_line_mean, half_line_sample, log_half_line
from probae.errors import ArgumentError, DataError


@final
class ReLUUnits(Units):
    """Units u >= 0: E(u) = sum (u - b)^2 / 2, so that p(u given m) is Normal(m, 1) truncated to u >= 0.

    C(m, b) = sum log(sqrt(2 pi) Phi(m)) + (m^2 - b^2) / 2. (The "noisy rectified linear unit", max(0, m + noise), has
    no joint energy: Nair and Hinton (2010) use it as a stand-in for tied copies of a binary unit.)

    Example:
        >>> ReLUUnits(2).mean(torch.tensor([[0.0, 10.0]]))
        tensor([[ 0.7979, 10.0000]])
    """

    linear: ClassVar[bool] = False
    tail: ClassVar[Tail] = "positive"

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "relu"}

    def check(self, argument: str, u: Tensor) -> None:
        if not bool(((u >= 0) & u.isfinite()).all()):
            raise DataError(argument, "finite values from zero up, since the units are ReLU", "others")

    def check_means(self, argument: str, mean: Tensor) -> None:
        if not bool(((mean >= 0) & mean.isfinite()).all()):
            raise ArgumentError(argument, "finite means from zero up", "others")

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        return 0.5 * (u - bias).square().sum(-1)

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        constant = 0.5 * self.num_units * math.log(2 * math.pi)
        return (log_half_line(input) - 0.5 * bias.square()).sum(-1) + constant

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return half_line_mean(input)

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return half_line_sample(input)

    def bias_for(self, mean: Tensor) -> Tensor:
        return torch.as_tensor(mean).clone()
