"""The importance-weighted bound, with the examples outside the logarithm and gradients that stay sharp."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.checks import choice
from probae.inference.objective import Objective
from probae.inference.pathwise import pathwise_bound
from probae.inference.traces import Structure, sample_sites
from probae.inference.weights import Weights, log_mean


class IWAE(Objective):
    """The negative importance-weighted bound of K particles,

        L_K(x) = E[ log (1/K) sum_k w_k ],  w_k = p(x, z_k) / q(z_k given x),  ELBO = L_1 <= L_2 <= ... <= log p(x).

    Plates that enclose all sites hold independent examples: each has a logarithm of its own, and a subsampling
    plate's scale multiplies it from outside.

    Gradients for the guide:

    - "standard": through the samples and the density of reparameterized sites; score function with leave-one-out
      baselines (VIMCO) for others. Unbiased; the guide's signal-to-noise ratio falls as K grows.
    - "dreg": through the samples alone, weighted by the squared normalized weights. Unbiased, and its
      signal-to-noise ratio grows with K. Reparameterized sites only.
    - "stl" (sticking the landing): through the samples alone, weighted by the normalized weights. Zero variance at
      the exact posterior, but biased for more than one particle. Reparameterized sites only.

    Both leave out the guide's parameters where its density is evaluated (not the distribution's arguments, through
    which one latent depends on another), so a Delta with a `log_density` of its own has no place there, and a flow
    needs its inverse. The model's gradient is the same in all three.

    Args:
        num_particles: K.
        gradient: "standard", "dreg" or "stl".
        vectorize: draw the particles at once along one more plate; False for programs that do not broadcast.

    Returns (when called):
        A scalar tensor: the loss summed over examples, with the scales of subsampling plates.

    Raises:
        SiteError: names the site that is not reparameterized (dreg, stl), a subsampled plate with a latent outside
            it, or enumerated sites.

    Source:
        Burda et al. 2016 (arXiv 1509.00519), eq. 8; Tucker et al. 2019 (arXiv 1810.04152), eq. 7; Roeder et al. 2017
        (arXiv 1703.09194); Mnih and Rezende 2016 (arXiv 1602.06725), eq. 13.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(0.0, 1.0))
        >>> x = torch.tensor([0.3, -1.0])
        >>> exact = -dist.Normal(0.0, 2**0.5).log_prob(x).sum()
        >>> bool((IWAE(10_000)(model, guide, x) - exact).abs() < 0.1)
        True
    """

    def __init__(self, num_particles: int, gradient: str = "standard", *, vectorize: bool = True) -> None:
        super().__init__(num_particles, vectorize)
        self.gradient = choice("gradient", gradient, ("standard", "dreg", "stl"))

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        weights = Weights(model, guide, args, kwargs, structure, self.num_particles, self.vectorize)
        if self.gradient == "standard" or not torch.is_grad_enabled():
            bound = _standard(weights)
        else:
            bound = pathwise_bound(weights, self.gradient)
        return -weights.outer_scale * bound.sum()


def _standard(weights: Weights) -> Tensor:
    """The bound of each example, with the gradient of all weights and VIMCO's terms for discrete sites."""
    log_w, scores = [], []
    for model_trace, guide_trace, count in weights.runs():
        log_w.append(weights.log_weight(model_trace, guide_trace, count))
        if (score := _score(weights, guide_trace)) is not None:
            scores.append(weights.expand(score, count))
    log_weight = torch.cat(log_w, weights.dim)
    bound = log_mean(log_weight, weights.dim)
    if not scores:
        return bound
    signal = bound.detach() - _leave_one_out(log_weight.detach(), weights.dim)
    surrogate = (signal * torch.cat(scores, weights.dim)).sum(weights.dim, keepdim=True)
    return bound + surrogate - surrogate.detach()


def _score(weights: Weights, guide_trace: Trace) -> Tensor | None:
    """log q of the sites that are not reparameterized, neither scaled nor masked; None if it has no gradient."""
    total: Any = 0.0
    for _, site in sample_sites(guide_trace):
        score = 0.0 if site["fn"].has_rsample else site["fn"].score_parts(site["value"]).score_function
        if isinstance(score, Tensor) and score.requires_grad:
            total = total + weights.sum_to_kept(score)
    return total if isinstance(total, Tensor) else None


def _leave_one_out(log_w: Tensor, dim: int) -> Tensor:
    """For each particle, the bound with its weight replaced by the geometric mean of the others; 0 for one particle."""
    count = log_w.shape[dim]
    if count == 1:
        return torch.zeros_like(log_w)
    others = (log_w.sum(dim, keepdim=True) - log_w) / (count - 1)
    peak, index = log_w.max(dim, keepdim=True)
    is_peak = torch.zeros_like(log_w, dtype=torch.bool).scatter(dim, index, True)
    relative = (log_w - peak).exp()
    # Subtracting the largest weight from the sum would cancel, so its complement is summed for itself.
    without_peak = log_w.masked_fill(is_peak, -math.inf).logsumexp(dim, keepdim=True)
    remaining = (relative.sum(dim, keepdim=True) - relative).masked_fill(is_peak, 1.0)
    rest = torch.where(is_peak, without_peak, remaining.log() + peak)
    return torch.logaddexp(rest, others) - math.log(count)
