"""Grey values in [0, 1], with a decoder's outputs as the logits of continuous Bernoulli distributions."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
from torch import Tensor

from probae.distributions.likelihoods.base import Likelihood
from probae.distributions.likelihoods.inversion import inverse
from probae.distributions.likelihoods.tilted_uniform import TiltedUniform
from probae.errors import DataError


@final
class ContinuousBernoulli(Likelihood):
    """Independent values in [0, 1], of a density proportional to exp(output x): a Bernoulli's formula, normalized.

    It is a density, so its log-likelihoods may be positive and cannot be compared with those of bits or of levels. Data
    at exactly 0 or 1 drive a logit t without bound, slowly: the density there is about |t|.

    Source: Loaiza-Ganem and Cunningham 2019 (arXiv 1907.06845), section 3.

    Example:
        >>> import torch
        >>> likelihood = ContinuousBernoulli(2)
        >>> likelihood.distribution(torch.tensor([0.0, 3.0])).log_prob(torch.tensor([0.2, 1.0]))
        tensor(1.1497)
        >>> likelihood.mean(torch.tensor([0.0, 3.0]))
        tensor([0.5000, 0.7191])
    """

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return TiltedUniform(outputs).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return TiltedUniform(outputs, validate_args=False).mean

    def check(self, argument: str, x: Tensor) -> None:
        bad = (x < 0) | (x > 1)
        if bool(bad.any()):
            raise DataError(
                argument, "values in [0, 1], since the likelihood is continuous Bernoulli",
                f"values such as {x[bad][0].item():.3g}",
                "Divide by the largest possible value, such as 255, or choose a likelihood over all real values: "
                "likelihood={'name': 'normal', 'learned': True}",
            )  # fmt: skip

    def outputs_for(self, mean: Tensor) -> Tensor:
        end = mean.new_tensor(101.0)  # where the mean is 1 - 1 / 101
        logits = inverse(lambda t: TiltedUniform(t, validate_args=False).mean, mean.clamp(0.01, 0.99), -end, end)
        return logits.to(mean.dtype)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "continuous_bernoulli"}
