"""What a Boltzmann machine's log-probabilities lack: log Z, by name of the method."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.data.protocol import Protocol
from probae.distributions.enumeration import exact_log_partition, num_states
from probae.distributions.finite import check_finite, is_gaussian
from probae.distributions.rbm import RestrictedBoltzmann
from probae.errors import ArgumentError, NotPreparedError
from probae.evaluation.ais import ais_log_partition, log_mean_weight
from probae.evaluation.bridge import bridge_log_partition
from probae.evaluation.doubts import Doubts
from probae.evaluation.estimate import Estimate

SAMPLERS = {"ais": ais_log_partition, "bridge": bridge_log_partition}

__all__ = ["exact_log_partition", "log_partition"]


def log_partition(
    machine: RestrictedBoltzmann, method: str = "exact", *, base_rates: Tensor | None = None,
    length: int | None = None, **options: Any,
) -> Estimate:  # fmt: skip
    """The log-partition function of a machine, log Z in nats, by the named method.

    Args:
        machine: its parameters only; nothing is differentiated.
        method: "exact" enumerates the smaller side (at most 2^25 states), or has a closed form; "ais" is annealed
            importance sampling; "bridge" is Bennett's estimate along the temperatures of parallel tempering.
        base_rates: (D,) the data's means, where AIS starts.
        length: of documents, in words; for counts only, whose log Z depends on it.
        options: of the method: those of `ais_log_partition` or `bridge_log_partition`, or `chunk_size` of
            `exact_log_partition`.

    Raises:
        ArgumentError: for an unknown method, a machine too large to enumerate, or options out of range.
        NotPreparedError: for AIS or bridges without base rates, "running" without such chains.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> log_partition(machine)
        log Z 3.466 nats | exact | reliable | unknown data, enumeration
    """
    counts = machine.visible.counts
    if counts != (length is not None):
        raise ArgumentError("length", "the documents' length, which log Z depends on" if counts else
                            "None, since only counts have a length", length)  # fmt: skip
    if length is not None:
        checks.positive_int("length", length)
    check_finite(machine)
    if checks.choice("method", method, ("exact", "running", *SAMPLERS)) == "exact":
        checks.options(options, exact_log_partition, without=("machine", "length"))
        return _exact(machine, length, **options)
    if method == "running":
        for name, value in options.items():
            raise ArgumentError(name, "no options beside 'running', which reads what training has kept", repr(value))
        return _running(machine)
    estimator = SAMPLERS[method]
    checks.options(options, estimator, without=("machine", "base_rates", "length"))
    if base_rates is None:
        start = "AIS starts" if method == "ais" else "the bridges start"
        raise NotPreparedError(f"{start} from the data's mean rates: call model.prepare(data), or give them as base=")
    return estimator(machine, base_rates, length=length, **options)


@torch.no_grad()
def _exact(machine: RestrictedBoltzmann, length: int | None, **options: Any) -> Estimate:
    words = None if length is None else machine.weight.new_tensor([float(length)])
    value = exact_log_partition(machine, length=words, **options).item()
    closed = is_gaussian(machine)
    return Estimate(
        value,
        quantity="log Z",
        direction="exact",
        lower=value,
        upper=value,
        reason="the machine is a normal distribution" if closed else f"enumerated {num_states(machine)} states",
        protocol=Protocol().using("closed form" if closed else "enumeration"),
    )


def _running(machine: RestrictedBoltzmann) -> Estimate:
    if machine.running is None:
        raise NotPreparedError("no chains have kept an estimate of log Z: build a pb.RBM(..., running_chains=100), say")
    weights, variance = machine.running.now(machine)
    value, _, _ = log_mean_weight(weights)
    stderr, ess = math.sqrt(variance.item()), 1 / (variance.item() + 1 / len(weights))
    reliable, reason = Doubts(value, stderr, ess, len(weights)).verdict()
    return Estimate(
        value, quantity="log Z", direction="lower", stderr=stderr, ess=ess, lower=value, reliable=reliable,
        reason=reason, protocol=Protocol().using("AIS along the training", len(weights)),
    )  # fmt: skip
