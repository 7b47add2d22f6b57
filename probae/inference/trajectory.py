"""Trajectory tempering: the ladder of replica exchange is the machine's own past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError
from probae.inference.negative_phases import machine_parameters
from probae.inference.tempering import ReplicaExchange, neighbours

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

_PARAMETERS = "weights", "visible_biases", "hidden_biases"


@final
class TrajectoryTempering(ReplicaExchange):
    """Trajectory tempering: chains under the machine exchange their states with chains under what it once was.

    The ladder goes from independent units with the data's means (once `prepare` has seen data) over machines that
    training has passed to the machine itself; see `ReplicaExchange` for the exchange. s is the mean of -F over the
    machine's own chains. Training learns one mode after another, most of them by continuous transitions, so that
    neighbours on this ladder overlap where neighbouring temperatures may not: with temperature, modes change their
    weights abruptly.

    A machine is kept when its present and its newest kept state exchange with less than `threshold` probability (in a
    running mean). For it one has to go: the one whose two neighbours exchange most, by the product of its two rates;
    the first, independent units, never. The new one begins with copies of the machine's chains. So the ladder has a
    fixed size: at first all of it is the start.

    It must be there when training starts, for a trained machine has no past to climb. A training step costs about twice
    one of `PCD` with num_chains * num_machines chains; the buffers take num_machines - 1 times the parameters.

    Args:
        steps: rounds (exchange, then a Gibbs step) a training step.
        num_chains: M, the number of chains of each machine.
        num_machines: R, at least 3: independent units, the past and the present.
        threshold: the probability of exchange below which the present is kept.

    Attributes:
        weights, visible_biases, hidden_biases: (R - 1, D, H), (R - 1, D), (R - 1, H), what is kept, in any order.
        order: (R,) which of these each level is; the last one, R - 1, is the present machine.
        chains: (R, M, D), in that same order.
        swap_rates, round_trips, rounds: see `ReplicaExchange`; rates of levels, lowest first.

    Raises:
        ArgumentError: names an argument out of range; `allocate`, for units that learn a scale.

    Source: Bereux, Decelle, Furtlehner, Rosset and Seoane (2025), "Fast training and sampling of restricted Boltzmann
    machines" (arXiv 2405.15376), which samples a trained machine along its saved past.

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> phase = TrajectoryTempering(num_chains=64, num_machines=5)
        >>> phase.allocate(RestrictedBoltzmann(torch.zeros(784, 500), torch.zeros(784), torch.zeros(500)))
        >>> phase.chains.shape, phase.weights.shape
        (torch.Size([5, 64, 784]), torch.Size([4, 784, 500]))
    """

    smoothing: ClassVar[float] = 0.1

    weights: Tensor
    visible_biases: Tensor
    hidden_biases: Tensor
    order: Tensor

    def __init__(self, steps: int = 1, num_chains: int = 128, num_machines: int = 10, threshold: float = 0.25) -> None:
        super().__init__(steps, num_chains)
        self.num_machines = checks.positive_int("num_machines", num_machines, minimum=3)
        self.threshold = checks.real("threshold", threshold, low=0.0, high=1.0)

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Start all chains at units without a bias (fair coins, say), which also is the past, all of it."""
        if any(True for _ in machine.visible.parameters()):
            wanted = "another one beside a learned scale, which the machines of the past would not keep"
            raise ArgumentError("negative_phase", wanted, "trajectory tempering")
        self._allocate(machine, self.num_machines)
        for name, now in zip(_PARAMETERS, machine_parameters(machine), strict=True):
            self.register_buffer(name, torch.zeros_like(now).repeat(self.num_machines - 1, *[1] * now.dim()))
        self.register_buffer("order", torch.arange(self.num_machines, device=machine.weight.device))

    def _start(self, base: Tensor) -> None:
        weights, visible_biases, hidden_biases = self._past
        weights.zero_()
        visible_biases.copy_(base)
        hidden_biases.zero_()

    @property
    def config(self) -> dict[str, Any]:
        return {
            "name": "trajectory_tempering", "steps": self.steps, "num_chains": self.num_chains,
            "num_machines": self.num_machines, "threshold": self.threshold,
        }  # fmt: skip

    @property
    def _past(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weights, self.visible_biases, self.hidden_biases

    def move(self, machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
        weights, visible_biases, hidden_biases = self._past
        past = machine.with_parameters(weights, visible_biases.unsqueeze(1), hidden_biases.unsqueeze(1))
        partner = self.order[neighbours(self.rounds, len(self.order))][self.order.argsort()]
        offered = v[partner]
        inputs, others = ([past.hidden_input(x[:-1]), machine.hidden_input(x[-1:])] for x in (v, offered))
        gain = torch.cat([
            m.free_energy(mine, own) - m.free_energy(theirs, other)
            for m, mine, own, theirs, other in zip(
                (past, machine), (v[:-1], v[-1:]), inputs, (offered[:-1], offered[-1:]), others, strict=True
            )
        ])  # fmt: skip
        accepted, _, _ = self._exchange(gain, partner, self.order)
        h = machine.hidden.sample(torch.where(accepted, torch.cat(others), torch.cat(inputs)))
        field = torch.cat([past.visible_input(h[:-1]), machine.visible_input(h[-1:])])
        return machine.visible.sample(field, machine.visible.length(v))

    def _keep(self, machine: RestrictedBoltzmann, chains: Tensor) -> None:
        """Keep the present machine in place of a past one, if it is far enough from the newest."""
        rates, past = self.swap_rates, torch.arange(len(self.swap_rates), device=self.order.device)
        keep = rates[-1:] < self.threshold
        bridged, which = (rates[:-1] * rates[1:]).max(0, keepdim=True)
        leaves = which + 1  # the level: the first stays
        place = self.order.index_select(0, leaves)
        later = past + ((past >= leaves) & keep)
        merged = torch.cat([rates, torch.ones_like(bridged)])[later]
        self.swap_rates.copy_(torch.where((past == which) & keep, bridged, merged))
        self.order[:-1] = torch.cat([self.order[:-1], place])[later]
        for kept, now in zip(self._past, machine_parameters(machine), strict=True):
            overwrite(kept, place, now.unsqueeze(0), keep)
        for kept in (chains, self.fresh):
            overwrite(kept, place, kept[-1:].clone(), keep)


def overwrite(kept: Tensor, place: Tensor, new: Tensor, condition: Tensor) -> None:
    """Put `new`, (1, ...), into `kept`, (K, ...), at `place`, (1,), if the condition, (1,), holds; in place."""
    condition = condition.view(-1, *[1] * (new.dim() - 1))
    kept.index_copy_(0, place, torch.where(condition, new, kept.index_select(0, place)))
