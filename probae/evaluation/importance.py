"""Log-likelihood by importance sampling from the guide, in memory that does not grow with samples or examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import Tensor

from probae.data.protocol import Protocol
from probae.engine.batches import Batch
from probae.engine.callbacks import wants_progress
from probae.engine.player import Player
from probae.engine.programs import Programs
from probae.engine.randomness import random_state, set_random_state
from probae.engine.recording import given
from probae.errors import SiteError
from probae.evaluation.bound import BoundAccumulator
from probae.evaluation.estimate import Estimate, mean_estimate
from probae.evaluation.pareto import SHORTEST_TAIL, pareto_khat, tail_size
from probae.inference.traces import Structure
from probae.inference.weights import Weights, check_structure

_EXAMPLES = 16  # at once, at least: a batch's overhead is paid for each chunk of its samples
_INDEPENDENT = "a log-likelihood is that of independent examples: all sites must lie in plates over the examples"


class Accumulator:
    """Running sums over the importance weights of a batch of examples, in float64.

    Keeps for each example log sum w of either half of the samples, log sum w^2 of all, and the largest weights for
    Pareto k-hat.

    Args:
        num_samples: K, how many weights each example will get; at least one chunk of them ends at K // 2.
    """

    def __init__(self, num_samples: int) -> None:
        self.num_samples, self.seen = num_samples, 0
        self.tail = tail_size(num_samples) + 1
        self.log_halves: list[Tensor] = []
        self.log_square = self.largest = torch.empty(0)

    def add(self, log_w: Tensor) -> None:
        """Take weights (k, N)."""
        log_w = log_w.double()
        if self.seen == 0:
            nothing = log_w.new_full(log_w.shape[1:], -math.inf)
            self.log_halves, self.log_square, self.largest = [nothing, nothing], nothing, log_w[:0]
        half = int(self.seen >= self.num_samples // 2)
        self.log_halves[half] = torch.logaddexp(self.log_halves[half], log_w.logsumexp(0))
        self.log_square = torch.logaddexp(self.log_square, (2 * log_w).logsumexp(0))
        self.largest = torch.cat([self.largest, log_w])
        if self.largest.shape[0] > self.tail:
            self.largest = self.largest.topk(self.tail, dim=0, sorted=False).values
        self.seen += log_w.shape[0]

    def finish(self) -> dict[str, Tensor]:
        """Per example: the log-mean-exp, the variance of its error, ESS, k-hat, and what doubling the samples gained.

        The gain is the value of all samples minus the mean value of the halves; infinite for a single sample, of which
        no variance is known either (NaN).
        """
        count = self.num_samples
        log_sum = torch.logaddexp(*self.log_halves)
        value = log_sum - math.log(count)
        ess = torch.where(log_sum == -math.inf, 0.0, (2 * log_sum - self.log_square).exp())
        variance = (1 / ess - 1 / count).clamp(min=0.0) * (count / (count - 1) if count > 1 else math.nan)
        gain = torch.full_like(value, math.inf)
        if count > 1:
            sizes = (count // 2, count - count // 2)
            halves = [half - math.log(size) for half, size in zip(self.log_halves, sizes, strict=True)]
            gain = value - (halves[0] + halves[1]) / 2
        return {"value": value, "variance": variance, "gain": gain, "ess": ess, "khat": pareto_khat(self.largest)}

    @staticmethod
    def estimate(per_example: dict[str, Tensor], num_samples: int, protocol: Protocol) -> Estimate:
        """The estimate, from what `finish` said of all examples."""
        return _summary(per_example, num_samples, protocol)


def importance_estimate(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: tuple[Tensor, ...],
    structure: Structure,
    protocol: Protocol,
    *,
    num_samples: int,
    chunk_size: int,
    progress: bool | None,
    vectorize: bool = True,
    way: str = "auto",
    sums: type[Accumulator] | type[BoundAccumulator] = Accumulator,
) -> Estimate:
    """What the importance weights p(x, z_k) / q(z_k given x) say of log p(x); see `log_likelihood`.

    `sums` says how: by their logarithmic mean, or, with `BoundAccumulator`, by the mean of their logarithms.
    """
    from tqdm.auto import tqdm

    check_structure(structure)
    if not structure.outer:
        raise SiteError(f"{_INDEPENDENT}, but no plate encloses them all")
    examples = min(len(x[0]), chunk_size, max(_EXAMPLES, chunk_size // num_samples))
    chunks = _chunks(num_samples, max(1, chunk_size // examples))
    silent = not wants_progress(progress)
    calls_left = -(-len(x[0]) // examples) * len(chunks)

    def log_weights(batch: Batch) -> list[Tensor | None]:
        count = batch.kwargs["count"]
        weights = Weights(model, guide, batch.args, {}, structure, count, vectorize)
        log_w = torch.cat([weights.log_weight(*run) for run in weights.runs()], weights.dim)
        return [_by_example(log_w, count, len(batch.args[0]))]

    _keep_freed_memory(x[0].device)
    programs = Programs(model, guide, log_weights)
    player = Player(log_weights, programs, x[0].device, way=way, outlook=lambda: calls_left)
    results = []
    with tqdm(total=len(x[0]), unit="examples", desc="log-likelihood", disable=silent, leave=False) as bar:
        for start in range(0, len(x[0]), examples):
            batch = tuple(part[start : start + examples] for part in x)
            accumulator = sums(num_samples)
            state = random_state(x[0].device)
            with pyro.validation_enabled(True):  # one look at every example, none at every sample
                player.eager(Batch(batch, {"count": 1}))
            set_random_state(state, x[0].device)
            for count in chunks:
                with pyro.validation_enabled(False):
                    (log_w,) = player(Batch(batch, {"count": count}))
                accumulator.add(given(log_w))
                calls_left -= 1
            results.append(accumulator.finish())
            bar.update(len(batch[0]))
    per_example = {key: torch.cat([result[key] for result in results]) for key in results[0]}
    return sums.estimate(per_example, num_samples, protocol)


def _keep_freed_memory(device: torch.device) -> None:
    """Ask glibc not to hand each chunk's memory back to the system, only to fault it in again for the next one.

    That takes a fifth of the time. When one mapped block was freed, glibc keeps up to twice its size (mallopt(3),
    M_MMAP_THRESHOLD); 32 MiB is the most that it learns from. Elsewhere nothing happens.
    """
    if device.type == "cpu":
        bytes(2**25 - 2**16)


def _by_example(log_w: Tensor, count: int, examples: int) -> Tensor:
    if log_w.numel() != count * examples:
        elements = log_w.numel() // count
        raise SiteError(f"{_INDEPENDENT}, but those that enclose them have {elements} elements for {examples}")
    return log_w.reshape(count, examples)


def _chunks(total: int, size: int) -> list[int]:
    """Sizes of the chunks of samples, such that one of them ends at half of the total."""
    halves = [total // 2, total - total // 2]
    return [min(size, half - done) for half in halves for done in range(0, half, size)]


def _summary(per_example: dict[str, Tensor], num_samples: int, protocol: Protocol) -> Estimate:
    value = per_example["value"]
    reliable, reason = _judge(per_example, num_samples)
    return mean_estimate(
        value,
        "lower",
        protocol.using("importance sampling", num_samples),
        stderr=per_example["variance"].sum().sqrt().item() / len(value),
        ess=per_example["ess"].median().item(),
        khat=per_example["khat"].nanmedian().item(),
        reliable=reliable,
        reason=reason,
    )


def _judge(per_example: dict[str, Tensor], num_samples: int) -> tuple[bool, str]:
    """Whether the diagnostics found nothing wrong, and in words what they found."""
    odd = (~per_example["value"].isfinite()).sum().item()
    if odd:
        return False, f"the weights of {odd} examples are all zero, or not finite"
    if tail_size(num_samples) < SHORTEST_TAIL:
        return False, f"{num_samples} samples are too few to judge the weights' tails"
    gain, heavy = per_example["gain"].mean().item(), (per_example["khat"] > 0.7).double().mean().item()
    problems = []
    if gain >= 0.1:
        problems.append(f"doubling the samples still raises the bound by {gain:.2f} nats; take more num_samples")
    if heavy > 0.1:
        problems.append(f"k-hat is above 0.7 for {heavy:.0%} of the examples: do not trust the Monte Carlo error")
    fine = f"doubling the samples raised the bound by {gain:.3f} nats; k-hat above 0.7 for {heavy:.0%} of the examples"
    return not problems, "; ".join(problems) or fine
