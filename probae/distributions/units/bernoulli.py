"""Bits."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from probae.distributions.bits import random_bits
from probae.distributions.units.base import Units
from probae.distributions.units.functions import inner, softplus, softplus_change
from probae.errors import ArgumentError, DataError


@final
class BernoulliUnits(Units):
    """Units u in {0, 1}: E(u) = -b'u, C(m) = sum log(1 + exp(m)), p(u = 1 given m) = sigmoid(m).

    Example:
        >>> BernoulliUnits(2).cumulant(torch.zeros(1, 2), torch.zeros(2))
        tensor([1.3863])
    """

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "bernoulli"}

    def check(self, argument: str, u: Tensor) -> None:
        bad = (u != 0) & (u != 1)
        if bool(bad.any()):
            raise DataError(
                argument, "bits (0 or 1), since the units are Bernoulli", f"grey values such as {u[bad][0].item():.3g}",
                "Draw bits with pb.data.load(..., binarize='stochastic') or (x > 0.5).float(), or choose other units, "
                "such as visible='gaussian'",
            )  # fmt: skip

    def check_means(self, argument: str, mean: Tensor) -> None:
        if not bool(((mean >= 0) & (mean <= 1)).all()):
            raise ArgumentError(argument, "rates in [0, 1]", "values outside of it, or NaN")

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        return -inner(u, bias)

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        return softplus(input).sum(-1)

    def cumulant_change(self, input: Tensor, new: Tensor, bias: Tensor, new_bias: Tensor) -> Tensor:
        return softplus_change(input, new)

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return input.sigmoid()

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return random_bits(input.detach().sigmoid())

    def bias_for(self, mean: Tensor) -> Tensor:
        return torch.logit(mean.clamp(0.001, 0.999))

    @property
    def num_states(self) -> int:
        return 2**self.num_units

    def states(self, numbers: Tensor) -> Tensor:
        places = torch.arange(self.num_units, device=numbers.device)
        return (numbers.unsqueeze(-1).bitwise_right_shift(places) & 1).double()
