"""One of K values, as one-hot vectors."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from probae import checks
from probae.distributions.units.base import Units
from probae.distributions.units.functions import inner
from probae.errors import ArgumentError, DataError


@final
class CategoricalUnits(Units):
    """Units with K values each, as one-hot vectors one after the other: E(u) = -b'u, C(m) = sum_i log sum_k exp(m_ik).

    Args:
        num_units: the length of all one-hot vectors together, a multiple of K.
        num_categories: K, at least 2.

    Example:
        >>> CategoricalUnits(6, num_categories=3).cumulant(torch.zeros(1, 6), torch.zeros(6))  # 2 log 3
        tensor([2.1972])
    """

    def __init__(self, num_units: int, num_categories: int) -> None:
        super().__init__(num_units)
        self.num_categories = checks.positive_int("num_categories", num_categories, minimum=2)
        if num_units % num_categories:
            raise ArgumentError("num_categories", f"a divisor of the {num_units} units", num_categories)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "categorical", "num_categories": self.num_categories}

    def check(self, argument: str, u: Tensor) -> None:
        groups = self._groups(u)
        if not bool((((groups == 0) | (groups == 1)).all(-1) & (groups.sum(-1) == 1)).all()):
            wanted = f"one-hot vectors of length {self.num_categories}, flattened, since the units are categorical"
            raise DataError(argument, wanted, "other values", "torch.nn.functional.one_hot makes them from numbers")

    def check_means(self, argument: str, mean: Tensor) -> None:
        if not bool(((mean >= 0) & (mean <= 1)).all()):
            raise ArgumentError(argument, "rates in [0, 1]", "values outside of it, or NaN")

    def check_mask(self, argument: str, mask: Tensor) -> None:
        groups = self._groups(mask)
        if not bool((groups.all(-1) == groups.any(-1)).all()):
            raise ArgumentError(argument, "all categories of a unit observed, or none", "some of them")

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        return -inner(u, bias)

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        return self._groups(input).logsumexp(-1).sum(-1)

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return self._groups(input).softmax(-1).reshape(input.shape)

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        # The first of K exponential clocks with rates exp(m_k) to ring is k with probability softmax(m)_k.
        logits = self._groups(input.detach())
        # No number is 0, for which even a clock of no rate at all would ring at once.
        numbers = torch.rand_like(logits).clamp(min=torch.finfo(logits.dtype).eps / 4)
        clocks = logits - (-torch.log1p(-numbers)).log()
        return _one_hot(clocks.argmax(-1), clocks).reshape(input.shape)

    def bias_for(self, mean: Tensor) -> Tensor:
        return self._groups(mean.clamp(min=0.01)).log_softmax(-1).reshape(mean.shape)

    @property
    def num_states(self) -> int:
        return self.num_categories ** (self.num_units // self.num_categories)

    def states(self, numbers: Tensor) -> Tensor:
        places = self.num_categories ** torch.arange(self.num_units // self.num_categories, device=numbers.device)
        digits = numbers.unsqueeze(-1) // places % self.num_categories
        like = torch.empty(*digits.shape, self.num_categories, dtype=torch.float64, device=digits.device)
        return _one_hot(digits, like).flatten(1)

    def _groups(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.num_categories))


def _one_hot(numbers: Tensor, like: Tensor) -> Tensor:
    """One-hot vectors of the shape of `like`, (..., K), for numbers (...,); torch's own looks at the numbers."""
    return torch.zeros_like(like).scatter_(-1, numbers.unsqueeze(-1), 1.0)
