"""Pareto k-hat: how heavy the tail of importance weights is, for many examples at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHORTEST_TAIL = 5
"""The least number of weights that a tail is fitted to."""


def tail_size(num_samples: int) -> int:
    """How many of the largest of `num_samples` weights the tail is fitted to: min(K/5, 3 sqrt K), as in PSIS."""
    return max(1, min(num_samples // 5, math.ceil(3 * math.sqrt(num_samples))))


def pareto_khat(log_weights: Tensor) -> Tensor:
    """Shape parameter k of a generalized Pareto distribution fitted to the upper tails of importance weights.

    Below 0.5 the weights' variance is finite; up to 0.7 their mean is practical; above, its error bars are not to be
    believed. `pyro.ops.stats.fit_generalized_pareto` fits one tail at a time; this fits all columns at once, to the
    same numbers.

    Args:
        log_weights: (M + 1, N), each column the M + 1 largest log-weights of one example, in any order. The smallest
            of them is the threshold.

    Returns:
        (N,) float64; NaN where the tail is too short (M < `SHORTEST_TAIL`) to tell; -inf where the largest weight
        comes more than once: the weights are then discrete, or all equal, and their bound has been seen.

    Source:
        Zhang and Stephens 2009; Vehtari et al. 2024 (arXiv 1507.02646), section 3 and appendix.

    Example:
        >>> uniform = torch.rand(100_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> tail = (-0.5 * uniform.log()).topk(950, dim=0).values  # weights uniform^-0.5: k = 0.5
        >>> bool((pareto_khat(tail) - 0.5).abs() < 0.1)
        True
    """
    ordered = log_weights.double().sort(0).values
    if ordered.shape[0] <= SHORTEST_TAIL:
        return torch.full(ordered.shape[1:], math.nan, dtype=torch.float64, device=ordered.device)
    weights = (ordered - ordered[-1]).exp()
    excess = weights[1:] - weights[0]
    bounded = ordered[-1] == ordered[-2]
    x = torch.where(bounded, torch.ones_like(excess), excess)
    count = x.shape[0]
    grid = 30 + int(math.sqrt(count))
    points = 1.0 - (grid / (torch.arange(1, grid + 1, dtype=x.dtype, device=x.device) - 0.5)).sqrt()
    quartile = x[int(count / 4 - 0.5)].clamp(min=torch.finfo(x.dtype).tiny)
    candidates = points[:, None] / (3.0 * quartile) + 1.0 / x[-1]
    shapes = _shape(candidates, x)
    likelihood = count * ((-candidates / shapes).log() - (shapes + 1.0))
    posterior = torch.softmax(likelihood.nan_to_num(-math.inf), dim=0)
    khat = _shape((candidates * posterior).sum(0, keepdim=True), x)[0]
    khat = khat * count / (count + 10.0) + 5.0 / (count + 10.0)
    return torch.where(bounded, torch.full_like(khat, -math.inf), khat)


def _shape(b: Tensor, x: Tensor) -> Tensor:
    """Mean over the tail of log(1 - b x): (G, N) for candidates (G, N) and tails (M, N), without a (G, M, N) tensor."""
    return torch.stack([torch.log1p(-row * x).mean(0) for row in b])
