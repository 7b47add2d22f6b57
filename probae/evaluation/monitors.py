"""What judges a Boltzmann machine while it trains, where its log Z is not known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from probae.distributions.enumeration import exact_log_partition, has_exact
from probae.distributions.finite import check_finite
from probae.distributions.rbm import RestrictedBoltzmann
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor, mean_over
from probae.evaluation.partition import log_partition
from probae.evaluation.pseudo_likelihood import has_conditionals, pseudo_scores
from probae.inference.negative_phases import Exact

_BUDGET = 2**26  # evaluations of a unit for an exact log Z after each epoch: a fraction of a second


def machine_monitor(distribution: Callable[[], RestrictedBoltzmann], rows: Callable[[Tensor], Tensor]) -> Monitor:
    """The monitor of a machine whose parameters change.

    The exact log-likelihood where that takes a fraction of a second. Else the one with the log Z that the machine's
    running chains have kept, if it has such. Else the pseudo-likelihood of bits and categorical units. Else
    log p(v given E[h given v]): how well the hidden means restore the data. The first alone is a likelihood beyond
    doubt, so that by the others no epoch is chosen.

    Args:
        distribution: gives the machine as it is now.
        rows: gives the examples of a batch, checked and as (N, D).
    """
    machine = distribution()

    def examples(batch: Batch) -> Tensor:
        return rows((batch.args[0] if batch.args else batch.kwargs["x"]).flatten(1))

    def exact(batches: Any) -> Tensor:
        machine = distribution()
        check_finite(machine)
        log_z = None if machine.visible.counts else exact_log_partition(machine)
        return mean_over(batches, lambda batch: exact_scores(machine, examples(batch), log_z).mean())

    def running(batches: Any) -> Tensor:
        machine = distribution()
        log_z = log_partition(machine, "running").value
        return mean_over(batches, lambda batch: -machine.free_energy(examples(batch)).mean()) - log_z

    if has_exact(machine, _BUDGET // max(machine.weight.shape)):
        return Monitor("log_likelihood", exact)
    if machine.running is not None:
        return Monitor("running_log_likelihood", running, selects=False)
    name, scores = "reconstruction", restoration_scores
    if has_conditionals(machine):
        name, scores = "pseudo_likelihood", pseudo_scores
    return Monitor.of_scores(name, lambda batch: scores(distribution(), examples(batch)).mean(), selects=False)


def exact_scores(machine: RestrictedBoltzmann, v: Tensor, log_z: Tensor | None = None) -> Tensor:
    """log p(v), (N,) in nats; log Z by enumeration, for each document's length, unless it is given."""
    score = machine.visible.log_orders(v) - machine.free_energy(v)
    return score - (Exact()(machine, v) if log_z is None else log_z)


def restoration_scores(machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
    """log p(v given E[h given v]), (N,) in nats: how well the hidden means restore the values; no likelihood."""
    length, h = machine.visible.length(v), machine.hidden_mean(v)
    input = machine.visible_input(h)
    paired = (machine.visible.statistic(v) * (input - machine.visible_bias)).sum(-1)
    own = machine.visible.energy(v, machine.visible_bias)
    return paired - own - machine.visible.cumulant(input, machine.visible_bias, length)
