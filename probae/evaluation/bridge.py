"""log Z along a ladder of temperatures whose chains exchange their states: Bennett's estimate for each pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from tqdm import tqdm

from probae import checks
from probae.data.protocol import Protocol
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.tempered import Tempered
from probae.engine.recording import given
from probae.evaluation.ais import base_bias
from probae.evaluation.doubts import TOLERANCE, hidden_starts, states_bound
from probae.evaluation.estimate import Estimate
from probae.inference.tempering import ParallelTempering

FEWEST_SWAPS = 0.1
"""The least mean probability with which any two neighbours have to exchange, for an estimate to be reliable."""

_GROUPS = 8


@torch.no_grad()
def bridge_log_partition(
    machine: RestrictedBoltzmann,
    base_rates: Tensor,
    *,
    num_chains: int = 64,
    num_temperatures: int = 32,
    rounds: int = 1000,
    length: int | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate log Z from parallel tempering, by Bennett's acceptance ratio between neighbouring temperatures.

    Chains at inverse temperatures from 0 (independent units with the data's means) to 1 (the machine) exchange their
    states. With u = log p*_{i+1}(v) - log p*_i(v) at the states of level i, and d the negative of it at those of level
    i + 1, r = log Z_{i+1} - log Z_i solves

        sum_i sigmoid(u - r) = sum_{i+1} sigmoid(d + r),

    and log Z is that of independent units plus all r. A quarter of the rounds comes before, in which the temperatures
    move towards equal probabilities of exchange.

    Half of the chains start at the data's means and half at random hidden units. The estimate is `reliable` if both
    halves, each by itself, agree to `TOLERANCE` nats and three standard errors, each pair of neighbours exchanges at
    least every tenth time, states come through the whole ladder, and no states were found that alone weigh more. The
    standard error is a jackknife over groups of chains, which know nothing of each other.

    Args:
        machine: its parameters only; nothing is differentiated.
        base_rates: (D,) means of the visible units.
        num_chains: at each temperature, at least 16.
        num_temperatures: at least 2.
        rounds: exchanges and Gibbs steps whose states count.
        length: of documents, in words; for counts only.
        progress: whether to show a progress bar.

    Returns:
        log Z in nats, neither a lower nor an upper bound.

    Raises:
        ArgumentError: for arguments of the wrong shape or range.

    Source: Bennett (1976), "Efficient estimation of free energy differences from Monte Carlo data"; Desjardins,
    Courville and Bengio (2011), "On tracking the partition function", for machines.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> estimate = bridge_log_partition(machine, torch.full((3,), 0.5), num_temperatures=4, rounds=20)
        >>> round(estimate.value, 4)  # log 2^5
        3.4657
    """
    checks.positive_int("num_chains", num_chains, minimum=2 * _GROUPS)
    checks.positive_int("num_temperatures", num_temperatures, minimum=2)
    checks.positive_int("rounds", rounds, minimum=2)
    ladder = ParallelTempering(1, num_chains, num_temperatures, adaptation=0.05)
    ladder.allocate(machine)
    path = Tempered(machine, base_bias(machine, base_rates))
    words = None if length is None else machine.weight.new_full((num_chains,), float(length))
    elsewhere = hidden_starts(machine, num_chains, words)
    near = torch.arange(num_chains, device=path.base.device).unsqueeze(1) % 2 == 0
    ladder.start(lambda count: torch.where(near, path.start(count, words), elsewhere), path.base)
    up, down, floor = _climb(ladder, machine, rounds, progress)
    log_base = path.log_partition_of_base(None if words is None else words[:1]).double().item()
    groups = torch.arange(num_chains, device=up.device) // 2 % _GROUPS
    left_out = torch.stack([bennett(up[:, :, groups != g], down[:, :, groups != g]).sum() for g in range(_GROUPS)])
    value = log_base + bennett(up, down).sum().item()
    stderr = math.sqrt((_GROUPS - 1) * left_out.var(correction=0).item())
    halves = [log_base + bennett(up[:, :, part::2], down[:, :, part::2]).sum().item() for part in (0, 1)]
    reliable, reason = _verdict(ladder, value, stderr, halves, floor)
    return Estimate(
        value,
        quantity="log Z",
        direction="estimate",
        stderr=stderr,
        lower=floor if math.isfinite(floor) else None,
        reliable=reliable,
        reason=reason,
        protocol=Protocol().using(f"bridges between {num_temperatures} temperatures over {rounds} rounds", num_chains),
    )


def bennett(up: Tensor, down: Tensor) -> Tensor:
    """The log of the ratio of Z between neighbours, (P,) float64, from as many states of either.

    Args:
        up: (S, P, M) log p*_{i+1} - log p*_i at states of level i, for each pair i.
        down: (S, P, M) log p*_i - log p*_{i+1} at states of level i + 1.

    Example:
        >>> bennett(torch.full((1, 1, 2), 0.5), torch.full((1, 1, 2), -0.5))
        tensor([0.5000], dtype=torch.float64)
    """
    up, down = (x.transpose(0, 1).flatten(1).double() for x in (up, down))
    low = torch.minimum(up.min(1).values, -down.max(1).values) - 1
    high = torch.maximum(up.max(1).values, -down.min(1).values) + 1
    for _ in range(60):  # the two sums cross once
        middle = (low + high) / 2
        above = (up - middle.unsqueeze(1)).sigmoid().sum(1) > (down + middle.unsqueeze(1)).sigmoid().sum(1)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


def _climb(
    ladder: ParallelTempering, machine: RestrictedBoltzmann, rounds: int, progress: bool
) -> tuple[Tensor, Tensor, float]:
    """Run the chains: `up` and `down` of all pairs, (rounds, R - 1, M), and what the last level's states weigh."""
    v, ups, downs, before = given(ladder.chains), [], [], rounds // 4
    path, found, states = Tempered(machine, ladder.base), -math.inf, []
    for number in tqdm(range(before + rounds), desc="bridge", disable=not progress, leave=False):
        if number == before:
            ladder.adaptation = 0.0
            ladder.rounds.zero_()
            ladder.round_trips.zero_()
        v = ladder.move(machine, v)
        if number >= before:
            inputs, betas = machine.hidden_input(v), ladder.betas.view(-1, 1, 1)
            ups.append(path.gain(v[:-1], betas[:-1], betas[1:], inputs[:-1]).to(v.dtype))
            downs.append(path.gain(v[1:], betas[1:], betas[:-1], inputs[1:]).to(v.dtype))
            states.append(v[-1])
        if len(states) * len(v[-1]) > 2**14 or number + 1 == before + rounds:
            found, states = max(found, states_bound(machine, torch.cat(states))), []
    return torch.stack(ups), torch.stack(downs), found


def _verdict(
    ladder: ParallelTempering, value: float, stderr: float, halves: list[float], floor: float
) -> tuple[bool, str]:
    """Whether nothing speaks against the estimate, and in words what does."""
    rate, trips = ladder.swap_rates.min().item(), ladder.round_trips.item() / ladder.num_chains
    said = (
        f"neighbours exchange with probabilities from {rate:.2f} on, states came through the ladder {trips:.1f} times "
        f"a chain; chains from the data's means give {halves[0]:.2f}, from random hidden units {halves[1]:.2f}"
    )
    against = []
    if rate < FEWEST_SWAPS:
        against.append("neighbours hardly exchange: take more num_temperatures")
    if trips < 1:
        against.append("states do not come through the ladder: take more rounds")
    if abs(halves[0] - halves[1]) > TOLERANCE + 6 * min(stderr, TOLERANCE):  # each half has about twice the variance
        against.append("chains from different starts disagree")
    if floor > value + 3 * stderr + 1e-3:
        against.append(f"states were found that alone weigh more: log Z >= {floor:.2f}")
    return not against, "; ".join([*against, said])
