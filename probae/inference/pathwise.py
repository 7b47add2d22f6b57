"""Gradients of an importance-weighted bound that reach the guide through its samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro.infer.util import is_validation_enabled
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.errors import SiteError
from probae.inference.traces import Site, sample_sites
from probae.inference.weights import Weights, log_mean


def pathwise_bound(weights: Weights, gradient: str) -> Tensor:
    """The bound of each example; the guide's gradient goes through its samples alone.

    One surrogate holds both gradients. The model's density is evaluated on samples whose gradient is scaled, on its
    way to the guide, by the normalized weight once more ("dreg"). The guide's density is differentiated at once, by
    the values of its samples and with shut gates, so that its parameters never enter; what is found goes on through
    the samples.
    """
    gates, scale, start, log_p, log_q, samples = _Gates(), _Scale(), 0, [], [], []
    with gates:
        runs = list(weights.guide_runs())
    for guide_trace, count in runs:
        latent = _reparameterized(guide_trace, gradient)
        samples += [site["value"] for site in latent.values()]
        if gradient == "dreg":
            position = slice(start, start + count)
            scaled = {name: scale.attach(site, position, weights.dim) for name, site in latent.items()}
            joint = weights.log_prob(weights.replay(_with(guide_trace, scaled)))
        else:
            joint = weights.log_prob(weights.replay(guide_trace))
        log_p.append(weights.expand(joint, count))
        log_q.append(weights.expand(weights.log_prob(guide_trace) + joint.new_zeros(()), count))
        start += count
    log_p, log_q = torch.cat(log_p, weights.dim), torch.cat(log_q, weights.dim)
    bound = log_mean((log_p - log_q).detach(), weights.dim)
    scale.value = torch.softmax((log_p - log_q).detach(), weights.dim)
    surrogate = (scale.value * log_p).sum()
    if samples and log_q.requires_grad:
        weight = scale.value.square() if gradient == "dreg" else scale.value
        surrogate = surrogate - _through_samples((weight * log_q).sum(), samples, gates)
    return bound + (surrogate - surrogate.detach()) / bound.numel()


def _through_samples(density: Tensor, samples: list[Tensor], gates: _Gates) -> Tensor:
    """A scalar with the gradient that reaches the guide's parameters from `density` through the samples alone."""
    gates.open = False
    partials = torch.autograd.grad(density, samples, retain_graph=True, allow_unused=True, materialize_grads=True)
    gates.open = True
    return torch.stack([(g * value).sum() for g, value in zip(partials, samples, strict=True)]).sum()


def _reparameterized(guide_trace: Trace, gradient: str) -> dict[str, Site]:
    """The guide's latent sites through whose values its parameters get gradients."""
    latent = {name: site for name, site in sample_sites(guide_trace) if not site["is_observed"]}
    for name, site in latent.items():
        if not site["fn"].has_rsample and (site["mask"] is not False or _is_learned(site)):
            raise SiteError(
                f"gradient={gradient!r} needs reparameterized latent sites; {name!r} is not one. "
                "Use gradient='standard'"
            )
    return {name: site for name, site in latent.items() if site["value"].requires_grad}


def _is_learned(site: Site) -> bool:
    """Whether the density of a masked site has parameters; looked at in validated runs alone."""
    return is_validation_enabled() and site["fn"].log_prob(site["value"]).requires_grad


def _with(trace: Trace, values: Mapping[str, Tensor]) -> Trace:
    """A copy of the trace with the values of some sites replaced."""
    copy = trace.copy()
    for name, value in values.items():
        copy.nodes[name] = copy.nodes[name].copy()
        copy.nodes[name]["value"] = value
    return copy


class _Scale:
    """A tensor that becomes known after the graph through which it scales gradients is built."""

    value: Tensor

    def attach(self, site: Site, position: slice, dim: int) -> Tensor:
        """The site's value, its gradient multiplied by this scale (of batch dims), where `position` lies on `dim`."""
        view, event_dim = site["value"].view_as(site["value"]), site["fn"].event_dim

        def scale(gradient: Tensor) -> Tensor:
            weight = self.value.narrow(dim, position.start, position.stop - position.start)
            weight = weight.reshape(weight.shape[weight.dim() + event_dim - gradient.dim() :])  # the rest are ones
            return gradient * weight.reshape(weight.shape + (1,) * event_dim)

        view.register_hook(scale)
        return view


class _Gate(torch.autograd.Function):
    """The identity, through which a gradient passes only while the gates are open."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gates: _Gates) -> Tensor:
        ctx.gates = gates
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        return (gradients[0] if ctx.gates.open else None), None


class _Gates(Messenger):
    """Puts a gate behind each reparameterized value of a guide.

    While they are shut, the derivative by one site's value does not include what reaches it through the values of
    later sites: it is the partial derivative, with parameters and noise held fixed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = True

    def _pyro_post_sample(self, msg: Any) -> None:
        value = msg["value"]
        if not msg["is_observed"] and isinstance(value, Tensor) and value.requires_grad:
            msg["value"] = _Gate.apply(value, self)
