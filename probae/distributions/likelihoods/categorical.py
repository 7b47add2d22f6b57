"""One-hot units, with a decoder's outputs as their logits."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.checks import positive_int
from probae.distributions.likelihoods.base import Likelihood
from probae.distributions.likelihoods.one_hot import OneHot, OneHotUnits
from probae.errors import ArgumentError, DataError


@final
class Categorical(Likelihood):
    """Independent units of K categories as one-hot vectors, with the decoder's outputs as logits.

    Flattened: D = units x K, the K values of one unit side by side.

    Args:
        num_visible: D.
        categories: K, at least 2.

    Raises:
        ArgumentError: for `categories` that do not divide D.

    Example:
        >>> likelihood = Categorical(6, categories=3)
        >>> likelihood.mean(torch.tensor([0.0, 0.0, 0.0, 9.0, 0.0, 0.0]))
        tensor([0.3333, 0.3333, 0.3333, 0.9998, 0.0001, 0.0001])
        >>> likelihood.check("x", torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0, 1.0]]))
        Traceback (most recent call last):
        ...
        probae.errors.DataError: x: expected one-hot vectors of 3 categories, flattened; got a unit with the values \
0, 1, 1. Make them of class numbers (N, units) with torch.nn.functional.one_hot(classes, 3).flatten(1).float()
    """

    def __init__(self, num_visible: int, categories: int) -> None:
        super().__init__(num_visible)
        self.categories = positive_int("categories", categories, minimum=2)
        if self.num_visible % self.categories:
            raise ArgumentError("categories", f"a divisor of the data's {self.num_visible} values", categories)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return OneHotUnits(outputs, self.categories)

    def observed(self, outputs: Tensor, mask: Tensor) -> dist.TorchDistribution:
        return OneHotUnits(outputs, self.categories, observed=mask[..., :: self.categories])

    def check_mask(self, argument: str, mask: Tensor) -> None:
        units = mask.unflatten(-1, (-1, self.categories))
        if not bool((units.all(-1) | ~units.any(-1)).all()):
            wanted = f"all {self.categories} values of a unit observed, or none of them"
            raise ArgumentError(argument, wanted, "a unit that is observed in part")

    def placeholder(self, x: Tensor) -> Tensor:
        return (torch.arange(x.shape[-1], device=x.device) % self.categories == 0).to(x.dtype).expand_as(x)

    def mean(self, outputs: Tensor) -> Tensor:
        return OneHotUnits(outputs, self.categories, validate_args=False).mean

    def check(self, argument: str, x: Tensor) -> None:
        good = OneHot(self.categories).units(x)
        if not bool(good.all()):
            unit = x.unflatten(-1, (-1, self.categories))[~good][0].tolist()
            values = ", ".join(f"{value:.3g}" for value in unit[:8]) + (", ..." if len(unit) > 8 else "")
            raise DataError(
                argument, f"one-hot vectors of {self.categories} categories, flattened",
                f"a unit with the values {values}",
                "Make them of class numbers (N, units) with "
                f"torch.nn.functional.one_hot(classes, {self.categories}).flatten(1).float()",
            )  # fmt: skip

    def outputs_for(self, mean: Tensor) -> Tensor:
        return torch.log(mean.clamp(min=0.02 / self.categories))  # with two categories the bound of a Bernoulli's mean

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "categorical", "categories": self.categories}
