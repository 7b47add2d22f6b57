"""What a Boltzmann machine's log-probabilities lack: log Z, by name of the method, or a monitor that does without."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.data.protocol import Protocol
from probae.distributions.enumeration import exact_log_partition, num_states
from probae.distributions.finite import check_finite, is_gaussian
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units.functions import softplus
from probae.errors import ArgumentError, NotPreparedError
from probae.evaluation.ais import ais_log_partition
from probae.evaluation.bridge import bridge_log_partition
from probae.evaluation.estimate import Estimate

SAMPLERS = {"ais": ais_log_partition, "bridge": bridge_log_partition}

__all__ = ["exact_log_partition", "log_partition", "pseudo_log_likelihood"]


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
        NotPreparedError: for AIS or bridges without base rates.

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
    if checks.choice("method", method, ("exact", *SAMPLERS)) == "exact":
        checks.options(options, exact_log_partition, without=("machine", "length"))
        return _exact(machine, length, **options)
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


@torch.no_grad()
def pseudo_log_likelihood(machine: RestrictedBoltzmann, v: Tensor, *, num_bits: int = 8) -> Tensor:
    """A cheap stochastic estimate of log PL(v) = sum_i log p(v_i | all other v), which needs no log Z.

    log p(v_i | rest) = -softplus(F(v) - F(v with bit i flipped)); each example gets D / K times the sum over K random
    bits i. Unbiased for each example, and exact for K = D. Its variance is kept low: bits are dealt out like cards, so
    that no example gets one twice and over the whole batch each bit is used equally often, give or take one; and as a
    flip shifts v'W by one row of W, all bits together cost about one matrix product.

    It is a monitor, not a likelihood, and can prefer the wrong model.

    Args:
        machine: its parameters only; nothing is differentiated.
        v: (N, D) bits.
        num_bits: K, at most D of which are used.

    Returns:
        (N,) in nats, higher is better.

    Raises:
        DataError: for another shape or type of `v`.
        ArgumentError: if `num_bits` is not a positive integer.

    Source: Besag (1975), "Statistical analysis of non-lattice data"; one random bit an example: the deep learning
    tutorials of LISA lab (2008-2013).

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> pseudo_log_likelihood(machine, torch.zeros(1, 3))  # 3 log(1/2)
        tensor([-2.0794])
    """
    size = machine.visible_bias.numel()
    bits = min(checks.positive_int("num_bits", num_bits), size)
    return flip_scores(machine, checks.examples("v", v, (size,)).to(machine.weight), bits)


def flip_scores(machine: RestrictedBoltzmann, v: Tensor, bits: int = 1) -> Tensor:
    """The pseudo-log-likelihood of bits (N, D), unchecked: no value is looked at, so that it can be recorded."""
    size = machine.visible_bias.numel()
    deck = torch.randperm(size, device=v.device)
    first = torch.arange(len(v), device=v.device) * bits
    inputs = torch.addmm(machine.hidden_bias, v, machine.weight)
    energy = softplus(inputs).sum(-1)
    total = torch.zeros_like(energy)
    for card in range(bits):
        chosen = deck[(first + card) % size]
        change = 1 - 2 * v.gather(1, chosen.unsqueeze(1))
        flipped = softplus(torch.addcmul(inputs, change, machine.weight[chosen])).sum(-1)
        total -= softplus(flipped - energy + change.squeeze(1) * machine.visible_bias[chosen])
    return total * (size / bits)


@torch.no_grad()
def conditional_log_probs(machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
    """log p(v_i | all other v) of each bit, exactly: (N, D) for bits (N, D), unchecked. Their sum is log PL(v).

    It takes D times as long as the free energy, in memory for one of them.
    """
    inputs = torch.addmm(machine.hidden_bias, v, machine.weight)
    energy, change = softplus(inputs).sum(-1), 1 - 2 * v
    flipped = [softplus(torch.addcmul(inputs, change[:, i, None], row)).sum(-1) for i, row in enumerate(machine.weight)]
    return -softplus(torch.stack(flipped, -1) - energy.unsqueeze(-1) + change * machine.visible_bias)
