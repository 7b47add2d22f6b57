"""A Bayesian mixture of Gaussians: assignments summed out in the model, a guide for weights, places and widths."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from benchmarks.programs.program import Pair, Program


def make_model(components: int) -> Any:
    """Each example belongs to one of the components, and we do not know to which."""

    @config_enumerate
    def model(x: Tensor) -> None:
        dims = x.shape[-1]
        weights = pyro.sample("weights", dist.Dirichlet(x.new_full((components,), 0.5)))
        with pyro.plate("components", components):
            locs = pyro.sample("locs", dist.Normal(x.new_zeros(dims), 5.0).to_event(1))
            scales = pyro.sample("scales", dist.LogNormal(x.new_zeros(dims), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            assignment = pyro.sample("assignment", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(locs[assignment], scales[assignment]).to_event(1), obs=x)

    return model


def make_guide(start: Tensor) -> Any:
    """Independent distributions of the unknowns, from these initial places (K, D)."""

    def spread(name: str, like: Tensor) -> Tensor:
        return pyro.param(name, lambda: torch.full_like(like, 0.1), constraint=constraints.positive)

    def guide(x: Tensor) -> None:
        components = len(start)
        counts = pyro.param("counts", lambda: x.new_full((components,), 5.0), constraint=constraints.positive)
        pyro.sample("weights", dist.Dirichlet(counts))
        locs = pyro.param("locs_loc", lambda: start.to(x))
        scales = pyro.param("scales_loc", lambda: torch.zeros_like(start).to(x))
        with pyro.plate("components", components):
            pyro.sample("locs", dist.Normal(locs, spread("locs_scale", locs)).to_event(1))
            pyro.sample("scales", dist.LogNormal(scales, spread("scales_scale", scales)).to_event(1))

    return guide


def program(count: int, components: int, dims: int) -> Program:
    """The mixture in one size; a step takes all examples."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        start = 2.0 * torch.randn(components, dims, generator=torch.Generator().manual_seed(seed))
        return Pair(make_model(components), make_guide(start))

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        generator = torch.Generator().manual_seed(seed)
        centres = 4.0 * torch.randn(components, dims, generator=generator)
        chosen = centres[torch.randint(components, (count,), generator=generator)]
        return [((chosen + torch.randn(count, dims, generator=generator)).to(dtype),)]

    elbo = partial(TraceEnum_ELBO, max_plate_nesting=1)
    return Program(make, data, elbo, 1e-2, None, count, enumerates=True)


FULL = program(count=1000, components=8, dims=2)
SMALL = program(count=20, components=3, dims=2)
