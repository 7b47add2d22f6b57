"""Importance weights log p(x, z) - log q(z given x) of any Pyro pair, one for each particle and example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.errors import SiteError
from probae.inference.traces import (
    Structure,
    check_sites,
    plates,
    replay,
    sample_sites,
    subsampling,
    unscaled_log_prob,
    vectorized,
)

Program = Callable[..., Any]


class Weights:
    """Particles of a pair, with their log-densities summed to (particles, *enclosing plates).

    The plates that enclose all sites stay apart: their elements are independent examples, and a logarithm of a mean
    of weights is taken for each of them. Everything inside is summed. The scale of subsampling plates that enclose
    all sites is left out, to be applied outside the logarithm: `outer_scale`, known once a density was evaluated.

    Args:
        model, guide, args, kwargs: the pair and its batch.
        structure: its plates.
        count: how many particles.
        vectorize: run them at once, along a plate of their own; else one after the other.

    Raises:
        SiteError: if a subsampled plate does not enclose all sites, since the scale would then stand inside the
            logarithm, which is no bound; or if a site is enumerated.
    """

    def __init__(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure, count: int, vectorize: bool = True,
    ) -> None:  # fmt: skip
        check_structure(structure)
        self.args, self.kwargs = args, kwargs
        self.runs_of = [count] if vectorize else [1] * count
        self.model = vectorized(model, count, structure) if vectorize else model
        self.guide = vectorized(guide, count, structure) if vectorize else guide
        self.dim = -1 - structure.max_plate_nesting
        self.outer = dict(structure.outer)
        self.outer_scale = 1.0

    def guide_runs(self) -> Iterator[tuple[Trace, int]]:
        """Traces of the guide, with the number of particles in each, until all particles are drawn."""
        for count in self.runs_of:
            yield poutine.trace(self.guide).get_trace(*self.args, **self.kwargs), count

    def replay(self, values: Trace) -> Trace:
        """Run the model on given values of its latent sites."""
        trace = replay(self.model, values, self.args, self.kwargs)
        if is_validation_enabled():
            check_sites(trace, values)
        return trace

    def runs(self) -> Iterator[tuple[Trace, Trace, int]]:
        """(model trace, guide trace, particles in it), until all particles are drawn."""
        for guide_trace, count in self.guide_runs():
            yield self.replay(guide_trace), guide_trace, count

    def log_prob(self, trace: Trace) -> Any:
        """Log-density of a trace's sites: (particles or 1, *enclosing plates), padded with ones to all plate dims."""
        total: Any = 0.0
        for _, site in sample_sites(trace):
            if site["mask"] is not False and not site["infer"].get("_deterministic"):  # which may stand outside plates
                enclosing = [frame for name, frame in plates(site).items() if name in self.outer]
                self.outer_scale = math.prod(map(subsampling, enclosing))
                term = scale_and_mask(unscaled_log_prob(site), site["scale"] / self.outer_scale, site["mask"])
                total = total + self.sum_to_kept(term)
        return total

    def log_weight(self, model_trace: Trace, guide_trace: Trace, count: int) -> Tensor:
        """log p - log q of one run: (count, *enclosing plates), padded with ones to all plate dims."""
        return self.expand(self.log_prob(model_trace) - self.log_prob(guide_trace), count)

    def sum_to_kept(self, term: Tensor) -> Tensor:
        """One site's term, summed over the dims that are neither particles nor enclosing plates."""
        kept = {self.dim, *self.outer.values()}
        extra = [dim for dim in range(-term.dim(), 0) if dim not in kept and term.shape[dim] != 1]
        return term.sum(extra, keepdim=True) if extra else term

    def expand(self, term: Tensor, count: int) -> Tensor:
        """`term` with `count` particles and all enclosing plates' dims."""
        shape = [1] * -self.dim
        for size, dim in zip(reversed(term.shape), range(-1, -1 - term.dim(), -1), strict=False):
            shape[dim] = size
        shape[self.dim] = count
        return term.expand(shape)


def log_mean(log_w: Tensor, dim: int) -> Tensor:
    """log of the mean of weights over one dim, which stays as 1."""
    return log_w.logsumexp(dim, keepdim=True) - math.log(log_w.shape[dim])


def check_structure(structure: Structure) -> None:
    """Refuse pairs whose importance weights would not be those of independent examples."""
    enclosing = {name for name, _ in structure.outer}
    for name, _ in structure.subsampled:
        if name not in enclosing:
            raise SiteError(
                f"plate {name!r} subsamples, but a site lies outside it: its weight would stand inside the logarithm, "
                "which is then no bound. Use pb.ELBO, or put all sites inside the plate"
            )
    if structure.enumerates:
        raise SiteError("importance weights need sampled sites; pb.ELBO sums out the ones marked 'enumerate'")
