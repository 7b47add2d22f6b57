"""The importance-weighted bound, with the examples outside the logarithm and gradients that stay sharp."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.checks import choice
from probae.errors import SiteError
from probae.inference.objective import Objective
from probae.inference.traces import Site, Structure, sample_sites
from probae.inference.weights import Weights


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
    which one latent depends on another). The model's gradient is the same in all three.

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
            if structure.scored:
                raise SiteError(
                    f"gradient={self.gradient!r} needs reparameterized latent sites; {structure.scored[0]!r} is not "
                    "one. Use gradient='standard'"
                )
            bound = _pathwise(weights, squared=self.gradient == "dreg")
        return -structure.outer_scale * bound.sum()


def _log_mean(log_w: Tensor, dim: int) -> Tensor:
    return log_w.logsumexp(dim, keepdim=True) - math.log(log_w.shape[dim])


def _standard(weights: Weights) -> Tensor:
    """The bound of each example, with the gradient of all weights and VIMCO's terms for discrete sites."""
    log_w, scores = [], []
    for model_trace, guide_trace, count in weights.runs():
        log_w.append(weights.log_weight(model_trace, guide_trace, count))
        if weights.structure.scored:
            scores.append(weights.expand(_score(weights, guide_trace), count))
    log_weight = torch.cat(log_w, weights.dim)
    bound = _log_mean(log_weight, weights.dim)
    if not scores:
        return bound
    signal = bound.detach() - _leave_one_out(log_weight.detach(), weights.dim)
    surrogate = (signal * torch.cat(scores, weights.dim)).sum(weights.dim, keepdim=True)
    return bound + surrogate - surrogate.detach()


def _score(weights: Weights, guide_trace: Trace) -> Tensor:
    """log q of the sites that are not reparameterized, unscaled."""
    total: Any = 0.0
    for name, site in sample_sites(guide_trace):
        if name in weights.structure.scored:
            parts = site["fn"].score_parts(site["value"], *site["args"], **site["kwargs"])
            total = total + weights.sum_to_kept({**site, "scale": 1.0, "mask": None}, parts.score_function)
    return total


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


class _Scale:
    """A tensor that becomes known after the graph through which it scales gradients is built."""

    value: Tensor

    def attach(self, z: Tensor, event_dim: int, position: slice, dim: int) -> Tensor:
        """`z`, with its gradient multiplied by this scale (of shape batch dims), where `position` lies on `dim`."""
        view = z.view_as(z)

        def scale(gradient: Tensor) -> Tensor:
            weight = self.value.narrow(dim, position.start, position.stop - position.start)
            while weight.dim() > gradient.dim() - event_dim:
                weight = weight.squeeze(0)
            return gradient * weight.reshape(weight.shape + (1,) * event_dim)

        view.register_hook(scale)
        return view


def _pathwise(weights: Weights, squared: bool) -> Tensor:
    """The bound of each example; the guide's gradient goes through its samples alone.

    One surrogate holds both gradients. The model's density is evaluated on samples whose gradient is scaled on its
    way to the guide by the normalized weight once more ("dreg"); the guide's density is differentiated at once by its
    samples, in a second run of the guide on detached copies, so that its parameters never enter.
    """
    scale, start, log_p, log_q, paths = _Scale(), 0, [], [], []
    for guide_trace, count in weights.guide_runs():
        latent = {n: s for n, s in sample_sites(guide_trace) if not s["is_observed"] and s["value"].requires_grad}
        copies = {name: site["value"].detach().requires_grad_() for name, site in latent.items()}
        position = slice(start, start + count)
        scaled = {name: _scaled(site, scale, position, weights.dim) for name, site in latent.items()} if squared else {}
        density = weights.log_prob(weights.replay(weights.guide, _with(guide_trace, copies)), observed=False)
        joint = weights.log_prob(weights.replay(weights.model, _with(guide_trace, scaled)))
        log_p.append(weights.expand(joint, count))
        log_q.append(weights.expand(density, count))
        paths += [(site["value"], copies[name]) for name, site in latent.items()]
        start += count
    log_p, log_q = torch.cat(log_p, weights.dim), torch.cat(log_q, weights.dim)
    bound = _log_mean((log_p - log_q).detach(), weights.dim)
    scale.value = torch.softmax((log_p - log_q).detach(), weights.dim)
    guide_weight = scale.value.square() if squared else scale.value
    surrogate = (scale.value * log_p).sum()
    if paths and log_q.requires_grad:
        copies = [copy for _, copy in paths]
        gradients = torch.autograd.grad((guide_weight * log_q).sum(), copies, allow_unused=True, materialize_grads=True)
        surrogate = surrogate - sum((g * value).sum() for g, (value, _) in zip(gradients, paths, strict=True))
    return bound + (surrogate - surrogate.detach()) / bound.numel()


def _scaled(site: Site, scale: _Scale, position: slice, dim: int) -> Tensor:
    value = site["value"]
    return scale.attach(value, site["fn"].event_dim, position, dim)


def _with(trace: Trace, values: Mapping[str, Tensor]) -> Trace:
    """A copy of the trace with the values of some sites replaced."""
    copy = trace.copy()
    copy.nodes.update({name: {**trace.nodes[name], "value": value} for name, value in values.items()})  # type: ignore
    return copy
