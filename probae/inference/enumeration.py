"""The evidence lower bound with discrete sites summed out exactly, without a synchronization."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from queue import LifoQueue
from typing import Any

import torch
from opt_einsum import shared_intermediates
from pyro import poutine
from pyro.infer.enum import iter_discrete_escape, iter_discrete_extend
from pyro.infer.traceenum_elbo import _compute_model_factors
from pyro.infer.util import Dice, is_validation_enabled
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.ops.einsum.adjoint import require_backward
from pyro.ops.rings import MarginalRing, SampleRing
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_traceenum_requirements
from torch import Tensor

from probae.errors import SiteError
from probae.inference.traces import Structure, check_sites, sample_sites


def enumerated_elbo(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
    structure: Structure, beta: Tensor | float = 1.0,
) -> tuple[Tensor, Trace]:  # fmt: skip
    """The ELBO with its enumerated sites summed out, differentiable, and the last guide trace.

    Guide sites are weighted by their probability, model sites marginalized inside the logarithm by tensor variable
    elimination, other sites that are not reparameterized weighted by DiCE factors.

    Source:
        Obermeyer et al. 2019 (arXiv 1902.03210); Foerster et al. 2018 (arXiv 1802.05098).
    """
    nesting = structure.max_plate_nesting + 1  # room for the particles' plate
    queue: LifoQueue[Trace] = LifoQueue()
    queue.put(Trace())
    guide = EnumMessenger(first_available_dim=-1 - nesting)(guide)
    guide = poutine.queue(guide, queue, escape_fn=iter_discrete_escape, extend_fn=iter_discrete_extend)
    elbo: Any = 0.0
    while not queue.empty():
        model_trace, guide_trace = _traces(EnumMessenger()(model), guide, args, kwargs, nesting)
        elbo = elbo + _expectation(guide_trace, *_costs(model_trace, guide_trace, beta))
    return elbo, guide_trace


def exact_log_prob(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], structure: Structure
) -> Tensor:
    """log p(x) of each example, for a model whose latent sites are all enumerated: (N,).

    Raises:
        SiteError: if a latent site is sampled, or if not all sites lie in one plate over the examples.
    """
    if structure.sampled:
        raise SiteError(f"method='exact' needs all latent sites enumerated; {structure.sampled[0]!r} is sampled")
    if len(structure.outer) != 1 or structure.subsampled:
        raise SiteError("method='exact' needs all sites inside one plate over the examples, without subsampling")
    guide = EnumMessenger(first_available_dim=-2 - structure.max_plate_nesting)(guide)
    model_trace, guide_trace = _traces(EnumMessenger()(model), guide, args, {}, structure.max_plate_nesting + 1)
    costs, _ = _costs(model_trace, guide_trace, 1.0)
    symbol = guide_trace.plate_to_symbol.get(structure.outer[0][0]) or model_trace.plate_to_symbol[structure.outer[0][0]]
    total = args[0].new_zeros(len(args[0]), dtype=torch.float64)
    for terms in costs.values():
        for term in terms:
            inner = [i for i, dim in enumerate(term._pyro_dims) if dim != symbol]
            total = total + (term.double().sum(inner) if inner else term.double())
    return total


def _traces(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], nesting: int
) -> tuple[Trace, Trace]:
    guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
    if is_validation_enabled():
        check_sites(model_trace, guide_trace, nesting)
    guide_trace, model_trace = prune_subsample_sites(guide_trace), prune_subsample_sites(model_trace)
    model_trace.compute_log_prob()
    guide_trace.compute_score_parts()
    if is_validation_enabled():
        check_traceenum_requirements(model_trace, guide_trace)
    guide_trace.pack_tensors()
    model_trace.pack_tensors(guide_trace.plate_to_symbol)
    return model_trace, guide_trace


def _costs(model_trace: Trace, guide_trace: Trace, beta: Tensor | float) -> tuple[dict[Any, list[Tensor]], Any]:
    """The terms of the ELBO by the plates that they live in, model-side enumeration done; and the plates of each site."""
    if not (isinstance(beta, float) and beta == 1.0):
        _weigh(model_trace, guide_trace, beta)
    costs, log_factors, ordering, sum_dims, scale = _compute_model_factors(model_trace, guide_trace)
    if log_factors:
        sizes = {
            dim: size
            for terms in log_factors.values()
            for term in terms
            for dim, size in zip(term._pyro_dims, term.shape, strict=True)
        }
        with shared_intermediates() as cache:
            ring = SampleRing(cache=cache, dim_to_size=sizes)
            for plates, terms in contract_tensor_tree(log_factors, sum_dims, ring=ring).items():
                costs.setdefault(plates, []).extend(packed.scale_and_mask(term, scale=scale) for term in terms)
    for name, site in sample_sites(guide_trace):
        costs.setdefault(ordering[name], []).append(packed.neg(site["packed"]["log_prob"]))
    return costs, ordering


def _weigh(model_trace: Trace, guide_trace: Trace, beta: Tensor | float) -> None:
    """Multiply the KL terms of sampled and guide-enumerated latent sites by beta."""
    latent = {name for name, _ in sample_sites(guide_trace)}
    for trace in (model_trace, guide_trace):
        for name, site in sample_sites(trace):
            if name in latent:
                term = site["packed"]["log_prob"]
                weighted = beta * term
                weighted._pyro_dims = term._pyro_dims
                site["packed"]["log_prob"] = weighted


def _expectation(guide_trace: Trace, costs: Mapping[Any, list[Tensor]], ordering: Any) -> Any:
    """Expected cost under the guide's enumerated weights and DiCE factors.

    As `pyro.infer.util.Dice.compute_expectation`, but where a weight is zero the cost is replaced instead of selected
    away: selecting asks the device for the mask, and so waits for it.
    """
    dice, total = Dice(guide_trace, ordering), 0.0
    with shared_intermediates() as cache:
        ring = MarginalRing(cache=cache)
        for plates, terms in costs.items():
            factors = dice._get_log_factors(plates)
            constant = math.exp(sum(f for f in factors if not isinstance(f, Tensor)))
            weights = _marginal_weights(ring, [f for f in factors if isinstance(f, Tensor)], terms, plates)
            for term in terms:
                cost, weight = packed.broadcast_all(term, weights[frozenset(term._pyro_dims)])
                total = total + constant * (weight * torch.where(weight > 0, cost, 0.0)).sum()
    return total


def _marginal_weights(
    ring: MarginalRing, factors: list[Tensor], terms: list[Tensor], plates: Any
) -> dict[frozenset[str], Tensor]:
    """For each set of dims among `terms`, the product of the factors, summed over all other enumerated dims."""
    queries: dict[frozenset[str], Tensor | None] = {frozenset(term._pyro_dims): None for term in terms}
    for factor in factors:
        key = frozenset(factor._pyro_dims)
        if key in queries and queries[key] is None:
            queries[key] = factor
    for term in terms:
        key = frozenset(term._pyro_dims)
        if queries[key] is None:
            query = torch.zeros_like(term)
            query._pyro_dims = term._pyro_dims  # type: ignore[attr-defined]
            factors.append(query)
            queries[key] = query
    sum_dims = set().union(*(factor._pyro_dims for factor in factors)) - plates
    found = {key: query for key, query in queries.items() if query is not None}
    for query in found.values():
        require_backward(query)
    ring.sumproduct(factors, sum_dims)._pyro_backward()
    weights = defaultdict()
    for key, query in found.items():
        weight = query._pyro_backward_result.exp()
        weight._pyro_dims = query._pyro_dims
        weights[key] = weight
    return weights
