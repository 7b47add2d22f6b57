"""Annealed importance sampling: log Z of a Boltzmann machine, from independent units by small steps, and back again."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
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
    spacing: str = "equal",
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
      two disagree, by all chains together and by single ones that were at heavier states than the way up has found;
    - of discrete units, all distinct states that any chain has found: the sum of exp(-F) over them is a part of Z.

    It is `reliable` if at least a tenth of the weights count (their effective sample size), both ways back agree with
    the way up to `TOLERANCE` nats and three standard errors, hardly any chain was at states much heavier than the way
    up has found, and no states were found that alone weigh more.

    Args:
        machine: its parameters only; nothing is differentiated.
        base_rates: (D,) means of the visible units; rates of bits are moved a little inward from 0 and 1.
        num_chains: independent chains, at least 2.
        num_temperatures: so many steps from 0 to 1, or the inverse temperatures themselves, from 0 up to 1.
        spacing: "equal", or "adaptive": steps of such sizes that the chains' weights part equally much at each, as seen
            by other chains in a tenth of so many steps, or in 20.
        examine: whether to examine the estimate, which takes about three times as long as to make it; without, it is
            not called reliable.
        length: of documents, in words; for counts only.
        progress: whether to show a progress bar.
        precision: "bf16" for matrix products in bfloat16, which makes it the log Z of a machine whose weights are so
            rounded; log-weights are summed in float64 in any case.
        compile: how a step runs, see `pb.fit`; "auto" records and compiles where it pays.

    Returns:
        log Z in nats; `stderr` by the delta method, or half of what the way up and a way back differ by, if that is
        more, since weights that agree do not show their bias; `ess` of the chains' weights; `lower` is the estimate, or
        what the states that were found weigh, if that is more; `upper` is the way back from annealed starts, whose
        sources `reason` states.

    Raises:
        ArgumentError: for arguments of the wrong shape or range.

    Source: Neal (2001), "Annealed importance sampling"; Salakhutdinov and Murray (2008), "On the quantitative analysis
    of deep belief networks", section 4.1; Grosse, Maddison and Salakhutdinov (2013), "Annealing between distributions
    by averaging moments", for the best spacing; Burda, Grosse and Salakhutdinov (2015), "Accurate and conservative
    estimates of MRF log-likelihood using reverse annealing".

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
    way, adapt = check_way(compile, path.base.device), _check_spacing(spacing, num_temperatures)
    steps = (3.5 if examine else 1.0) * len(betas) + (max(len(betas) // PILOT[0], PILOT[1]) if adapt else 0)
    with tqdm(total=round(steps), desc="AIS", disable=not progress, leave=False) as bar:
        ladder = Ladder(path, betas, bar, way=way, precision=precision)
        if adapt:
            ladder.adapt(path.start(num_chains, words))
        log_weights, ends = ladder.up(path.start(num_chains, words))
        log_base = path.log_partition_of_base(words).double()
        value, stderr, ess = log_mean_weight(log_weights + log_base)
        doubts = Doubts(value, stderr, ess, num_chains, highest=(log_weights + log_base).max().item())
        if examine:
            doubts.ran = True
            starts = {
                "annealed from units without bias": annealed_starts(machine, betas[::2], num_chains, words, bar),
                "started at random hidden units": hidden_starts(machine, num_chains, words),
            }
            for source, start in starts.items():
                way_back, settled = ladder.down(start)
                mean, error, _ = log_mean_weight(way_back - log_base)
                doubts.returned(source, -mean, error, log_base - way_back)
                ends = torch.cat([ends, settled])
            doubts.found(states_bound(machine, torch.cat([ends, *starts.values()])))
    reliable, reason = doubts.verdict()
    return Estimate(
        value,
        quantity="log Z",
        direction="lower",
        stderr=doubts.error,
        ess=ess,
        lower=doubts.lower,
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


def _check_spacing(spacing: str, num_temperatures: int | Tensor) -> bool:
    """Whether the temperatures are to be adapted."""
    adapt = checks.choice("spacing", spacing, ("equal", "adaptive")) == "adaptive"
    if adapt and isinstance(num_temperatures, Tensor):
        raise ArgumentError("spacing", "'equal' beside inverse temperatures that are given", spacing)
    return adapt


_ROUNDING = 5e-3
"""Of a step's gain, which is a sum of small differences: how far two ways to run it may part by rounding."""

PILOT = 10, 20
"""Steps of an adapted ladder for each of the pilot's, and how many it takes at least."""

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
        low = precision == "bf16" and path.machine.weight.dtype == torch.float32
        self.path = _with_rounded_weights(path) if low else path
        self.bar, self.products = bar, products(precision)
        self.rungs = self._pairs(betas)
        self._left = 3.0 * len(self.rungs)
        self._players: dict[Any, Player] = {
            step: Player(
                step, Programs(step, step, step), device, way=way, outlook=lambda: self._left, tolerance=_ROUNDING
            )
            for step in (self._up, self._down)
        }

    @torch.no_grad()
    def up(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Anneal from states (C, D) at the first temperature to the last: log-weights (C,) float64, and the states.

        From exact starts the mean weight is the ratio of the last Z to the first.
        """
        log_weights = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        for rung in self.rungs:
            v, gain = self._step(self._up, v, rung)
            log_weights += gain
        return log_weights, v

    @torch.no_grad()
    def down(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Anneal from states (C, D) at the last temperature to the first: log-weights (C,) float64, and the first move.

        From exact starts the mean weight is the ratio of the first Z to the last. A chain moves before it is weighed:
        the kernels are reversible, so that this is the way up, backwards.
        """
        log_weights, first = torch.zeros(len(v), dtype=torch.float64, device=v.device), None
        for rung in self.rungs.flip(0, 1):
            v, gain = self._step(self._down, v, rung)
            log_weights += gain
            first = v if first is None else first
        return log_weights, v if first is None else first

    @torch.no_grad()
    def adapt(self, v: Tensor) -> None:
        """Move the temperatures to where the gains of chains from states (C, D), at the first one, part equally much.

        With s(beta) the standard deviation over the chains of what they gain, by a step's size, the steps have equal
        parts of the integral of s, a tenth of its mean added everywhere. Annealing over temperatures that other chains
        have chosen is as unbiased as over given ones.
        """
        even = torch.linspace(0, 1, max(len(self.rungs) // PILOT[0], PILOT[1]) + 1, dtype=torch.float64).tolist()
        spreads = []
        for rung in self._pairs(even):
            v, gain = self._step(self._up, v, rung)
            spreads.append(gain.double().std())
        spread = torch.stack(spreads).cpu().numpy()
        passed = np.concatenate([[0.0], np.cumsum(spread + 0.1 * spread.mean() + 1e-12)])
        betas = np.interp(np.linspace(0, 1, len(self.rungs) + 1), passed / passed[-1], even)
        self.rungs = self._pairs([0.0, *betas[1:-1].tolist(), 1.0])

    def _pairs(self, betas: list[float]) -> Tensor:
        return torch.tensor(list(pairwise(betas)), dtype=torch.float64, device=self.path.base.device)

    def _step(self, step: Step, v: Tensor, rung: Tensor) -> tuple[Tensor, Tensor]:
        v, gain = map(given, self._players[step](Batch((v, rung), {})))
        self._left -= 1
        self.bar.update()
        return v, gain

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
