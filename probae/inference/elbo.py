"""The evidence lower bound, over any Pyro pair, as one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from probae.checks import positive_int, real
from probae.errors import SiteError
from probae.inference.baselines import Baselines
from probae.inference.enumeration import enumerated_elbo
from probae.inference.kl import analytic_kl, free_bits_kl
from probae.inference.objective import Objective, Warmup, batch_of, check_penalties
from probae.inference.traces import Structure, log_prob, plates, run_pair, sample_sites, vectorized


class ELBO(Objective):
    """The negative evidence lower bound, the loss that trains every model here.

    For each example x, with latent variables z drawn from the guide q,

        ELBO(x) = E_q[log p(x given z)] - beta * E_q[log q(z given x) - log p(z)]  (beta = 1: a bound on log p(x))

    - A KL term whose closed form torch knows, and whose parents in the model come before it in the guide, is
      integrated exactly; never that of a Delta, whose density would be lost.
    - Reparameterized sites get pathwise gradients, others score-function gradients with a baseline, summed only over
      the plates that they live in. A site's `infer={"baseline": {...}}` is understood as Pyro's `TraceGraph_ELBO` does.
    - Sites marked `infer={"enumerate": "parallel"}` (or "sequential", in the guide) are summed out exactly; other KL
      terms of such a pair are sampled, and its score functions have no baseline.

    Args:
        num_particles: samples from the guide for each example.
        beta: weight of the KL terms (Higgins et al. 2017).
        free_bits: each latent dimension's KL, averaged over the batch, is not pushed below this many nats
            (Kingma et al. 2016, eq. 15).
        warmup: training steps over which beta rises linearly from zero (Sonderby et al. 2016); with `accumulate=`,
            batches. The objective counts them: another model wants an objective of its own.
        penalties: callables `(batch, guide_trace) -> (N,)`, or a scalar for a statistic of the batch, added to the
            loss of each example. `batch` is what the model was called with: one argument, a tuple of several, or a
            mapping by name if any was given by keyword.
        analytic_kl: False to sample all KL terms.
        baseline: "average", a decaying average for each score-function site, or None.
        vectorize: draw several particles at once along one more plate; False for programs that do not broadcast.

    Returns (when called):
        A scalar tensor: the loss summed over examples, with the scales of subsampling plates, as Pyro's is.

    Raises:
        ArgumentError: for a negative beta or free_bits, and so on.
        SiteError: if the sites of model and guide do not match, or free bits or beta are asked of a site that has no
            KL term of its own.

    See also:
        `IWAE` for a tighter bound.

    Source:
        Jordan et al. 1999; Kingma and Welling 2014 (arXiv 1312.6114), eq. 2; Ranganath et al. 2014 for the score
        function.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))  # the exact posterior
        >>> x = torch.tensor([0.3, -1.0])
        >>> loss = ELBO(num_particles=1000)(model, guide, x)
        >>> exact = -dist.Normal(0.0, 2**0.5).log_prob(x).sum()
        >>> bool((loss - exact).abs() < 0.2)
        True
    """

    def __init__(
        self,
        num_particles: int = 1,
        beta: float = 1.0,
        free_bits: float = 0.0,
        warmup: int = 0,
        penalties: Callable[..., Any] | Iterable[Callable[..., Any]] = (),
        *,
        analytic_kl: bool = True,
        baseline: str | None = "average",
        vectorize: bool = True,
    ) -> None:
        super().__init__(num_particles, vectorize)
        self.beta = Warmup(real("beta", beta, low=0.0), positive_int("warmup", warmup, minimum=0))
        self.free_bits = real("free_bits", free_bits, low=0.0)
        self.penalties = check_penalties(penalties)
        self.penalty_modules = nn.ModuleList(p for p in self.penalties if isinstance(p, nn.Module))
        self.analytic_kl = bool(analytic_kl)
        self.baselines = Baselines(baseline)

    def allocate(self, structure: Structure) -> None:
        self.baselines.allocate(structure.scored, structure.device)

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        count = self.num_particles
        if count > 1 and self.vectorize:
            model, guide = vectorized(model, count, structure), vectorized(guide, count, structure)
            return self._loss(model, guide, args, kwargs, structure, particles=count)
        losses = [self._loss(model, guide, args, kwargs, structure) for _ in range(count)]
        return losses[0] if count == 1 else torch.stack(losses).mean()

    def _loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure, particles: int = 1,
    ) -> Tensor:  # fmt: skip
        """The loss of one run of the pair, which holds `particles` particles."""
        beta = self.beta()
        if structure.enumerates:
            if self.free_bits:
                raise SiteError("free_bits does not go with enumerated sites")
            elbo, guide_trace = enumerated_elbo(model, guide, args, kwargs, structure, beta)
        else:
            model_trace, guide_trace = run_pair(model, guide, args, kwargs)
            elbo = self._sampled_elbo(model_trace, guide_trace, beta)
        loss = -elbo if particles == 1 else -elbo / particles
        if self.penalties:
            batch = batch_of(model, args, kwargs)
            weight = structure.num_examples(args, kwargs)
            loss = loss + weight * sum(penalty(batch, guide_trace).mean() for penalty in self.penalties)
        return loss

    def _sampled_elbo(self, model_trace: Trace, guide_trace: Trace, beta: Tensor | float) -> Any:
        """Sum of the terms of the bound; `terms` keeps each with its plates, which the score function needs."""
        terms, scores = [], []
        model_sites, before = dict(sample_sites(model_trace)), set()
        parents = _latents_before(model_sites)
        for name, site in sample_sites(guide_trace):
            before.add(name)
            prior = model_sites[name] if name in parents else None
            exact = self.analytic_kl and prior is not None and parents[name] <= before
            kl, score = self._kl(site, prior, exact)
            terms.append((plates(site), _weighted(kl, beta)))
            if score is not None:
                scores.append((site, score))
        for site in model_sites.values():
            if site["is_observed"]:
                terms.append((plates(site), log_prob(site)))
        elbo = sum(term.sum() for _, term in terms)
        return elbo + self.baselines.surrogate(scores, terms) if scores else elbo

    def _kl(self, site: dict[str, Any], prior: dict[str, Any] | None, exact: bool) -> tuple[Tensor, Tensor | None]:
        """log p - log q of one site, unsummed, and the log-density that its score function needs, if any."""
        if self.free_bits and prior is not None:
            return -free_bits_kl(site, prior, self.free_bits, exact), None
        if exact and prior is not None and (kl := analytic_kl(site, prior)) is not None:
            return -kl, None
        parts = site["fn"].score_parts(site["value"], *site["args"], **site["kwargs"])
        log_q, score, entropy = parts.log_prob, parts.score_function, parts.entropy_term
        if entropy is not log_q:  # the rest of its gradient is the score function's
            log_q = log_q.detach() + (0.0 if is_identically_zero(entropy) else entropy - entropy.detach())
        log_q = scale_and_mask(log_q, site["scale"], site["mask"])
        scored = isinstance(score, Tensor) and score.requires_grad
        return (log_prob(prior) if prior is not None else 0.0) - log_q, score if scored else None


def _weighted(term: Tensor, weight: Tensor | float) -> Tensor:
    return term if isinstance(weight, float) and weight == 1.0 else weight * term


def _latents_before(model_sites: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """For each latent site of the model, the latent sites that ran before it: all that it can depend on."""
    seen: set[str] = set()
    before = {}
    for name, site in model_sites.items():
        if not site["is_observed"]:
            before[name] = set(seen)
            seen.add(name)
    return before
