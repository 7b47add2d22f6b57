"""One-hot vectors, flattened: units of K categories side by side, as one Pyro distribution over their rows."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor


class OneHotUnits(TorchDistribution):
    """Independent units of K categories, each a one-hot vector, flattened: D = units x K.

    log p(x) = sum_i x_i log softmax(l)_i, the softmax over the K logits of a unit, which stand side by side.

    Args:
        logits: l, (..., D).
        categories: K, a divisor of D.
        observed: (..., D / K), which units count; all of them if None. The others may hold anything.
        validate_args: whether arguments and values are checked; torch's default decides if None.

    Shapes: event (D,); batch (...).

    Example:
        >>> p = OneHotUnits(torch.zeros(6), categories=3)
        >>> p.log_prob(torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 0.0])).exp()
        tensor(0.1111)
    """

    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        categories: int,
        validate_args: bool | None = None,
        *,
        observed: Tensor | None = None,
    ) -> None:
        self.logits, self.categories, self.observed = logits, categories, observed
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """Real logits."""
        return {"logits": constraints.real_vector}

    @property
    def support(self) -> Any:
        """Vectors of one-hot units."""
        return OneHot(self.categories)

    def expand(self, batch_shape: Any, _instance: Any = None) -> OneHotUnits:
        """The same distribution with its logits broadcast to `batch_shape`."""
        new: Any = self._get_checked_instance(OneHotUnits, _instance)
        new.logits = self.logits.expand(torch.Size(batch_shape) + self._event_shape)
        new.categories, new.observed = self.categories, self.observed
        super(OneHotUnits, new).__init__(torch.Size(batch_shape), self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability in nats, from (..., D) to the batch shape."""
        if self._validate_args:
            self._validate_sample(self._countable(value))
        # By hand: torch's log_softmax is four times as slow on a CPU below 16 categories. Both terms are at most zero.
        units = self._units()
        below = units - units.detach().amax(-1, keepdim=True)
        if self.observed is None:
            return (value * below.flatten(-2)).sum(-1) - below.exp().sum(-1).log().sum(-1)
        each = (value.unflatten(-1, (-1, self.categories)) * below).sum(-1) - below.exp().sum(-1).log()
        return torch.where(self.observed, each, 0.0).sum(-1)

    @property
    def mean(self) -> Tensor:
        """The probability of each category of each unit: (..., D)."""
        return self._units().softmax(-1).flatten(-2)

    @property
    def variance(self) -> Tensor:
        """Of each of the D values: p (1 - p)."""
        return self.mean * (1 - self.mean)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draws, (*sample_shape, *batch_shape, D): of waiting times with rates p, the shortest."""
        p = self._units().softmax(-1).expand(*sample_shape, *self._batch_shape, -1, -1)
        first = (p / torch.empty_like(p).exponential_()).argmax(-1, keepdim=True)
        return torch.zeros_like(p).scatter_(-1, first, 1.0).flatten(-2)

    def _countable(self, value: Tensor) -> Tensor:
        """The value, with the first category in the units that do not count."""
        if self.observed is None:
            return value
        first = torch.arange(self.categories, device=value.device) == 0
        units = value.unflatten(-1, (-1, self.categories))
        return torch.where(self.observed.unsqueeze(-1), units, first.to(value.dtype)).flatten(-2)

    def _units(self) -> Tensor:
        return self.logits.unflatten(-1, (-1, self.categories))


class OneHot(constraints.Constraint):
    """Vectors of units of K values, of which one is 1 and all others are 0.

    Example:
        >>> OneHot(2).check(torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]]))
        tensor([ True, False])
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, categories: int) -> None:
        self.categories = categories

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is one: from (..., D) to (...)."""
        return self.units(value).all(-1)

    def units(self, value: Tensor) -> Tensor:
        """Whether each unit is one-hot: from (..., D) to (..., D / K)."""
        units = value.unflatten(-1, (-1, self.categories))
        return ((units == 0) | (units == 1)).all(-1) & (units.sum(-1) == 1)
