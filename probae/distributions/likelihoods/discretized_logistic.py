"""Grey levels, with a decoder's outputs as the locations of logistic distributions cut into bins."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
from torch import Tensor

from probae.checks import positive_int
from probae.distributions.likelihoods.binned_logistic import BinnedLogistic, Grid
from probae.distributions.likelihoods.inversion import inverse
from probae.distributions.likelihoods.location_scale import LocationScale
from probae.errors import DataError


@final
class DiscretizedLogistic(LocationScale):
    """Independent grey levels k / (levels - 1): logistic variables around the decoder's outputs, rounded to the grid.

    Probabilities, not densities: log-likelihoods are at most zero, and divided by -D log 2 they are bits per dimension.

    Args:
        num_visible: D.
        levels: number of grey levels: 256 for 8-bit images, 17 for the embedded digits.
        scale: of the logistic distributions, in units of the data's [0, 1]; where training starts if it is learned.
        learned: whether the scale is a parameter: False, True (one for all dimensions), or "per_dimension".

    Raises:
        ArgumentError: for fewer than 2 levels; for a scale that is not above `SMALLEST_SCALE`; for another `learned`.

    Source: Kingma et al. 2016 (arXiv 1606.04934); Salimans et al. 2017 (arXiv 1701.05517), equation 2.

    Example:
        >>> import torch
        >>> likelihood = DiscretizedLogistic(2, levels=17)
        >>> likelihood.distribution(torch.zeros(2)).log_prob(torch.tensor([0.0, 0.25])).detach()
        tensor(-3.6675)
        >>> likelihood.check("x", torch.tensor([[0.0, 0.1]]))
        Traceback (most recent call last):
        ...
        probae.errors.DataError: x: expected multiples of 1/16 in [0, 1], since levels=17; got values such as 0.1. \
Divide k = 0, ..., 16 by 16; levels=17 fits the embedded digits, levels=256 8-bit images
    """

    def __init__(self, num_visible: int, levels: int = 256, scale: float = 0.1, learned: bool | str = True) -> None:
        super().__init__(num_visible, scale, learned)
        self.levels = positive_int("levels", levels, minimum=2)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        return BinnedLogistic(outputs, self.scale, self.levels).to_event(1)

    def mean(self, outputs: Tensor) -> Tensor:
        return BinnedLogistic(outputs, self.scale, self.levels, validate_args=False).mean

    def check(self, argument: str, x: Tensor) -> None:
        good = Grid(self.levels).check(x)
        if not bool(good.all()):
            last = self.levels - 1
            raise DataError(
                argument, f"multiples of 1/{last} in [0, 1], since levels={self.levels}",
                f"values such as {x[~good][0].item():.3g}",
                f"Divide k = 0, ..., {last} by {last}; levels=17 fits the embedded digits, levels=256 8-bit images",
            )  # fmt: skip

    def outputs_for(self, mean: Tensor) -> Tensor:
        scale = self.scale.detach().double()

        def mean_at(loc: Tensor) -> Tensor:
            return BinnedLogistic(loc, scale, self.levels, validate_args=False).mean

        reach = 40 * scale  # so far outside [0, 1] all draws are at an end
        return inverse(mean_at, mean.clamp(0.001, 0.999), -reach, 1 + reach).to(mean.dtype)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "discretized_logistic", "levels": self.levels, **self.scale_config}
