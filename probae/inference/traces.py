"""Run a guide, run the model on the guide's values, and know which plates their sites live in.

Everything here works on ordinary Pyro traces, so objectives and estimators see any Pyro program alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled, validation_enabled
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from pyro.poutine.trace_struct import Trace
from pyro.util import check_model_guide_match, check_site_shape
from torch import Tensor

from probae.checks import nearest
from probae.errors import NoLikelihoodError, SiteError

Callable_ = Callable[..., Any]
Site = dict[str, Any]
PARTICLES = "_particles"
_ANY_NESTING = sys.maxsize


@dataclass(frozen=True)
class Structure:
    """What one run of a model and guide shows of their plates; the same for every batch.

    Attributes:
        max_plate_nesting: how many dims on the left of the event dims belong to plates.
        enumerates: whether a discrete site is to be summed out rather than sampled.
        outer: name and dim of the plates that enclose every site.
        subsampled: full size of each plate that subsamples, outermost first.
        sampled: latent sites that the guide samples, those summed out excepted.
        scored: those of them that are not reparameterized: their gradient needs the score function.
        device: where the log-densities are.
    """

    max_plate_nesting: int
    enumerates: bool
    outer: tuple[tuple[str, int], ...]
    subsampled: tuple[tuple[str, int], ...]
    sampled: tuple[str, ...]
    scored: tuple[str, ...]
    device: torch.device

    def num_examples(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """How many examples a loss on this batch stands for: N under a subsampling plate, else the batch's length."""
        if self.subsampled:
            return self.subsampled[0][1]
        batch = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dim()), None)
        return 1 if batch is None else batch.shape[0]


def sample_sites(trace: Trace) -> Iterator[tuple[str, Site]]:
    """The stochastic sites of a trace, in order of execution, without the index draws of subsampling plates."""
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and type(site["fn"]) is not _Subsample:
            yield name, site  # type: ignore[misc]


def run_pair(
    model: Callable_, guide: Callable_, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Trace, Trace]:
    """Trace the guide, then the model replayed on its values. Returns (model trace, guide trace)."""
    guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
    model_trace = replay(model, guide_trace, args, kwargs)
    if is_validation_enabled():
        check_sites(model_trace, guide_trace)
    return model_trace, guide_trace


def replay(program: Callable_, values: Trace, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Trace:
    """Trace `program` with the values of its latent sites taken from the trace `values`."""
    return poutine.trace(poutine.replay(program, trace=values)).get_trace(*args, **kwargs)


def vectorized(program: Callable_, count: int, structure: Structure) -> Callable_:
    """`program` run `count` times at once, along one more plate on the left of its own."""
    dim = -1 - structure.max_plate_nesting

    @wraps(program)
    def run(*args: Any, **kwargs: Any) -> Any:
        with pyro.plate(PARTICLES, count, dim=dim):
            return program(*args, **kwargs)

    return run


def log_prob(site: Site) -> Tensor:
    """Log-probability of a traced site, scaled and masked, one number for each element of its batch shape."""
    return scale_and_mask(unscaled_log_prob(site), site["scale"], site["mask"])


def unscaled_log_prob(site: Site, max_plate_nesting: int = _ANY_NESTING) -> Tensor:
    """Log-probability of a traced site, neither scaled nor masked; errors name the site."""
    try:
        value = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        if is_validation_enabled():
            shaped: Any = {**site, "log_prob": value}
            check_site_shape(shaped, max_plate_nesting)
        return value
    except NotImplementedError as error:
        kind = type(site["fn"]).__name__
        raise NoLikelihoodError(f"site {site['name']!r}: {kind} can be drawn from, but has no density") from error
    except ValueError as error:
        raise SiteError(f"site {site['name']!r}: {_explain(site)}{error}") from error


def _explain(site: Site) -> str:
    value = site["value"]
    bits = "Bernoulli" in str(site["fn"]) and isinstance(value, Tensor) and value.is_floating_point()
    if bits and bool(((value > 0) & (value < 1)).any()):
        return (
            "grey values were given to a Bernoulli likelihood, which is over bits. Binarize the data "
            "(pb.data.load(..., binarize='stochastic')), or use a likelihood over grey values such as 'normal'. "
        )
    return ""


def plates(site: Site) -> dict[str, Any]:
    """The vectorized plates around a site, by name, without the particles' own."""
    return {f.name: f for f in site["cond_indep_stack"] if f.vectorized and f.name != PARTICLES}


def subsampling(frame: Any) -> float:
    """By how much a plate multiplies the terms inside it: full size / subsample size, 1 where it does not subsample."""
    return 1.0 if frame.full_size is None else frame.full_size / frame.size


def probe(
    model: Callable_, guide: Callable_, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Structure, Trace, Trace]:
    """Run the pair once, without gradients and without moving the random state, and look at its plates.

    Returns:
        The structure, the model's trace and the guide's.

    Raises:
        SiteError: if their sites do not fit each other.
    """
    if isinstance(guide, Messenger):
        raise SiteError(
            f"{type(guide).__name__} runs the model inside the guide; use a guide that is a program of its own, "
            "such as pyro.infer.autoguide.AutoNormal"
        )
    with poutine.block(), torch.random.fork_rng(devices=_devices(args, kwargs)), torch.no_grad(), validation_enabled():
        model_trace, guide_trace = run_pair(model, guide, args, kwargs)
    sites = [site for trace in (guide_trace, model_trace) for _, site in sample_sites(trace)]
    return _structure(sites, model_trace, guide_trace), model_trace, guide_trace


def _structure(sites: list[Site], model_trace: Trace, guide_trace: Trace) -> Structure:
    stacks = [plates(site) for site in sites]
    random = [set(plates(site)) for site in sites if not site["infer"].get("_deterministic")]
    common = set.intersection(*random) if random else set()
    frames = {name: frame for stack in stacks for name, frame in stack.items()}
    everywhere = {frame.name: frame for site in sites for frame in site["cond_indep_stack"]}  # loops of plates too
    latent = {
        name: site
        for name, site in sample_sites(guide_trace)
        if not site["is_observed"] and not site["infer"].get("enumerate") and site["mask"] is not False
    }
    return Structure(
        max_plate_nesting=max((-frame.dim for frame in frames.values()), default=0),
        enumerates=any(site["infer"].get("enumerate") for site in sites if not site["is_observed"]),
        outer=tuple((name, frames[name].dim) for name in frames if name in common),
        subsampled=tuple((name, frame.full_size) for name, frame in everywhere.items() if subsampling(frame) != 1.0),
        sampled=tuple(latent),
        scored=tuple(name for name, site in latent.items() if not site["fn"].has_rsample),
        device=next((site["value"].device for site in sites if isinstance(site["value"], Tensor)), torch.device("cpu")),
    )


def _devices(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.device]:
    tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    return [x.device for x in tensors[:1] if x.device.type == "cuda"]


def check_sites(model_trace: Trace, guide_trace: Trace, max_plate_nesting: int = _ANY_NESTING) -> None:
    """Check that the sites of model and guide fit each other.

    Raises:
        SiteError: names the site that one of them lacks, the nearest name there is, and what to do about it; or
            the site whose shapes disagree, or that the guide observes.
    """
    latent = {name: site for name, site in sample_sites(model_trace) if not site["is_observed"]}
    guided = {name: site for name, site in sample_sites(guide_trace) if not site["is_observed"]}
    for name, site in guided.items():
        if name not in latent and not site["infer"].get("is_auxiliary"):
            raise SiteError(
                f"the guide samples {name!r}, which is no latent site of the model{nearest(name, latent)}; "
                "if it belongs to the guide alone, mark it with infer={'is_auxiliary': True}"
            )
    for name, site in latent.items():
        if name not in guided and site["infer"].get("enumerate") != "parallel":
            raise SiteError(
                f"the model's latent site {name!r} is not sampled by the guide{nearest(name, guided)}; sample it "
                "there, observe it (obs=), or sum it out with infer={'enumerate': 'parallel'}"
            )
    for name, site in sample_sites(guide_trace):
        if site["is_observed"] and not isinstance(site["fn"], Unit) and not site["infer"].get("_deterministic"):
            raise SiteError(f"the guide observes {name!r}, but a guide is a distribution over latent sites: drop obs=")
    try:
        _check_shapes(model_trace, guide_trace, max_plate_nesting)
    except ValueError as error:
        raise SiteError(str(error)) from error


def _check_shapes(model_trace: Trace, guide_trace: Trace, max_plate_nesting: int) -> None:
    known = {name for name, site in sample_sites(guide_trace)}
    shared = model_trace.copy()
    for name, site in sample_sites(model_trace):
        if name not in known and not site["is_observed"]:
            shared.nodes.pop(name)  # summed out: check_sites has judged it
    check_model_guide_match(shared, guide_trace, max_plate_nesting)
