"""Bits, with a decoder's outputs as their logits."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor

from probae.distributions.likelihoods.base import Likelihood
from probae.errors import DataError


@final
class Bernoulli(Likelihood):
    """Independent bits, with the decoder's outputs as logits.

    Example:
        >>> Bernoulli(3).distribution(torch.zeros(2, 3)).log_prob(torch.ones(2, 3))
        tensor([-2.0794, -2.0794])
        >>> Bernoulli(2).check("x", torch.tensor([[0.0, 0.4]]))
        Traceback (most recent call last):
        ...
        probae.errors.DataError: x: expected bits (0 or 1), since the likelihood is Bernoulli; got grey values such as \
0.4. Draw bits with pb.data.load(..., binarize='stochastic') or (x > 0.5).float(), or choose a likelihood over grey \
values: likelihood='continuous_bernoulli' or {'name': 'normal', 'learned': True}
    """

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return _Bits(logits=outputs).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def check(self, argument: str, x: Tensor) -> None:
        bad = (x != 0) & (x != 1)
        if bool(bad.any()):
            raise DataError(
                argument, "bits (0 or 1), since the likelihood is Bernoulli",
                f"grey values such as {x[bad][0].item():.3g}",
                "Draw bits with pb.data.load(..., binarize='stochastic') or (x > 0.5).float(), or choose a likelihood "
                "over grey values: likelihood='continuous_bernoulli' or {'name': 'normal', 'learned': True}",
            )  # fmt: skip

    def outputs_for(self, mean: Tensor) -> Tensor:
        return torch.logit(mean.clamp(0.01, 0.99))

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "bernoulli"}


class _Bits(dist.Bernoulli):
    """Torch's, except that log p(x) = log sigmoid((2x - 1) l) goes over the memory less often, and rounds less."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return F.logsigmoid((2 * value - 1) * self.logits)
