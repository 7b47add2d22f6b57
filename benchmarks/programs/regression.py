"""Bayesian linear regression on a few of many examples at a time: the plate draws them."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.infer import Trace_ELBO
from torch import Tensor

from benchmarks.programs.program import Pair, Program


def make_model(subsample: int) -> Any:
    """Normal weights, an unknown noise, and a plate over all examples that looks at `subsample` of them."""

    def model(x: Tensor, y: Tensor) -> None:
        count, dims = x.shape
        weight = pyro.sample("weight", dist.Normal(x.new_zeros(dims), 1.0).to_event(1))
        bias = pyro.sample("bias", dist.Normal(x.new_zeros(()), 10.0))
        noise = pyro.sample("noise", dist.LogNormal(x.new_zeros(()), 1.0))
        with pyro.plate("data", count, subsample_size=subsample, device=x.device) as index:
            pyro.sample("y", dist.Normal(x[index] @ weight + bias, noise), obs=y[index])

    return model


def make_guide(start: Tensor) -> Any:
    """An independent distribution for each unknown, from these initial weights."""

    def spread(name: str, like: Tensor) -> Tensor:
        return pyro.param(name, lambda: torch.full_like(like, 0.1), constraint=constraints.positive)

    def guide(x: Tensor, y: Tensor) -> None:
        weight = pyro.param("weight_loc", lambda: start.to(x))
        pyro.sample("weight", dist.Normal(weight, spread("weight_scale", weight)).to_event(1))
        bias = pyro.param("bias_loc", lambda: x.new_zeros(()))
        pyro.sample("bias", dist.Normal(bias, spread("bias_scale", bias)))
        noise = pyro.param("noise_loc", lambda: x.new_zeros(()))
        pyro.sample("noise", dist.LogNormal(noise, spread("noise_scale", noise)))

    return guide


def program(count: int, dims: int, subsample: int) -> Program:
    """The regression in one size."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        start = 0.1 * torch.randn(dims, generator=torch.Generator().manual_seed(seed))
        return Pair(make_model(subsample), make_guide(start))

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        generator = torch.Generator().manual_seed(seed)
        x, truth = torch.randn(count, dims, generator=generator), torch.randn(dims, generator=generator)
        y = x @ truth + 1.0 + 0.5 * torch.randn(count, generator=generator)
        return [(x.to(dtype), y.to(dtype))]

    return Program(make, data, Trace_ELBO, 1e-2, None, count)


FULL = program(count=10_000, dims=50, subsample=500)
SMALL = program(count=60, dims=3, subsample=12)
