"""Exact log Z: all states of a machine's smaller discrete side in one pass of flat memory, or a closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probae import checks
from probae.distributions.finite import gaussian_log_partition, is_gaussian
from probae.errors import ArgumentError

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

MAX_UNITS = 20
"""The largest number of bits whose states are enumerated unasked; other units as far as they have as many states."""

LIMIT = 25
"""The largest number of bits whose states are enumerated at all."""

_CELLS = 2**18


def num_states(machine: RestrictedBoltzmann) -> int | None:
    """How many states have to be enumerated: those of the side that has fewer; None if neither has finitely many."""
    return min((count for count in (machine.visible.num_states, machine.hidden.num_states) if count), default=None)


def has_exact(machine: RestrictedBoltzmann, max_states: int = 2**MAX_UNITS) -> bool:
    """Whether log Z takes no more states than that, or none, in closed form."""
    count = num_states(machine)
    return is_gaussian(machine) or (count is not None and count <= max_states)


def check_enumerable(machine: RestrictedBoltzmann) -> int:
    """The number of states of the machine's smaller side, if they can be enumerated.

    Raises:
        ArgumentError: if there are more than 2^LIMIT, or infinitely many.
    """
    count = num_states(machine)
    if count is None or count > 2**LIMIT:
        sides = (
            f"{' x '.join(map(str, machine.weight.shape))} {_kind(machine.visible)} and {_kind(machine.hidden)} units"
        )
        wanted = f'a machine with at most 2^{LIMIT} states on one side, such as {LIMIT} bits, for "exact"'
        hint = 'Use method="ais" for log Z, and PCD() or CD() as the negative phase'
        raise ArgumentError("method", wanted, sides, hint)
    return count


def exact_log_partition(
    machine: RestrictedBoltzmann, *, length: Tensor | None = None, chunk_size: int | None = None
) -> Tensor:
    """The exact log Z of a machine, with its exact gradient; where all units are Gaussian, in closed form.

    log Z = log sum_u exp(-E(u) + C(input from u)), u the states of the smaller side and C the cumulant of the other;
    its gradient is gathered in the same pass, so that no graph over the states is kept. Cannot be differentiated twice.

    Args:
        machine: at most 2^25 states on its smaller side, or Gaussian units on both.
        length: (L,) of documents, in words: log Z for each; only for counts.
        chunk_size: states at a time; by default as many as fit a processor's cache.

    Returns:
        In nats, float64: a scalar, or (L,).

    Raises:
        ArgumentError: if the smaller side has too many states, or `chunk_size` is not a positive integer.

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> exact_log_partition(RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)))
        tensor(3.4657, dtype=torch.float64)
    """
    if is_gaussian(machine):
        return gaussian_log_partition(machine)
    count = check_enumerable(machine)
    by_visible = machine.visible.num_states == count
    rows = 1 if length is None else len(length)
    others = machine.weight.shape[1 if by_visible else 0] * rows
    size = max(1, _CELLS // others) if chunk_size is None else checks.positive_int("chunk_size", chunk_size)
    parameters = [machine.weight, machine.visible_bias, machine.hidden_bias]
    scales = [*machine.visible.parameters(), *machine.hidden.parameters()]
    wanted = torch.is_grad_enabled() and any(p.requires_grad for p in [*parameters, *scales])
    leaves = [p.detach().double().requires_grad_(wanted) for p in parameters]
    double, sums = machine.with_parameters(*leaves), _Sums(rows, [*leaves, *scales] if wanted else [], leaves[0])
    for start in range(0, count, size):
        numbers = torch.arange(start, min(start + size, count), device=machine.weight.device)
        with torch.set_grad_enabled(wanted):
            sums.add(_scores(double, numbers, by_visible, length).logsumexp(-1))
    value = sums.value
    if wanted:
        linear = sum(
            (g.to(p) * p).flatten(1).sum(1) for p, g in zip([*parameters, *scales], sums.gradients, strict=True)
        )
        value = value + (linear - linear.detach())  # type: ignore[union-attr]
    return value.squeeze(0) if length is None else value


class _Sums:
    """The log of a sum, and its gradient, from logs of parts of it, (rows,)."""

    def __init__(self, rows: int, sources: list[Tensor], like: Tensor) -> None:
        self.sources = sources
        self.value = like.new_full((rows,), -math.inf).detach()
        self.gradients = [source.new_zeros(rows, *source.shape) for source in sources]

    def add(self, part: Tensor) -> None:
        total = torch.logaddexp(self.value, part.detach())
        old, new = (self.value - total).exp(), (part.detach() - total).exp()
        for row in range(len(part) if self.sources else 0):
            terms = torch.autograd.grad(part[row], self.sources, retain_graph=row + 1 < len(part), allow_unused=True)
            for gradient, term in zip(self.gradients, terms, strict=True):
                gradient[row] *= old[row]
                if term is not None:
                    gradient[row] += term * new[row]
        self.value = total


def _scores(machine: RestrictedBoltzmann, numbers: Tensor, by_visible: bool, length: Tensor | None) -> Tensor:
    """The log of the unnormalized probability of each state, the other side summed out: (rows, states)."""
    if by_visible:
        return -machine.free_energy(machine.visible.states(numbers)).unsqueeze(0)
    h = machine.hidden.states(numbers)
    own, words = -machine.hidden.energy(h, machine.hidden_bias), None
    if length is not None:
        words = length.double().unsqueeze(-1)
        own = words * own
    return own + machine.visible.cumulant(machine.visible_input(h), machine.visible_bias, words).reshape(-1, len(h))


def _kind(units: object) -> str:
    return type(units).__name__.removesuffix("Units")
