"""The log-likelihood of an energy model, from its free energies and an estimate of log Z."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from probae.data.protocol import Protocol
from probae.evaluation.estimate import Direction, Estimate

_OPPOSITE: dict[Direction, Direction] = {"exact": "exact", "lower": "upper", "upper": "lower", "estimate": "estimate"}


def log_likelihood_of_energy(negative_free_energy: Tensor, log_z: Estimate, protocol: Protocol) -> Estimate:
    """The mean of -F(x) - log Z, in nats per example; what bounds log Z from one side bounds this from the other.

    Args:
        negative_free_energy: (N,) -F(x) of each example.
        log_z: an estimate of log Z, whose errors, diagnostics and method are taken over.
        protocol: of the data.
    """
    per_example = negative_free_energy.double() - log_z.value
    count = len(per_example)
    value = per_example.mean().item()
    return replace(
        log_z,
        value=value,
        quantity="log-likelihood",
        direction=_OPPOSITE[log_z.direction],
        stderr_data=per_example.std().item() / math.sqrt(count) if count > 1 else None,
        per_example=per_example,
        lower=None if log_z.upper is None else value + log_z.value - log_z.upper,
        upper=None if log_z.lower is None else value + log_z.value - log_z.lower,
        protocol=protocol.using(f"log Z by {log_z.protocol.estimator}", log_z.protocol.samples),
    )
