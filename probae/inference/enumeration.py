"""The evidence lower bound with discrete sites summed out exactly, without a synchronization."""

from __future__ import annotations

import math
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
from pyro.poutine.runtime import InferDict
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from pyro.util import check_traceenum_requirements
from torch import Tensor

from probae.errors import SiteError
from probae.inference.traces import Structure, check_sites, sample_sites, unscaled_log_prob

Packed = Any
"""A tensor whose dims are named in its attribute `_pyro_dims`, one letter each."""


def enumerated_elbo(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
    structure: Structure, beta: Tensor | float = 1.0,
) -> tuple[Tensor, Trace]:  # fmt: skip
    """The ELBO with its enumerated sites summed out, differentiable, and the last guide trace.

    Guide sites are weighted by their probability, model sites marginalized inside the logarithm by tensor variable
    elimination, other sites that are not reparameterized weighted by DiCE factors.

    Raises:
        SiteError: for a beta where a site summed out in the model ties a latent site to an observation, so that its
            KL term is not one by itself.

    Source:
        Obermeyer et al. 2019 (arXiv 1902.03210); Foerster et al. 2018 (arXiv 1802.05098).
    """
    nesting = structure.max_plate_nesting + 1  # room for the particles' plate
    queue: LifoQueue[Trace] = LifoQueue()
    queue.put(Trace())
    guide = EnumMessenger(first_available_dim=-1 - nesting)(guide)
    guide = poutine.queue(guide, queue, escape_fn=iter_discrete_escape, extend_fn=iter_discrete_extend)
    model = EnumMessenger()(model)
    elbo: Any = 0.0
    guide_trace = Trace()
    while not queue.empty():
        model_trace, guide_trace = _traces(model, guide, args, kwargs, nesting)
        elbo = elbo + _expectation(guide_trace, *_costs(model_trace, guide_trace, beta))
    return elbo, guide_trace


def exact_log_prob(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], structure: Structure
) -> Tensor:
    """log p(x) of each example, for a pair whose latent sites are all enumerated, summed out in the model: (N,).

    Raises:
        SiteError: if a latent site is sampled, or if not all sites lie in one plate over the examples.
    """
    if structure.sampled:
        raise SiteError(f"method='exact' needs all latent sites enumerated; {structure.sampled[0]!r} is sampled")
    if len(structure.outer) != 1 or structure.subsampled:
        raise SiteError("method='exact' needs all sites inside one plate over the examples, without subsampling")
    model = poutine.infer_config(model, lambda site: InferDict() if site["is_observed"] else _SUM_OUT)
    model = EnumMessenger(first_available_dim=-2 - structure.max_plate_nesting)(model)
    model_trace, empty_trace = _traces(model, lambda *_: None, args, {}, structure.max_plate_nesting + 1)
    costs, _ = _costs(model_trace, empty_trace, 1.0)
    symbol = model_trace.plate_to_symbol[structure.outer[0][0]]
    total = args[0].new_zeros(len(args[0]), dtype=torch.float64)
    for terms in costs.values():
        for term in terms:
            elements = dict(zip(term._pyro_dims, term.shape, strict=True)).get(symbol, 1)
            if elements not in (1, len(total)):
                raise SiteError(f"the plates around all sites have {elements} elements for {len(total)} examples")
            inner = [i for i, dim in enumerate(term._pyro_dims) if dim != symbol]
            total = total + (term.double().sum(inner) if inner else term.double())
    return total


_SUM_OUT: Any = {"enumerate": "parallel", "num_samples": None}


def _traces(
    model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], nesting: int
) -> tuple[Trace, Trace]:
    guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
    if is_validation_enabled():
        check_sites(model_trace, guide_trace, nesting)
        for trace in (guide_trace, model_trace):
            for _, site in sample_sites(trace):
                unscaled_log_prob(site, nesting)  # names the site where it fails
    guide_trace, model_trace = prune_subsample_sites(guide_trace), prune_subsample_sites(model_trace)
    model_trace.compute_log_prob()
    guide_trace.compute_score_parts()
    if is_validation_enabled():
        check_traceenum_requirements(model_trace, guide_trace)
    guide_trace.pack_tensors()
    model_trace.pack_tensors(guide_trace.plate_to_symbol)
    return model_trace, guide_trace


def _costs(model_trace: Trace, guide_trace: Trace, beta: Tensor | float) -> tuple[dict[Any, list[Packed]], Any]:
    """The terms of the ELBO by their plates, model-side enumeration done; and the plates of each site."""
    weighted = not (isinstance(beta, float) and beta == 1.0)
    if weighted:
        _weigh(model_trace, guide_trace, beta)
    costs, log_factors, ordering, sum_dims, scale = _compute_model_factors(model_trace, guide_trace)
    if log_factors:
        weight: Any = scale * beta if weighted and _is_prior(model_trace, guide_trace, sum_dims) else scale
        factors = [term for terms in log_factors.values() for term in terms]
        sizes = {dim: size for term in factors for dim, size in zip(term._pyro_dims, term.shape, strict=True)}
        with shared_intermediates() as cache:
            ring = SampleRing(cache=cache, dim_to_size=sizes)
            for plates, terms in contract_tensor_tree(log_factors, sum_dims, ring=ring).items():
                costs.setdefault(plates, []).extend(packed.scale_and_mask(term, scale=weight) for term in terms)
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
                site["packed"]["log_prob"] = _named(beta * term, term._pyro_dims)


def _is_prior(model_trace: Trace, guide_trace: Trace, sum_dims: set[str]) -> bool:
    """Whether what is summed out in the model belongs to the prior of the guide's sites, or else to the likelihood."""
    dims = {name: site["packed"]["log_prob"]._pyro_dims for name, site in sample_sites(model_trace)}
    tied = [name for name in dims if not sum_dims.isdisjoint(dims[name])]
    latent = [name for name in tied if name in guide_trace]
    observed = [name for name in tied if model_trace.nodes[name]["is_observed"]]
    if latent and observed:
        raise SiteError(
            f"beta weighs the KL term of {latent[0]!r}, but a site summed out in the model ties it to the observed "
            f"{observed[0]!r}, so that it has no term of its own. Enumerate that site in the guide, or use beta=1"
        )
    return bool(latent)


def _expectation(guide_trace: Trace, costs: Mapping[Any, list[Packed]], ordering: Any) -> Any:
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
    ring: MarginalRing, factors: list[Packed], terms: list[Packed], plates: frozenset[str]
) -> dict[frozenset[str], Packed]:
    """For each set of dims among `terms`, the product of the factors, summed over all other enumerated dims."""
    wanted = {frozenset(term._pyro_dims): term for term in terms}
    queries: dict[frozenset[str], Packed] = {}
    for factor in factors:
        if (key := frozenset(factor._pyro_dims)) in wanted:
            queries.setdefault(key, factor)
    for key, term in wanted.items():
        if key not in queries:
            queries[key] = _named(torch.zeros_like(term), term._pyro_dims)
            factors.append(queries[key])
    sum_dims = set().union(*(factor._pyro_dims for factor in factors)) - plates
    for query in queries.values():
        require_backward(query)
    root: Packed = ring.sumproduct(factors, sum_dims)
    root._pyro_backward()
    return {key: _named(query._pyro_backward_result.exp(), query._pyro_dims) for key, query in queries.items()}


def _named(term: Packed, dims: str) -> Packed:
    term._pyro_dims = dims
    return term
