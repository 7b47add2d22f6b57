"""The log-likelihood of an energy model, from its free energies and an estimate of log Z."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.data.protocol import Protocol
from probae.distributions.rbm import RestrictedBoltzmann
from probae.evaluation.estimate import Direction, Estimate
from probae.inference.kl import base_distribution
from probae.inference.traces import sample_sites

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


def log_likelihood_of_documents(
    scores: Tensor, lengths: Tensor, estimate: Callable[[int], Estimate], protocol: Protocol
) -> Estimate:
    """The mean of -F(x) - log Z where log Z depends on the document's length.

    The result is as reliable as the least of the estimates of log Z, and says why of the first that is not.

    Args:
        scores: (N,) -F(x) of each document.
        lengths: (N,) in words.
        estimate: of log Z for a length; asked once for each that occurs.
        protocol: of the data.
    """
    kinds, which, sizes = lengths.unique(return_inverse=True, return_counts=True)
    each, shares = [estimate(int(length)) for length in kinds], (sizes / len(lengths)).tolist()

    def mean(values: Sequence[float]) -> float:
        return sum(share * value for share, value in zip(shares, values, strict=True))

    value = mean([z.value for z in each])
    lower, upper = ([bound for z in each if (bound := getattr(z, name)) is not None] for name in ("lower", "upper"))
    log_z = replace(
        next((z for z in each if not z.reliable), each[0]),
        value=value, lower=mean(lower) if len(lower) == len(each) else None,
        upper=mean(upper) if len(upper) == len(each) else None,
        stderr=math.sqrt(sum((s * z.stderr) ** 2 for s, z in zip(shares, each, strict=True))),
        ess=min((z.ess for z in each if z.ess is not None), default=None),
    )  # fmt: skip
    offsets = scores.new_tensor([z.value - value for z in each], dtype=torch.float64)
    return log_likelihood_of_energy(scores.double() - offsets[which], log_z, protocol)


def estimated_log_partitions(trace: Trace) -> list[Estimate]:
    """The estimates of log Z that the log-probabilities of a trace's sites stand on; exact phases need none."""
    found = (base_distribution(site["fn"]) for _, site in sample_sites(trace))
    machines = (getattr(one, "joint", one) for one in found)  # of one part of its units: the whole one's
    return [
        machine.log_partition
        for machine in machines
        if isinstance(machine, RestrictedBoltzmann) and machine.log_partition is not None
        if machine.negative_phase is None or not machine.negative_phase.exact
    ]


def with_log_partition(estimate: Estimate, log_z: Estimate) -> Estimate:
    """A log-likelihood with the error, the direction and the doubts of the log Z that was subtracted in it."""
    directions = {estimate.direction, _OPPOSITE[log_z.direction]} - {"exact"}
    return replace(
        estimate,
        direction="estimate" if len(directions) == 2 else next(iter(directions), "exact"),
        stderr=math.hypot(estimate.stderr, log_z.stderr),
        reliable=estimate.reliable and log_z.reliable,
        reason=f"{estimate.reason}; log Z: {log_z.reason}",
        protocol=estimate.protocol.using(
            f"{estimate.protocol.estimator}, log Z by {log_z.protocol.estimator}", estimate.protocol.samples
        ),
    )
