"""The ladder from independent units to a Boltzmann machine, which annealing and tempering climb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

Beta = float | Tensor
"""An inverse temperature from 0 to 1: a number, or one for each chain, of shape (..., 1)."""


@dataclass(frozen=True)
class Tempered:
    """Machines between independent units (beta = 0) and a machine (beta = 1), by their parameters.

    At beta the weights are beta W, the visible biases beta a + (1 - beta) a0 and the hidden ones beta b, so that the
    inputs of all units are beta times the machine's plus (1 - beta) times the base's, and no weight has to be scaled.
    With bits this is the geometric path from the base's density to the machine's over (v, h).

    Args:
        machine: at beta = 1.
        base: (D,) a0, the visible biases at beta = 0.

    Source: Salakhutdinov and Murray (2008), "On the quantitative analysis of deep belief networks", section 4.1.
    """

    machine: RestrictedBoltzmann
    base: Tensor

    def free_energy(self, v: Tensor, beta: Beta, hidden_input: Tensor | None = None) -> Tensor:
        """F(v) at beta, in nats, from (..., D) to (...); `hidden_input` is the machine's, if it is known already."""
        machine = self.machine
        inputs = machine.hidden_input(v) if hidden_input is None else hidden_input
        summed = machine.hidden.cumulant(beta * inputs, beta * machine.hidden_bias_of(v))
        return machine.visible.energy(v, self._visible_bias(beta)) - summed

    def gain(self, v: Tensor, beta: Beta, following: Beta, hidden_input: Tensor) -> Tensor:
        """What the log-weight of v gains from one temperature to the next, F(v) there less F(v) here: (...,) float64.

        The two are large and close to each other, so that the difference is taken of the terms, not of the sums.
        """
        machine, bias = self.machine, self.machine.hidden_bias_of(v)
        summed = machine.hidden.cumulant_change(
            beta * hidden_input, following * hidden_input, beta * bias, following * bias
        )
        if machine.visible.linear:
            return summed + machine.visible.energy(v, (beta - following) * (machine.visible_bias - self.base))
        here, there = (machine.visible.energy(v.double(), self._visible_bias(b).double()) for b in (beta, following))
        return summed + (here - there)

    def gibbs(self, v: Tensor, beta: Beta, hidden_input: Tensor | None = None) -> Tensor:
        """One block Gibbs step at beta, from (..., D) to (..., D)."""
        machine = self.machine
        inputs = machine.hidden_input(v) if hidden_input is None else hidden_input
        h = machine.hidden.sample(beta * inputs)
        return machine.visible.sample(
            beta * machine.visible_input(h) + (1 - beta) * self.base, machine.visible.length(v)
        )

    def start(self, count: int, length: Tensor | None = None) -> Tensor:
        """Draw (count, D) at beta = 0, exactly."""
        return self.machine.visible.sample(self.base.expand(count, -1), length)

    def log_partition_of_base(self, length: Tensor | None = None) -> Tensor:
        """log Z at beta = 0, float64: a scalar, or that of each length."""
        machine, zeros = self.machine, torch.zeros_like(self.machine.hidden_bias, dtype=torch.float64)
        base = self.base.double()
        return machine.visible.cumulant(base, base, length) + machine.hidden.cumulant(zeros, zeros)

    def _visible_bias(self, beta: Beta) -> Tensor:
        return beta * self.machine.visible_bias + (1 - beta) * self.base
