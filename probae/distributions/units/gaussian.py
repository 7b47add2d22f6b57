"""Real values, with a scale."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.units.base import Tail, Units
from probae.errors import ArgumentError, DataError


@final
class GaussianUnits(Units):
    """Units u in R: E(u) = sum (u - b)^2 / (2 s^2), t(u) = u / s^2, so that p(u given m) = Normal(m, s^2).

    C(m, b) = sum log(sqrt(2 pi) s) + (m^2 - b^2) / (2 s^2).

    Args:
        num_units: how many.
        scale: s, in units of the data: a positive number, or "learned", one for each unit, from the data's spread on.

    Example:
        >>> GaussianUnits(2, scale=2.0).statistic(torch.ones(1, 2))
        tensor([[0.2500, 0.2500]])
    """

    linear: ClassVar[bool] = False
    tail: ClassVar[Tail] = "real"

    def __init__(self, num_units: int, scale: float | str = 1.0) -> None:
        super().__init__(num_units)
        self.learned = scale == "learned"
        if isinstance(scale, str) and not self.learned:
            raise ArgumentError("scale", 'a positive number, or "learned"', repr(scale))
        self.fixed = None if isinstance(scale, str) else checks.real("scale", scale, low=0.0, open_low=True)
        self.log_scale = nn.Parameter(torch.zeros(num_units)) if self.learned else None

    @property
    def scale(self) -> Tensor | float:
        """s: a number, or (num_units,)."""
        return self.fixed if self.log_scale is None else self.log_scale.exp()  # type: ignore[return-value]

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "gaussian", "scale": "learned" if self.learned else self.fixed}

    def check(self, argument: str, u: Tensor) -> None:
        if not bool(u.isfinite().all()):
            raise DataError(argument, "finite values, since the units are Gaussian", "NaN or infinity")

    @torch.no_grad()
    def start(self, u: Tensor) -> None:
        if self.log_scale is not None and len(u) > 1:
            self.log_scale.copy_(u.std(0).clamp(min=1e-2 * u.std() + 1e-6).log())

    def statistic(self, u: Tensor) -> Tensor:
        return u if self.fixed == 1 else u / self.scale**2

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        return 0.5 * ((u - bias) / self.scale).square().sum(-1)

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        constant = 0.5 * self.num_units * math.log(2 * math.pi) + self._log_scales()
        return 0.5 * ((input.square() - bias.square()) / self.scale**2).sum(-1) + constant

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return input

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        input, scale = input.detach(), self.scale
        return input + torch.randn_like(input) * (scale.detach() if isinstance(scale, Tensor) else scale)

    def _log_scales(self) -> Tensor | float:
        """The sum of log s over the units."""
        return self.num_units * math.log(self.fixed or 1.0) if self.log_scale is None else self.log_scale.sum()

    def bias_for(self, mean: Tensor) -> Tensor:
        return mean.clone()
