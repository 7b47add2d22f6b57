"""Annealed importance sampling: log Z of a Boltzmann machine, from independent units by small steps, and back again."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from probae import checks
from probae.data.protocol import Protocol
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.tempered import Tempered
from probae.engine.batches import Batch
from probae.engine.door import way as check_way
from probae.engine.player import Player
from probae.engine.precision import check_precision, products
from probae.engine.programs import Programs
from probae.engine.recording import given
from probae.errors import ArgumentError
from probae.evaluation.doubts import Doubts, annealed_starts, hidden_starts, states_bound
from probae.evaluation.estimate import Estimate


@torch.no_grad()
def ais_log_partition(
    machine: RestrictedBoltzmann,
    base_rates: Tensor,
    *,
    num_chains: int = 100,
    num_temperatures: int | Tensor = 1000,
    examine: bool = True,
    length: int | None = None,
    progress: bool = False,
    precision: str | None = None,
    compile: str = "auto",
) -> Estimate:
    """Estimate log Z by annealed importance sampling from independent units with the data's means.

    Z = Z_0 E[w], the weight w of a chain being the product of p_{t+1}(v_t) / p_t(v_t) along the machines p_t of
    `Tempered`, t from 0 to 1, each taken before v_t moves. For bits p_t(v) ~ exp((1 - t) r'v + t a'v +
    sum_j softplus(t (b_j + (v'W)_j))), r = logit(base rates).

    The mean weight is unbiased at any number of temperatures, so its logarithm is a lower bound in expectation. Weights
    that agree exclude no mode that the chains never reach, nor does the way back from states that the same chains, or
    the data, have reached. So the estimate is examined by what does not depend on either:

    - chains that start elsewhere, annealed from units without any bias, and at random hidden units, go the way back
      (reverse AIS). From exact samples of the machine it bounds log Z from above; from other starts it shows where the
      two disagree;
    - of discrete units, all distinct states that any chain has found: the sum of exp(-F) over them is a part of Z.

    It is `reliable` if at least a tenth of the weights count (their effective sample size), both ways back agree with
    the way up to `TOLERANCE` nats and three standard errors, and no states were found that alone weigh more.

    Args:
        machine: its parameters only; nothing is differentiated.
        base_rates: (D,) means of the visible units; rates of bits are moved a little inward from 0 and 1.
        num_chains: independent chains, at least 2.
        num_temperatures: steps of equal size from 0 to 1, or the inverse temperatures themselves, from 0 up to 1.
        examine: whether to examine the estimate, which takes about three times as long as to make it; without, it is
            not called reliable.
        length: of documents, in words; for counts only.
        progress: whether to show a progress bar.
        precision: "bf16" for matrix products in bfloat16; weights are summed in float64 in any case.
        compile: how a step runs, see `pb.fit`; "auto" records and compiles where it pays.

    Returns:
        log Z in nats; `stderr` by the delta method, `ess` of the chains' weights; `lower` is the estimate, or what the
        states that were found weigh, if that is more; `upper` is the way back from annealed starts, whose sources
        `reason` states.

    Raises:
        ArgumentError: for arguments of the wrong shape or range.

    Source: Neal (2001), "Annealed importance sampling"; Salakhutdinov and Murray (2008), "On the quantitative analysis
    of deep belief networks", section 4.1; Burda, Grosse and Salakhutdinov (2015), "Accurate and conservative estimates
    of MRF log-likelihood using reverse annealing".

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> estimate = ais_log_partition(machine, torch.full((3,), 0.5), num_chains=10, num_temperatures=5)
        >>> estimate.value  # log 2^5
        3.465...
        >>> estimate.reliable
        True
    """
    path, betas, words = _start(machine, base_rates, num_chains, num_temperatures, length)
    check_precision(precision, path.base.device)
    way = check_way(compile, path.base.device)
    with tqdm(total=round((3.5 if examine else 1) * len(betas)), desc="AIS", disable=not progress, leave=False) as bar:
        ladder = Ladder(path, betas, bar, way=way, precision=precision)
        log_weights, ends = ladder.up(path.start(num_chains, words))
        log_base = path.log_partition_of_base(words).double()
        value, stderr, ess = log_mean_weight(log_weights + log_base)
        doubts = Doubts(value, stderr, ess, num_chains)
        if examine:
            doubts.ran = True
            starts = {
                "annealed from units without bias": annealed_starts(machine, betas[::2], num_chains, words, bar),
                "started at random hidden units": hidden_starts(machine, num_chains, words),
            }
            for source, start in starts.items():
                way_back, settled = ladder.down(start)
                mean, error, _ = log_mean_weight(way_back - log_base)
                doubts.returned(source, -mean, error)
                ends = torch.cat([ends, settled])
            doubts.found(states_bound(machine, torch.cat([ends, *starts.values()])))
    reliable, reason = doubts.verdict()
    return Estimate(
        value,
        quantity="log Z",
        direction="lower",
        stderr=stderr,
        ess=ess,
        lower=max(value, doubts.floor),
        upper=doubts.ceiling,
        reliable=reliable,
        reason=reason,
        protocol=Protocol().using(f"AIS over {len(betas) - 1} temperatures", num_chains),
    )


@torch.no_grad()
def ais_log_weights(
    machine: RestrictedBoltzmann,
    base_rates: Tensor,
    *,
    num_chains: int = 100,
    num_temperatures: int | Tensor = 1000,
    length: int | None = None,
    progress: bool = False,
) -> Tensor:
    """The chains' log weights, in nats, float64 of shape (num_chains,); the mean of their exponentials estimates Z.

    Arguments, errors and source: see `ais_log_partition`.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> ais_log_weights(machine, torch.full((3,), 0.5), num_chains=2, num_temperatures=1).exp()
        tensor([32.0000, 32.0000], dtype=torch.float64)
    """
    path, betas, words = _start(machine, base_rates, num_chains, num_temperatures, length)
    with tqdm(total=len(betas), desc="AIS", disable=not progress, leave=False) as bar:
        log_weights, _ = Ladder(path, betas, bar).up(path.start(num_chains, words))
    return log_weights + path.log_partition_of_base(words).double()


def _start(
    machine: RestrictedBoltzmann, rates: Tensor, num_chains: int, num_temperatures: int | Tensor, length: int | None
) -> tuple[Tempered, list[float], Tensor | None]:
    """The path, its inverse temperatures, and each chain's length, if they are documents; all arguments checked."""
    checks.positive_int("num_chains", num_chains, minimum=2)
    betas = inverse_temperatures(num_temperatures)
    words = None if length is None else machine.weight.new_full((num_chains,), float(length))
    return Tempered(machine, base_bias(machine, rates)), betas, words


Step = Callable[[Batch], list[Tensor | None]]


class Ladder:
    """The steps between the machines of a path, run as fast as they go.

    Args:
        path: from the base to the machine.
        betas: inverse temperatures, from 0 up to 1.
        bar: of the progress.
        way: how a step runs, see `pb.fit(compile=)`.
        precision: of the matrix products, see `pb.fit(precision=)`; log-weights are summed in float64.
    """

    def __init__(
        self, path: Tempered, betas: list[float], bar: tqdm[Any], *, way: str = "eager", precision: str | None = None
    ) -> None:
        device = path.base.device
        self.path = _with_rounded_weights(path) if precision == "bf16" else path
        self.bar, self.products = bar, products(precision)
        self.rungs = torch.tensor(list(pairwise(betas)), dtype=torch.float64, device=device)
        self._left = 3.0 * len(self.rungs)
        self._players: dict[Any, Player] = {
            step: Player(step, Programs(step, step, step), device, way=way, outlook=lambda: self._left)
            for step in (self._up, self._down)
        }

    @torch.no_grad()
    def up(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Anneal from states (C, D) at the first temperature to the last: log-weights (C,) float64, and the states.

        From exact starts the mean weight is the ratio of the last Z to the first.
        """
        log_weights = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        for rung in self.rungs:
            v = self._step(self._up, v, rung, log_weights)
        return log_weights, v

    @torch.no_grad()
    def down(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Anneal from states (C, D) at the last temperature to the first: log-weights (C,) float64, and the first move.

        From exact starts the mean weight is the ratio of the first Z to the last. A chain moves before it is weighed:
        the kernels are reversible, so that this is the way up, backwards.
        """
        log_weights, first = torch.zeros(len(v), dtype=torch.float64, device=v.device), None
        for rung in self.rungs.flip(0, 1):
            v = self._step(self._down, v, rung, log_weights)
            first = v if first is None else first
        return log_weights, v if first is None else first

    def _step(self, step: Step, v: Tensor, rung: Tensor, log_weights: Tensor) -> Tensor:
        v, gain = map(given, self._players[step](Batch((v, rung), {})))
        log_weights += gain
        self._left -= 1
        self.bar.update()
        return v

    def _up(self, batch: Batch) -> list[Tensor | None]:
        v, (beta, following) = batch.args
        with self.products():
            inputs = self.path.machine.hidden_input(v)
            gain = self.path.gain(v, beta, following, inputs)
            return [self.path.gibbs(v, following, inputs), gain.to(v.dtype)]

    def _down(self, batch: Batch) -> list[Tensor | None]:
        v, (beta, lower) = batch.args
        with self.products():
            v = self.path.gibbs(v, beta)
            return [v, self.path.gain(v, beta, lower, self.path.machine.hidden_input(v)).to(v.dtype)]


def _with_rounded_weights(path: Tempered) -> Tempered:
    """The path with weights in bfloat16, which its products would otherwise round to that at each step."""
    machine = path.machine
    weight = machine.weight.to(torch.bfloat16)
    return Tempered(machine.with_parameters(weight, machine.visible_bias, machine.hidden_bias), path.base)


def log_mean_weight(log_weights: Tensor) -> tuple[float, float, float]:
    """The log of the mean weight, its standard error by the delta method, and the weights' effective sample size.

    Args:
        log_weights: (N,) in nats, N at least 2.

    Example:
        >>> log_mean_weight(torch.zeros(4, dtype=torch.float64))
        (0.0, 0.0, 4.0)
    """
    count, log_sum = len(log_weights), log_weights.logsumexp(0)
    relative = (log_weights - log_sum + math.log(count)).exp()
    stderr = relative.std() / math.sqrt(count)
    ess = (2 * log_sum - (2 * log_weights).logsumexp(0)).exp()
    return float(log_sum - math.log(count)), float(stderr), float(ess)


def base_bias(machine: RestrictedBoltzmann, rates: Tensor) -> Tensor:
    """The visible biases of independent units with the given means, (D,), of the machine's dtype and device.

    Raises:
        ArgumentError: names `base_rates`, for another shape or values that are no means of such units.
    """
    num_visible = machine.visible.num_units
    if not isinstance(rates, Tensor) or rates.shape != (num_visible,):
        got = f"shape {tuple(rates.shape)}" if isinstance(rates, Tensor) else type(rates).__name__
        raise ArgumentError("base_rates", f"a tensor of shape ({num_visible},)", got)
    machine.visible.check_means("base_rates", rates)
    return machine.visible.bias_for(rates.double()).to(machine.visible_bias)


def inverse_temperatures(num_temperatures: int | Tensor) -> list[float]:
    """From 0 up to 1: so many equal steps, or those given."""
    if not isinstance(num_temperatures, Tensor):
        steps = checks.positive_int("num_temperatures", num_temperatures)
        return torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
    betas = num_temperatures.detach().double()
    ordered = betas.dim() == 1 and len(betas) > 1 and bool((betas.diff() > 0).all())
    if not ordered or betas[0] != 0 or betas[-1] != 1:
        raise ArgumentError("num_temperatures", "increasing inverse temperatures from 0 to 1", num_temperatures)
    return betas.tolist()
