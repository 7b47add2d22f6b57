"""`pb.log_likelihood`: the log-likelihood of any Pyro pair, honestly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from probae.checks import choice, finite, positive_int
from probae.data import Dataset
from probae.data.protocol import Protocol
from probae.engine.batches import as_tensor
from probae.engine.door import way as check_way
from probae.engine.programs import Programs
from probae.engine.randomness import check_seed, stream
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.evaluation.bound import BoundAccumulator
from probae.evaluation.energy import estimated_log_partitions, with_log_partition
from probae.evaluation.estimate import Estimate, exact_estimate
from probae.evaluation.importance import Accumulator, importance_estimate
from probae.inference import stepping
from probae.inference.enumeration import exact_log_prob
from probae.inference.kl import base_distribution
from probae.inference.traces import Structure, probe, sample_sites

_EXACT = 256

Part = Dataset | Tensor | np.ndarray
"""One argument of the model for all examples."""


def log_likelihood(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Dataset | Tensor | np.ndarray | tuple[Part, ...] | Mapping[str, Part],
    *,
    method: str = "importance",
    num_samples: int = 1000,
    chunk_size: int = 4096,
    seed: int = 0,
    protocol: Protocol | None = None,
    progress: bool | None = None,
    vectorize: bool = True,
    compile: str = "auto",
) -> Estimate:
    """Estimate the mean log p(x) over examples, for any Pyro model and guide.

    - "importance": log (1/K) sum_k p(x, z_k) / q(z_k given x) with z_k from the guide, for each example. Its
      expectation is a lower bound that rises to log p(x) with K. Discrete sites that the guide enumerates are drawn.
    - "bound": the evidence lower bound, (1/K) sum_k log (p(x, z_k) / q(z_k given x)): below "importance", however many
      samples, and not biased by their number. No search for the best mode of many: few samples will do.
    - "exact": for models whose latent sites are all enumerated (`infer={"enumerate": "parallel"}`), or that have none.

    Memory is flat in the number of samples and examples; the sums are in float64. The modules of the pair are put in
    evaluation mode meanwhile. Where an energy model's log Z is itself an estimate, its error comes along.

    Importance sampling sees only what the guide reaches: a mode of the posterior that it misses leaves the estimate too
    low, and no diagnostic tells.

    Args:
        model, guide: a Pyro pair whose sites all lie in plates over the examples.
        data: a data set, N examples as a tensor or an array, or several of those, of equal length, as the model takes
            them: a tuple by position, a mapping by keyword.
        method: "importance", "bound" or "exact".
        num_samples: K, samples for each example.
        chunk_size: how many samples, over all examples, are evaluated at once; of "exact", how many examples,
            and at most 256, since all values of the discrete sites come on top.
        seed: of the samples; the global random state is not touched.
        protocol: what the data is, where `data` does not know it.
        progress: a progress bar; by default if somebody is looking.
        compile: how importance weights are computed, see `pb.fit`; "auto" records and compiles where it pays.
        vectorize: False for programs that do not broadcast over one more plate.

    Returns:
        The estimate: `per_example` (N,), direction "lower" or "exact", `ess` and `khat` (medians over the examples).
        It is `reliable` if the second half of the samples raised the bound by less than 0.1 nats and Pareto k-hat is
        above 0.7 for at most a tenth of the examples.

    Raises:
        NoLikelihoodError: for a Delta on a continuous site, or a flat prior.
        UnnormalizedError: for an energy model without a current log Z.
        SiteError: if the sites do not match, or do not lie in plates over the examples.
        ArgumentError, DataError: name the argument.

    Source:
        Burda et al. 2016 (arXiv 1509.00519), section 5; Vehtari et al. 2024 (arXiv 1507.02646) for k-hat.

    Example:
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.8))
        >>> x = torch.tensor([0.3, -1.0])
        >>> estimate = log_likelihood(model, guide, x, num_samples=10_000)
        >>> exact = dist.Normal(0.0, 2**0.5).log_prob(x).mean()
        >>> abs(estimate.value - exact.item()) < 5 * estimate.stderr
        True
    """
    choice("method", method, ("importance", "bound", "exact"))
    if protocol is not None and not isinstance(protocol, Protocol):
        raise ArgumentError("protocol", "a pb.data.Protocol", repr(protocol))
    num_samples = positive_int("num_samples", num_samples)
    chunk_size = positive_int("chunk_size", chunk_size)
    _check_lengths(data)
    if isinstance(data, Mapping):
        model, guide, data = _by_name(model, tuple(data)), _by_name(guide, tuple(data)), tuple(data.values())
    x = _examples(data)
    way = check_way(compile, x[0].device)
    first = data[0] if isinstance(data, tuple) and data else data
    known = protocol or (first.protocol if isinstance(first, Dataset) else Protocol())
    programs = Programs(model, guide, objective=log_likelihood)  # knows their modules
    with torch.no_grad(), stepping.engine(), programs.mode(training=False), stream(check_seed(seed), x[0].device):
        structure, trace, named = _probe(model, guide, x)
        if method != "exact" and named:
            model, guide = _drawn(model, named), _drawn(guide, named)
            structure, trace, _ = _probe(model, guide, x)
        if method == "exact" or not (structure.sampled or structure.enumerates):  # nothing is left to sample
            batches = zip(*(part.split(min(chunk_size, _EXACT)) for part in x), strict=True)
            with pyro.validation_enabled():
                values = [exact_log_prob(model, guide, batch, structure) for batch in batches]
            estimate = exact_estimate(torch.cat(values), "summed over all values of the discrete sites", known)
        else:
            estimate = importance_estimate(
                model, guide, x, structure, known,
                num_samples=num_samples, chunk_size=chunk_size, progress=progress, vectorize=vectorize,
                way=way, sums=BoundAccumulator if method == "bound" else Accumulator,
            )  # fmt: skip
    for log_z in estimated_log_partitions(trace):
        estimate = with_log_partition(estimate, log_z)
    return estimate


def _check_lengths(data: Any) -> None:
    """Refuse sequences of different lengths whose ends the pair would not be told."""
    parts = data if isinstance(data, tuple) else (data,)
    if any(isinstance(part, Dataset) and part.lengths is not None for part in parts):
        hint = "A model of probae reads them itself: model.log_likelihood(data)"
        raise DataError("data", "{'x': data, 'lengths': data.lengths}, for sequences that end", "a data set", hint)


def _examples(data: Any) -> tuple[Tensor, ...]:
    given = data if isinstance(data, tuple) else (data,)
    parts = (part.tensor if isinstance(part, Dataset) else part for part in given)
    parts = tuple(as_tensor(part) if isinstance(part, np.ndarray) else part for part in parts)
    for part in parts:
        if not isinstance(part, Tensor) or part.dim() == 0 or len(part) == 0:
            got = f"shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            raise DataError("data", "tensors with at least one example", got)
        if part.is_floating_point():
            finite("data", part)
    if len({len(part) for part in parts}) != 1:
        raise DataError("data", "tensors of equal length", f"lengths {[len(part) for part in parts]}")
    return parts


def _by_name(program: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """The program, with its arguments in a fixed order instead of by keyword."""

    @wraps(program)
    def called(*args: Any) -> Any:
        return program(**dict(zip(names, args, strict=True)))

    return called


def _drawn(program: Callable[..., Any], named: set[str]) -> Callable[..., Any]:
    """The program, with the sites of these names drawn like all others instead of enumerated."""

    def config(site: Any) -> Any:
        return {"enumerate": None} if site["name"] in named else {}

    return poutine.infer_config(program, config)


def _probe(
    model: Callable[..., Any], guide: Callable[..., Any], x: tuple[Tensor, ...]
) -> tuple[Structure, Trace, set[str]]:
    """The pair's plates, the model's trace and the sites that the guide enumerates, from a run on a few examples."""
    few = tuple(part[:2] for part in x)
    structure, model_trace, guide_trace = probe(model, guide, few, {})
    for name, site in sample_sites(guide_trace):
        latent = not site["is_observed"] and site["mask"] is not False
        if latent and isinstance(base_distribution(site["fn"]), dist.Delta):
            raise NoLikelihoodError(
                f"the guide's site {name!r} is a Delta: a deterministic code has no density, so there is no "
                "log-likelihood to estimate. Compare reconstructions, or train a model with a stochastic guide (pb.VAE)"
            )
    for name, site in sample_sites(model_trace):
        if isinstance(base_distribution(site["fn"]), dist.ImproperUniform):
            raise NoLikelihoodError(f"the prior of {name!r} is flat and has no normalization, so p(x) is not defined")
    return structure, model_trace, {
        name for name, site in sample_sites(guide_trace) if site["infer"].get("enumerate")
    }  # fmt: skip
