"""Log-likelihood by importance sampling from the guide, in memory that does not grow with samples or examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probae.data.protocol import Protocol
from probae.engine.callbacks import wants_progress
from probae.evaluation.estimate import Estimate
from probae.evaluation.pareto import pareto_khat, tail_size
from probae.inference.traces import Structure
from probae.inference.weights import Weights


class Accumulator:
    """Running sums over the importance weights of a batch of examples, in float64.

    Keeps for each example log sum w and log sum w^2, the same for the first half of the samples, and the largest
    weights for Pareto k-hat.

    Args:
        num_samples: K, how many weights each example will get.
    """

    def __init__(self, num_samples: int) -> None:
        self.num_samples, self.seen = num_samples, 0
        self.tail = tail_size(num_samples) + 1
        self.log_sum = self.log_square = self.log_half = self.largest = torch.empty(0)

    def add(self, log_w: Tensor) -> None:
        """Take weights (k, N)."""
        log_w = log_w.double()
        log_sum, log_square = log_w.logsumexp(0), (2 * log_w).logsumexp(0)
        if self.seen == 0:
            self.log_sum, self.log_square, self.largest = log_sum, log_square, log_w
        else:
            self.log_sum = torch.logaddexp(self.log_sum, log_sum)
            self.log_square = torch.logaddexp(self.log_square, log_square)
            self.largest = torch.cat([self.largest, log_w])
        if self.largest.shape[0] > self.tail:
            self.largest = self.largest.topk(self.tail, dim=0, sorted=False).values
        self.seen += log_w.shape[0]
        if self.seen == self.num_samples // 2:
            self.log_half = self.log_sum

    def finish(self) -> dict[str, Tensor]:
        """Per example: the log-mean-exp, the variance of its error, the gain of the second half, ESS, k-hat."""
        count = self.num_samples
        estimate = self.log_sum - math.log(count)
        ess = (2 * self.log_sum - self.log_square).exp()
        variance = (1 / ess - 1 / count).clamp(min=0.0)
        first = self.log_half
        second = self.log_sum + torch.log1p(-(first - self.log_sum).exp().clamp(max=1 - 1e-12)) if count > 1 else first
        gain = estimate - (first + second) / 2 + math.log(count / 2) if count > 1 else torch.full_like(ess, math.inf)
        return {"value": estimate, "variance": variance, "gain": gain, "ess": ess, "khat": pareto_khat(self.largest)}


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
) -> Estimate:
    """The mean over examples of log (1/K) sum_k p(x, z_k) / q(z_k given x); see `log_likelihood`."""
    from tqdm.auto import tqdm

    examples = max(1, min(len(x[0]), 16, chunk_size))
    bar = tqdm(total=len(x[0]), unit="examples", desc="log-likelihood", disable=not wants_progress(progress), leave=False)
    results = []
    with bar:
        for start in range(0, len(x[0]), examples):
            batch = tuple(part[start : start + examples] for part in x)
            accumulator = Accumulator(num_samples)
            for count in _chunks(num_samples, max(1, chunk_size // examples)):
                weights = Weights(model, guide, batch, {}, structure, count, vectorize)
                log_w = torch.cat([weights.log_weight(*run) for run in weights.runs()], weights.dim)
                accumulator.add(log_w.reshape(count, len(batch[0])))
            results.append(accumulator.finish())
            bar.update(len(batch[0]))
    return _summary({key: torch.cat([result[key] for result in results]) for key in results[0]}, num_samples, protocol)


def _chunks(total: int, size: int) -> list[int]:
    """Sizes of the chunks of samples, such that one of them ends at half of the total."""
    halves = [total // 2, total - total // 2]
    return [min(size, half - done) for half in halves for done in range(0, half, size)]


def _summary(per_example: dict[str, Tensor], num_samples: int, protocol: Protocol) -> Estimate:
    value, count = per_example["value"], len(per_example["value"])
    khat, gain = per_example["khat"], per_example["gain"].mean().item()
    heavy = (khat > 0.7).double().mean().item()
    problems = []
    if num_samples < 2 or not gain < 0.1:
        problems.append(f"doubling the samples still raises the bound by {gain:.2f} nats; take more num_samples")
    if heavy > 0.1:
        problems.append(f"k-hat is above 0.7 for {heavy:.0%} of the examples, so the Monte Carlo error is not to be trusted")
    if bool(khat.isnan().any()):
        problems.append("too few samples to judge the weights' tails")
    fine = f"the second half of the samples raised it by {gain:.3f} nats; k-hat above 0.7 for {heavy:.0%} of the examples"
    return Estimate(
        value.mean().item(),
        direction="lower",
        stderr=per_example["variance"].sum().sqrt().item() / count,
        stderr_data=value.std().item() / math.sqrt(count) if count > 1 else None,
        per_example=value,
        ess=per_example["ess"].median().item(),
        khat=khat.nanmedian().item(),
        reliable=not problems,
        reason="; ".join(problems) or fine,
        protocol=protocol.using("importance sampling", num_samples),
    )
