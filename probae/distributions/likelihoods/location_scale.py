"""Likelihoods of a location and a scale: the decoder gives the locations, the scale is fixed or learned."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import real
from probae.distributions.likelihoods.base import Likelihood
from probae.errors import ArgumentError

SMALLEST_SCALE = 1e-6
"""A learned scale stays above this, or data that is reconstructed exactly would drive it to zero."""

SMALLEST_SPREAD = 1e-3
"""Where the scale of a constant dimension starts."""

PER_DIMENSION = "per_dimension"


class LocationScale(Likelihood, ABC):
    """Independent values around the decoder's outputs, of one scale for all dimensions or one for each.

    Args:
        num_visible: D.
        scale: in units of the data; where training starts if it is learned. By default 1, and where it is learned the
            data's spread about its mean, which `prepare` finds: what an untrained decoder leaves unexplained.
        learned: False, True (one scale for all dimensions), or "per_dimension".

    Raises:
        ArgumentError: for a scale that is not above `SMALLEST_SCALE`; for another `learned`.
    """

    fixed_scale: Tensor

    def __init__(self, num_visible: int, scale: float | None, learned: bool | str) -> None:
        super().__init__(num_visible)
        if not isinstance(learned, bool) and learned != PER_DIMENSION:
            raise ArgumentError("learned", f"False, True or {PER_DIMENSION!r}", repr(learned))
        self.start = None if scale is None else real("scale", scale, low=SMALLEST_SCALE, open_low=True)
        self.learned = learned
        start = torch.tensor(1.0 if self.start is None else self.start)
        if learned:
            shape = (self.num_visible,) if learned == PER_DIMENSION else ()
            self.raw_scale = nn.Parameter(_raw(start).expand(shape).clone())
        else:
            self.register_buffer("fixed_scale", start, persistent=False)

    @property
    def scale(self) -> Tensor:
        """The scale: a scalar, or (D,) if it is learned per dimension."""
        return F.softplus(self.raw_scale) + SMALLEST_SCALE if self.learned else self.fixed_scale

    @torch.no_grad()
    def prepare(self, x: Tensor) -> None:
        """Start a learned scale that was not asked for at the data's spread, unless it has moved already."""
        if self.learned and self.start is None and bool(torch.isclose(self.scale, torch.ones_like(self.scale)).all()):
            variance = (x - x.mean(0)).square().mean(0)
            variance = variance if self.learned == PER_DIMENSION else variance.mean()
            self.set_scale(variance.sqrt().clamp(min=SMALLEST_SPREAD))

    @torch.no_grad()
    def set_scale(self, scale: Tensor) -> None:
        """Put a learned scale at a value: a scalar, or (D,) if it is learned per dimension."""
        self.raw_scale.copy_(_raw(scale))

    @property
    def scale_config(self) -> dict[str, Any]:
        """The arguments that rebuild the scale's start."""
        return {"scale": self.start, "learned": self.learned}


def _raw(scale: Tensor) -> Tensor:
    """The parameter that stands for a scale: the inverse of softplus."""
    excess = scale - SMALLEST_SCALE
    return excess + (-torch.expm1(-excess)).log()
