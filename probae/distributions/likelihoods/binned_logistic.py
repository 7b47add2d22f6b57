"""The logistic distribution cut into bins around the levels of a grid over [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

_CHUNK = 2**20
"""How many sigmoids a moment computes at once."""


class BinnedLogistic(TorchDistribution):
    """A logistic variable rounded to the grid k / (levels - 1), k = 0, ..., levels - 1; the end bins take the tails.

    With d = 1 / (levels - 1), a = (x - d/2 - loc) / scale and b = (x + d/2 - loc) / scale,
    p(x) = sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(-d / scale)).

    The last form is a product, so that its logarithm and gradients are right however far x is from loc; in the end bins
    sigmoid(b) or sigmoid(-a) stands alone.

    Args:
        loc: (...), in units of the grid's [0, 1]; it may lie outside.
        scale: positive, broadcast with `loc`.
        levels: number of levels, at least 2.
        validate_args: whether arguments and values are checked; torch's default decides if None.

    Source: Salimans et al. 2017 (arXiv 1701.05517), equation 2, with one component.

    Example:
        >>> p = BinnedLogistic(torch.tensor(0.5), torch.tensor(0.1), levels=3)
        >>> p.log_prob(torch.tensor([0.0, 0.5, 1.0])).exp(), p.mean
        (tensor([0.0759, 0.8483, 0.0759]), tensor(0.5000))
    """

    has_rsample = False

    def __init__(self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.levels = loc, scale, levels
        super().__init__(torch.broadcast_shapes(loc.shape, scale.shape), validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """A real location, a positive scale."""
        return {"loc": constraints.real, "scale": constraints.positive}

    @property
    def support(self) -> Any:
        """The levels."""
        return Grid(self.levels)

    def expand(self, batch_shape: Any, _instance: Any = None) -> BinnedLogistic:
        """The same distribution with its parameters broadcast to `batch_shape`."""
        new: Any = self._get_checked_instance(BinnedLogistic, _instance)
        new.loc, new.scale, new.levels = self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels
        super(BinnedLogistic, new).__init__(new.loc.shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability in nats, of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        half = 0.5 / (self.levels - 1)
        bottom, top = value < half, value > 1 - half
        offset = value - self.loc
        width = torch.log(-torch.expm1(-2 * half / self.scale))
        below_upper_edge = F.logsigmoid((offset + half) / self.scale).masked_fill(top, 0.0)
        above_lower_edge = F.logsigmoid((half - offset) / self.scale).masked_fill(bottom, 0.0)
        return below_upper_edge + above_lower_edge + torch.where(bottom | top, 0.0, width)

    @property
    def mean(self) -> Tensor:
        """sum_k P(x > level k) / (levels - 1) over all levels but the last: exact, for as many sigmoids."""
        return self._sum_of_tails(torch.ones_like) / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        """E[x^2] - E[x]^2, in float64, since it is a small difference."""
        exact = BinnedLogistic(self.loc.double(), self.scale.double(), self.levels, validate_args=False)
        squares = exact._sum_of_tails(lambda k: 2 * k + 1) / (self.levels - 1) ** 2
        return (squares - exact.mean**2).to(self.loc.dtype)

    def _sum_of_tails(self, increment: Callable[[Tensor], Tensor]) -> Tensor:
        """sum_k increment(k) P(x > level k): the mean of a function that grows by increment(k) above level k."""
        loc, scale = (x[..., None] for x in torch.broadcast_tensors(self.loc, self.scale))
        k = torch.arange(self.levels - 1, dtype=loc.dtype, device=loc.device)
        total = torch.zeros_like(loc[..., 0])
        for part in k.split(max(1, _CHUNK // max(1, loc.numel()))):
            tails = ((loc - (part + 0.5) / (self.levels - 1)) / scale).sigmoid()
            total = total + tails @ increment(part)
        return total

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draws, rounded to the grid: (*sample_shape, *batch_shape)."""
        loc = self.loc.expand(self._extended_shape(sample_shape))
        u = torch.rand_like(loc)
        last = self.levels - 1
        return ((loc + self.scale * (u.log() - torch.log1p(-u))).clamp(0, 1) * last).round() / last


class Grid(constraints.Constraint):
    """Numbers k / (levels - 1), k = 0, ..., levels - 1, up to a thousandth of a step and rounding.

    Example:
        >>> Grid(5).check(torch.tensor([0.0, 0.25, 0.3, 1.25]))
        tensor([ True,  True, False, False])
    """

    is_discrete = True

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def check(self, value: Tensor) -> Tensor:
        """Whether each number is one."""
        steps = value * (self.levels - 1)
        tolerance = 1e-3 + 2 * (self.levels - 1) * torch.finfo(value.dtype).eps
        inside = (steps > -0.5) & (steps < self.levels - 0.5)
        return inside & ((steps - steps.round()).abs() <= tolerance)
