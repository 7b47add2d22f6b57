"""The log-density of a distribution's own last sample, kept since finding it again would cost an inversion."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class OwnSample:
    """What `rsample` knows of the value that it returns: its log-density, from the noise that made it.

    A guide is asked for the density of the value that it has just drawn; found from the value, it costs an inversion
    and its rounding errors. It is kept for the very tensor that was drawn, unaltered, with the gradient that reaches
    the parameters through sample and density together. Any other tensor has to be inverted: a detached one, one behind
    a gate of an objective's, or one drawn without gradients where they are wanted now (the score function).

    Args:
        value: the sample; None if there is none yet.
        log_prob: its log-density.

    Example:
        >>> z = torch.zeros(2)
        >>> own = OwnSample(z, torch.tensor(-1.8))
        >>> own.log_prob(z), own.log_prob(z.clone()), own.log_prob(z.add_(1.0))
        (tensor(-1.8000), None, None)
    """

    def __init__(self, value: Tensor | None = None, log_prob: Tensor | None = None) -> None:
        self._value = None if value is None or value.is_inference() else value
        self._version = -1 if self._value is None else self._value._version
        self._log_prob, self._with_gradients = log_prob, torch.is_grad_enabled()

    def log_prob(self, value: Tensor) -> Tensor | None:
        """The log-density of `value`, if it is the sample itself, not written to since."""
        known = self._value is value and self._version == value._version
        return self._log_prob if known and (self._with_gradients or not torch.is_grad_enabled()) else None


def standard_log_prob(noise: Tensor) -> Tensor:
    """log Normal(e; 0, I) of noise (..., d): (...)."""
    return -(noise.square().sum(-1) + noise.shape[-1] * math.log(2 * math.pi)) / 2
