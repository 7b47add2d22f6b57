"""Reasons to doubt an estimate of log Z: what is seen from starts that depend on neither the data nor the estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.tempered import Tempered

TOLERANCE = 0.3
"""Nats by which the ways up and back may differ, beside three standard errors of at most as much each."""

BEYOND, FEW = 3.0, 0.03
"""Chains on the way back may find more than `BEYOND` nats above all that the way up has found: at most such a share."""

SHARE = 0.1
"""Of the chains' weights that have to count: effective sample size over number of chains."""

SETTLING = 100
"""Gibbs steps that chains from random hidden units make before they are looked at."""


@dataclass
class Doubts:
    """What speaks against an estimate of log Z by annealing upwards.

    The mean over a way back is carried by chains in the modes that weigh least: where some of its starts lie in the
    mode that the way up has found, a mode that it has missed hardly shows in it, however heavy. Each chain by itself
    does show it. From exact starts those whose weights, inverted, are above all weights of the way up are as large a
    share of the chains as what was missed is of Z.

    Source: Crooks (1999), "Entropy production fluctuation theorem and the nonequilibrium work relation for free energy
    differences", equation 2, for single chains.

    Attributes:
        value, stderr, ess: of the estimate, in nats and chains.
        chains: their number.
        highest: the largest log-weight of the way up, log Z of the base included.
        ran: whether anything was examined.
        ways: log Z by the ways back with its standard error, by the source of their starts.
        beyond: the shares of their chains that come from states heavier than any that the way up has found.
        floor: a bound of log Z from below, by states that were found.
    """

    value: float
    stderr: float
    ess: float
    chains: int
    highest: float = math.inf
    ran: bool = False
    ways: dict[str, tuple[float, float]] = field(default_factory=dict)
    beyond: dict[str, float] = field(default_factory=dict)
    floor: float = -math.inf

    def returned(self, source: str, value: float, stderr: float, each: Tensor) -> None:
        """Take note of a way back: of log Z by all its chains together, and by each of them, (C,)."""
        self.ways[source] = value, stderr
        self.beyond[source] = (each > self.highest + BEYOND).double().mean().item()

    def found(self, floor: float) -> None:
        """Take note of what the states that were found weigh."""
        self.floor = floor

    @property
    def ceiling(self) -> float | None:
        """log Z by the way back from the first starts."""
        return next((value for value, _ in self.ways.values()), None)

    @property
    def error(self) -> float:
        """The standard error, or half of what the way up and a way back differ by, if that is more."""
        return max([self.stderr, *(abs(value - self.value) / 2 for value, _ in self.ways.values())])

    @property
    def lower(self) -> float:
        """The estimate, or what the states that were found weigh, where that is clearly more."""
        return self.floor if self.floor > self.value + 3 * self.stderr + 1e-3 else self.value

    def verdict(self) -> tuple[bool, str]:
        """Whether nothing was found, and in words what was."""
        weights = f"effective sample size {self.ess:.0f} of {self.chains} chains"
        if not self.ran:
            return False, f"not examined: forward AIS alone cannot see a mode that its chains never reach ({weights})"
        against, fine = [], [weights]
        if self.ess < SHARE * self.chains:
            against.append(f"few weights count ({weights}): take more num_temperatures")
        if self.lower > self.value:
            against.append(f"chains from elsewhere found states that alone weigh more: log Z >= {self.floor:.2f}")
        for source, (value, stderr) in self.ways.items():
            said = f"the way back of chains {source} gives {value:.2f} ± {stderr:.2g}"
            apart = abs(value - self.value) > TOLERANCE + 3 * min(math.hypot(self.stderr, stderr), TOLERANCE)
            (against if apart else fine).append(said)
            if self.beyond[source] > FEW:
                heavy = f"{self.beyond[source]:.0%} of the chains {source}"
                against.append(f"{heavy} were at states heavier than any that the way up has found")
        return not against, "; ".join(against or fine)


@torch.no_grad()
def annealed_starts(
    machine: RestrictedBoltzmann, betas: list[float], count: int, length: Tensor | None, bar: tqdm[Any]
) -> Tensor:
    """Chains (count, D) annealed from units without any bias to the machine, a Gibbs step at each temperature."""
    path = Tempered(machine, torch.zeros_like(machine.visible_bias))
    v = path.start(count, length)
    for _, beta in pairwise([*betas, 1.0]):
        v = path.gibbs(v, beta)
        bar.update()
    return v


@torch.no_grad()
def hidden_starts(machine: RestrictedBoltzmann, count: int, length: Tensor | None) -> Tensor:
    """Chains (count, D) from hidden units without bias, given a few Gibbs steps to settle."""
    h = machine.hidden.sample(machine.hidden_bias.new_zeros(count, machine.hidden.num_units))
    return machine.gibbs(machine.visible.sample(machine.visible_input(h), length), SETTLING)


@torch.no_grad()
def states_bound(machine: RestrictedBoltzmann, v: Tensor) -> float:
    """The log of the sum of exp(-F) over distinct states among (C, D): of discrete units a part of Z, else -inf.

    Documents count once for each order of their words.
    """
    if any(part.tail != "bounded" for part in machine.visible.parts):
        return -math.inf
    states = v.unique(dim=0)
    scores = -machine.free_energy(states).double() + machine.visible.log_orders(states)
    return scores.logsumexp(0).item()
