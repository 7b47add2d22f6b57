"""What is not observed, given what is: draws by a Markov chain over latent variables and missing values, or a guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.inference.traces import log_prob, sample_sites

Values = dict[str, Tensor]
"""The latent variables, by site."""

_GOAL = 0.574  # the share of accepted Langevin steps that is best in many dimensions (Roberts and Rosenthal 1998)
_FIRST = 0.1


@torch.no_grad()
def fill(
    model: Callable[..., Any], guide: Callable[..., Any], x: Tensor, mask: Tensor, *, steps: int, site: str = "x",
    mean: bool = False, **options: Any,
) -> Tensor:  # fmt: skip
    """Draw the missing values of x from p(x_missing given x_observed).

    A chain for each example, over its latent variables z and missing values. Each step moves twice:

    - far: z' from the guide, given x as it is filled in now (Metropolis within Gibbs), accepted with probability
      min(1, p(x, z') q(z given x) / (p(x, z) q(z' given x)));
    - near: a Langevin step of the continuous latent variables along the gradient of log p(x_observed, z), where the
      missing values are integrated out, with the Metropolis test;

    then draws the missing values from p(x given z). Both keep p(z, x_missing given x_observed), whatever the guide. In
    the first half of the steps the length of each chain's Langevin steps is fitted to its rate of acceptance.

    Args:
        model, guide: programs of x whose sites all lie in one plate over the examples. The model takes mask=, and then
            stands for what it shows of x; the guide has a density.
        x: (N, D); where the mask is False, what the chains start from.
        mask: (N, D), True where x is observed and stays.
        steps: of the chains.
        site: the observed site.
        mean: return the mean of p(x given z) in the last step instead of a draw.
        options: other arguments of the programs, such as labels.

    Returns:
        (N, D).

    Source:
        Mattei and Frellsen (2018), "Leveraging the exact likelihood of deep latent variable models" (arXiv
        1802.04826), section 3, for the first move; Roberts and Tweedie (1996) for the second.

    Example:
        >>> from probae import VAE
        >>> vae, x = VAE(8, 2, 16), torch.tensor([[1.0, 1, 0, 0, 1, 1, 0, 0]])
        >>> filled = fill(vae.model, vae.guide, x, torch.arange(8).unsqueeze(0) < 4, steps=10)
        >>> filled[:, :4]
        tensor([[1., 1., 0., 0.]])
    """
    z = _latent(poutine.trace(guide).get_trace(x, **options))
    x = torch.where(mask, x, _run(model, z, x, options)[1].nodes[site]["fn"].sample())
    lengths = torch.full_like(x[:, 0], _FIRST)
    for step in range(steps):
        z = _far(model, guide, z, x, options)
        z, accepted, drawn = _near(model, z, x, {**options, "mask": mask}, lengths, site, mean and step == steps - 1)
        if step < steps // 2:
            lengths = lengths * ((accepted.to(x.dtype) - _GOAL) * (step + 1) ** -0.6).exp()
        x = torch.where(mask, x, drawn)
    return x


@torch.no_grad()
def settle(reconstruct: Callable[[Tensor], Tensor], x: Tensor, mask: Tensor, *, steps: int) -> Tensor:
    """Put the reconstruction in place of the missing values of x, over and over, as long as that comes to rest.

    Each example takes a step only if it is shorter than the one before, and else stays where it is: a reconstruction
    that does not contract would carry it away. It is a heuristic of models without a p(x), no draw and no estimate.

    Args:
        reconstruct: (N, D) -> (N, D), each example alone.
        x: (N, D); where the mask is False, what the steps start from.
        mask: (N, D), True where x is observed and stays.
        steps: at most so many.

    Returns:
        (N, D), finite where x is.

    Example:
        >>> x, mask = torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([[True, False]]).expand(2, 2)
        >>> settle(lambda x: x.flip(-1) / 2 + x / 4, x, mask, steps=50)
        tensor([[4.0000, 2.6667],
                [0.0000, 0.0000]])
        >>> settle(lambda x: 1 + 3 * x, x, mask, steps=50)
        tensor([[4., 1.],
                [0., 1.]])
    """
    last = torch.full_like(x[:, :1], torch.inf)
    for _ in range(steps):
        filled = torch.where(mask, x, reconstruct(x))
        step = torch.linalg.vector_norm(filled - x, dim=-1, keepdim=True)
        shorter = step < last
        x, last = torch.where(shorter, filled, x), torch.where(shorter, step, 0.0)  # no step is shorter than that
        if not bool(last.any()):
            break
    return x


def _far(
    model: Callable[..., Any], guide: Callable[..., Any], z: Values, x: Tensor, options: Mapping[str, Any]
) -> Values:
    trace = poutine.trace(guide).get_trace(x, **options)
    other = _latent(trace)
    there = _run(model, other, x, options)[0] - _total(trace)
    here = _run(model, z, x, options)[0] - _run(guide, z, x, options)[0]
    return _chosen(torch.rand_like(here).log() < there - here, other, z)


def _near(
    model: Callable[..., Any], z: Values, x: Tensor, options: Mapping[str, Any], lengths: Tensor, site: str, mean: bool
) -> tuple[Values, Tensor, Tensor]:
    """A Langevin step z' ~ Normal(z + l^2 / 2 gradient, l^2): where the chains are, which moved, and x given z."""
    log_p, slope, trace = _slope(model, z, x, options)
    length = {name: _beside(lengths, value) for name, value in slope.items()}
    moved = {name: z[name] + 0.5 * length[name] ** 2 * slope[name] for name in slope}
    moved = {name: value + length[name] * torch.randn_like(value) for name, value in moved.items()}
    new_log_p, new_slope, new_trace = _slope(model, {**z, **moved}, x, options)
    gain = new_log_p - log_p
    for name, value in length.items():
        there = moved[name] - z[name] - 0.5 * value**2 * slope[name]
        back = z[name] - moved[name] - 0.5 * value**2 * new_slope[name]
        gain = gain + ((there**2 - back**2) / (2 * value**2)).reshape(len(x), -1).sum(-1)
    accepted = torch.rand_like(gain).log() < gain
    new, old = (getattr(one.nodes[site]["fn"], "mean" if mean else "sample") for one in (new_trace, trace))
    new, old = (new, old) if mean else (new(), old())
    return _chosen(accepted, {**z, **moved}, z), accepted, torch.where(accepted.unsqueeze(-1), new, old)


@torch.enable_grad()
def _slope(model: Callable[..., Any], z: Values, x: Tensor, options: Mapping[str, Any]) -> tuple[Tensor, Values, Trace]:
    """log p of each example, (N,), its gradient in the continuous latent variables, and the trace."""
    leaves = {name: value.detach().requires_grad_(value.is_floating_point()) for name, value in z.items()}
    log_p, trace = _run(model, leaves, x, options)
    moving = [name for name, value in leaves.items() if value.requires_grad]
    slopes = torch.autograd.grad(log_p.sum(), [leaves[name] for name in moving])
    return log_p.detach(), dict(zip(moving, slopes, strict=True)), trace


def _run(program: Callable[..., Any], z: Values, x: Tensor, options: Mapping[str, Any]) -> tuple[Tensor, Trace]:
    """The log-probability of all sites of each example, (N,), at these latent variables, and the trace."""
    trace = poutine.trace(poutine.condition(program, data=z)).get_trace(x, **options)
    return _total(trace), trace


def _total(trace: Trace) -> Tensor:
    return sum((log_prob(site) for _, site in sample_sites(trace)), torch.zeros(()))


def _latent(trace: Trace) -> Values:
    return {name: site["value"] for name, site in sample_sites(trace)}


def _beside(numbers: Tensor, value: Tensor) -> Tensor:
    """(N,) numbers with as many dimensions behind as a value (N, ...) has."""
    return numbers.reshape(-1, *[1] * (value.dim() - 1))


def _chosen(accepted: Tensor, other: Values, z: Values) -> Values:
    return {name: torch.where(_beside(accepted, value), other[name], value) for name, value in z.items()}
