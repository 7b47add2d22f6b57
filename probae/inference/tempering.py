"""Replica exchange: chains on every rung of a ladder of machines, of which neighbours exchange their states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from probae import checks
from probae.distributions.bits import random_bits
from probae.distributions.tempered import Tempered
from probae.errors import NotPreparedError
from probae.inference import stepping
from probae.inference.negative_phases import NegativePhase, without_bias

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann


class ReplicaExchange(NegativePhase):
    """Chains under R machines, from independent units (level 0) to the machine itself (level R - 1).

    At each round neighbouring levels i and j exchange the states v_i and v_j of their chains with probability

        min(1, exp(F_i(v_i) + F_j(v_j) - F_i(v_j) - F_j(v_i))),

    the hidden units summed out, on even and odd pairs of levels in turn; then each chain takes a block Gibbs step under
    its own machine. Both leave every level's distribution as it is. So states wander along the ladder: what is drawn
    anew at its lower end reaches the machine in a mode that its own chains might never find. Chain m exchanges with the
    chains m of other levels only, which for counts have documents of the same length.

    Rounds take place once per training step, `steps` of them, as `PCD` moves. The particles are the chains of the last
    level. No tensor is looked at, and no loop runs over levels or chains, so that a step can be recorded.

    How to write a new ladder: `allocate` its buffers and call `_allocate` with the number of levels; write
    `_start(base)`, which puts independent units at its lower end, and `move(machine, v)`, which calls `_exchange`.

    Args:
        steps: rounds a training step.
        num_chains: M, the number of chains of each level.

    Attributes:
        chains: (R, M, D), by level, or as a ladder stores them.
        swap_rates: (R - 1,) the running mean of the probability that levels i and i + 1 exchange.
        round_trips: how many states have come to the last level from level 0, having left the last one before.
        rounds: how many there were.

    Source: Geyer (1991); Desjardins, Courville, Bengio, Vincent and Delalleau (2010), "Parallel tempering for training
    of restricted Boltzmann machines"; Syed, Bouchard-Cote, Deligiannidis and Doucet (2022), "Non-reversible parallel
    tempering", for even and odd pairs in turn.
    """

    smoothing: ClassVar[float] = 0.01
    """The weight of the latest probabilities in `swap_rates`, at least: early ones are plain means."""

    chains: Tensor | None
    swap_rates: Tensor
    round_trips: Tensor
    rounds: Tensor
    fresh: Tensor

    def __init__(self, steps: int, num_chains: int) -> None:
        super().__init__()
        self.steps = checks.positive_int("steps", steps)
        self.num_chains = checks.positive_int("num_chains", num_chains)
        self.register_buffer("chains", None)
        self._moved_at: int | None = None

    def _allocate(self, machine: RestrictedBoltzmann, num_levels: int) -> None:
        like = machine.weight.detach()
        self.chains = without_bias(machine, self.num_chains).repeat(num_levels, 1, 1)
        self.register_buffer("swap_rates", like.new_ones(num_levels - 1))
        for name in ("round_trips", "rounds"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64, device=like.device))
        fresh = torch.zeros(num_levels, self.num_chains, dtype=torch.bool, device=like.device)
        self.register_buffer("fresh", fresh)  # where a state last came from level 0 rather than from the last one

    def start(self, draw: Callable[[int], Tensor], base: Tensor) -> None:
        """Start all chains anew, those of one number at the same state on each level."""
        if self.chains is None:
            return
        self.chains.copy_(draw(self.num_chains))
        for counted in (self.round_trips, self.rounds, self.fresh):
            counted.zero_()
        self.swap_rates.fill_(1.0)
        self._start(base)

    @abstractmethod
    def _start(self, base: Tensor) -> None:
        """Let the ladder begin at independent units with these biases, (D,)."""

    @abstractmethod
    def move(self, machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
        """Exchange states between neighbours by `_exchange`, then take a Gibbs step: (R, M, D) to (R, M, D)."""

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The chains of the machine itself, (M, D), which move first if this is a new training step.

        Raises:
            NotPreparedError: before `allocate`.
        """
        if self.chains is None:
            name = type(self).__name__
            raise NotPreparedError(f"{name} has no chains yet: call allocate(machine), as the models' constructors do")
        if self.training and machine.training and self._moved_at != stepping.now():
            self._moved_at = stepping.now()
            with torch.no_grad():
                for _ in range(self.steps):
                    self.chains.copy_(self.move(machine, self.chains))
                self._keep(machine, self.chains)
        return self.chains[-1]

    def _keep(self, machine: RestrictedBoltzmann, chains: Tensor) -> None:
        """Change the ladder after a training step, if it keeps what the machine is now."""

    def _exchange(self, gain: Tensor, partner: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decide who exchanges, and count it.

        Args:
            gain: (R, M) F of its own state less F of the partner's (or a part of it whose sum over both is the same).
            partner: (R,) with whom the chains of each row may exchange; itself where there is none.
            order: (R,) the row of each level.

        Returns:
            (R, M, 1) True where a row takes its partner's state; (R - 1,) the mean probabilities, and which of them
            belong to this round.
        """
        chance = (gain + gain[partner]).clamp(max=0).exp()
        rows = torch.arange(len(partner), device=partner.device)
        accepted = random_bits(chance)[torch.minimum(rows, partner)] > 0.5  # one draw for both of a pair
        rates = chance.mean(1)[order][:-1].to(self.swap_rates)
        active = partner[order[:-1]] == order[1:]
        weight = (1 / (self.rounds // 2 + 1)).clamp(min=self.smoothing)
        self.swap_rates.copy_(torch.where(active, self.swap_rates.lerp(rates, weight.to(rates)), self.swap_rates))
        self.rounds += 1
        self._count(torch.where(accepted, self.fresh.index_select(0, partner), self.fresh), rows, order)
        return accepted.unsqueeze(-1), rates, active

    def _count(self, fresh: Tensor, rows: Tensor, order: Tensor) -> None:
        first, last = ((rows == level).unsqueeze(1) for level in (order[:1], order[-1:]))
        self.round_trips += (fresh & last).sum()
        self.fresh.copy_((fresh | first) & ~last)

    def extra_repr(self) -> str:
        """The configuration."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items() if name != "name")


@final
class ParallelTempering(ReplicaExchange):
    """Parallel tempering: replicas of the machine at inverse temperatures from 0 to 1 exchange their states.

    At beta the replica is `probae.distributions.tempered.Tempered`: independent units with the data's means (once
    `prepare` has seen data) at beta = 0, the machine at beta = 1; see `ReplicaExchange` for the exchange. s is the mean
    of -F over the chains at beta = 1.

    The inverse temperatures between move while the machine trains, towards equal probabilities of exchange: the log of
    the gap between i and i + 1 grows by `adaptation` times what its probability is above the mean of all. If
    `swap_rates` are near zero, there are too few temperatures. A training step costs as much as one of `PCD` with
    num_chains * num_temperatures chains, and some more for the exchange.

    Args:
        steps: rounds (exchange, then a Gibbs step) a training step.
        num_chains: M, the number of chains at each temperature.
        num_temperatures: R, at least 2.
        adaptation: how fast the temperatures move; 0 leaves them at equal distances.

    Attributes:
        chains: (R, M, D), at inverse temperatures `betas`, (R,), from 0 to 1.
        swap_rates, round_trips, rounds: see `ReplicaExchange`.

    Raises:
        ArgumentError: names an argument out of range.

    Source: Desjardins et al. (2010), "Parallel tempering for training of restricted Boltzmann machines"; Cho, Raiko and
    Ilin (2010), "Parallel tempering is efficient for learning restricted Boltzmann machines"; Miasojedow, Moulines and
    Vihola (2013), "An adaptive parallel tempering algorithm"; Syed et al. (2022), for equal probabilities.

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> phase = ParallelTempering(num_chains=64, num_temperatures=5)
        >>> phase.allocate(RestrictedBoltzmann(torch.zeros(784, 500), torch.zeros(784), torch.zeros(500)))
        >>> phase.chains.shape
        torch.Size([5, 64, 784])
        >>> phase.betas
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """

    betas: Tensor
    base: Tensor

    def __init__(
        self, steps: int = 1, num_chains: int = 128, num_temperatures: int = 10, adaptation: float = 0.02
    ) -> None:
        super().__init__(steps, num_chains)
        self.num_temperatures = checks.positive_int("num_temperatures", num_temperatures, minimum=2)
        self.adaptation = checks.real("adaptation", adaptation, low=0.0)

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Start all chains at units without a bias (fair coins, say), at temperatures of equal distances."""
        self._allocate(machine, self.num_temperatures)
        like = machine.visible_bias.detach()
        betas = torch.linspace(0, 1, self.num_temperatures, dtype=like.dtype, device=like.device)
        self.register_buffer("betas", betas)
        self.register_buffer("base", torch.zeros_like(like))

    def _start(self, base: Tensor) -> None:
        self.base.copy_(base)
        self.betas.copy_(torch.linspace(0, 1, len(self.betas)))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "name": "parallel_tempering", "steps": self.steps, "num_chains": self.num_chains,
            "num_temperatures": self.num_temperatures, "adaptation": self.adaptation,
        }  # fmt: skip

    def move(self, machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
        path, beta = Tempered(machine, self.base), self.betas.view(-1, 1, 1)
        partner = neighbours(self.rounds, len(self.betas))
        # The machine's inputs are the same at every temperature: they move, not the states that they come from.
        inputs = machine.hidden_input(v)
        gain = path.gain(v, beta, beta[partner], inputs)
        accepted, rates, active = self._exchange(gain, partner, torch.arange(len(partner), device=partner.device))
        if self.adaptation:
            self.betas.copy_(self._adapted(rates, active))
        return path.gibbs(v, beta, torch.where(accepted, inputs[partner], inputs))

    def _adapted(self, rates: Tensor, active: Tensor) -> Tensor:
        """The inverse temperatures, whose gaps grow where neighbours exchange more often than the mean."""
        excess = torch.where(active, rates - self.swap_rates.mean(), 0.0)
        logs = self.betas.diff().clamp(min=1e-6).log() + self.adaptation * excess
        inner = logs.softmax(0).cumsum(0)[:-1]
        return torch.cat([self.betas[:1], inner, self.betas[-1:]])


def neighbours(rounds: Tensor, count: int) -> Tensor:
    """With whom each level exchanges in a round, (count,): even pairs, then odd ones; itself where there is nobody.

    Example:
        >>> [neighbours(torch.tensor(rounds), 4).tolist() for rounds in (0, 1)]
        [[1, 0, 3, 2], [0, 2, 1, 3]]
    """
    levels = torch.arange(count, device=rounds.device)
    return torch.where((levels + rounds) % 2 == 0, levels + 1, levels - 1).clamp(0, count - 1)
