"""The evidence lower bound of each example, as an estimate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probae.data.protocol import Protocol
from probae.evaluation.estimate import Estimate, mean_estimate


class BoundAccumulator:
    """Running sums over the logarithms of importance weights, whose mean is the ELBO, in float64.

        ELBO(x) = E_q[ log p(x, z) - log q(z given x) ],  estimated by (1/K) sum_k log w_k

    Args:
        num_samples: K, how many weights each example will get.

    Example:
        >>> sums = BoundAccumulator(4)
        >>> for log_w in torch.tensor([[1.0], [2.0], [3.0], [4.0]]).split(2):
        ...     sums.add(log_w)
        >>> {name: round(float(column), 3) for name, column in sums.finish().items()}
        {'value': 2.5, 'variance': 0.417}
    """

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples
        self.origin: Tensor | None = None
        self.total = self.squares = torch.zeros(())

    def add(self, log_w: Tensor) -> None:
        """Take weights (k, N)."""
        log_w = log_w.double()
        if self.origin is None:  # squares are taken around the first of them, or rounding would swallow their spread
            self.origin = torch.where(log_w[0].isfinite(), log_w[0], 0.0)
        away = log_w - self.origin
        self.total, self.squares = self.total + away.sum(0), self.squares + away.square().sum(0)

    def finish(self) -> dict[str, Tensor]:
        """Per example: the mean of the logarithms, and the variance of its error; NaN for a single sample."""
        count = self.num_samples
        mean = self.total / count
        spread = (self.squares / count - mean.square()).clamp(min=0.0)
        variance = spread / (count - 1) if count > 1 else torch.full_like(mean, math.nan)
        return {"value": mean if self.origin is None else self.origin + mean, "variance": variance}

    @staticmethod
    def estimate(per_example: dict[str, Tensor], num_samples: int, protocol: Protocol) -> Estimate:
        """The estimate, from what `finish` said of all examples."""
        value = per_example["value"]
        odd = int((~value.isfinite()).sum())
        return mean_estimate(
            value,
            "lower",
            protocol.using("the evidence lower bound", num_samples),
            stderr=per_example["variance"].sum().sqrt().item() / len(value),
            reliable=not odd,
            reason=f"the bound of {odd} examples is not finite" if odd else "a mean of independent samples",
        )
