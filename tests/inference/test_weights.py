"""Importance weights: which dims are examples, which are summed, and where scales and masks go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from probae.errors import SiteError
from probae.inference.traces import probe
from probae.inference.weights import Weights, log_mean
from tests.inference import zoo
from tests.inference.zoo import Pair, ones, param, zeros


def weights_of(pair: Pair, count: int, vectorize: bool = True) -> Weights:
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    return Weights(pair.model, pair.guide, pair.args, {}, structure, count, vectorize)


@pytest.mark.parametrize("vectorize", [True, False])
def test_each_example_and_particle_has_its_weight(vectorize: bool) -> None:
    pair = zoo.linear_vae()
    weights, (x,) = weights_of(pair, 3, vectorize), pair.args
    for model_trace, guide_trace, count in weights.runs():
        log_w = weights.log_weight(model_trace, guide_trace, count)
        assert log_w.shape == (count, 5)
        z = guide_trace.nodes["z"]["value"]
        q, p = guide_trace.nodes["z"]["fn"], zoo.normal(2)
        wanted = p.log_prob(z) + model_trace.nodes["x"]["fn"].log_prob(x) - q.log_prob(z)
        torch.testing.assert_close(log_w, wanted.reshape(count, 5), rtol=1e-12, atol=1e-12)


def test_particles_are_drawn_in_one_run_or_one_by_one() -> None:
    pair = zoo.linear_vae()
    assert [count for *_, count in weights_of(pair, 3).runs()] == [3]
    assert [count for *_, count in weights_of(pair, 3, vectorize=False).runs()] == [1, 1, 1]


def test_plates_that_do_not_enclose_all_sites_are_summed() -> None:
    """In `nested` no plate does, so there is one weight a particle, the joint density of everything."""
    pair = zoo.nested()
    weights = weights_of(pair, 4)
    model_trace, guide_trace, count = next(weights.runs())
    log_w = weights.log_weight(model_trace, guide_trace, count)
    assert log_w.shape == (4, 1, 1)
    model_trace.compute_log_prob()
    guide_trace.compute_log_prob()
    wanted = zeros(4)
    for trace, sign in ((model_trace, 1), (guide_trace, -1)):
        for name in ("top", "row", "column", "cell", *(["x"] if sign == 1 else [])):
            wanted = wanted + sign * trace.nodes[name]["log_prob"].flatten(1).sum(1)
    torch.testing.assert_close(log_w.flatten(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows_enclose", [True, False])
def test_an_enclosing_plate_may_be_any_dim(rows_enclose: bool) -> None:
    """Two examples with three parts each, as rows or as columns."""
    outer, inner = (("rows", 2, -2), ("columns", 3, -1)) if rows_enclose else (("columns", 2, -1), ("rows", 3, -2))

    def plate(name: str, size: int, dim: int) -> Any:
        return pyro.plate(name, size, dim=dim)

    def model(x: Tensor) -> None:
        with plate(*outer):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            with plate(*inner):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with plate(*outer):
            pyro.sample("z", dist.Normal(param("m"), 1.0))

    x = zoo.tensor(2, 3) if rows_enclose else zoo.tensor(3, 2)
    weights = weights_of(Pair(model, guide, (x,), 2), 5)
    assert weights.log_weight(*next(weights.runs())).shape == ((5, 2, 1) if rows_enclose else (5, 1, 2))


def test_scales_and_masks_stay_in_except_that_of_an_enclosing_subsample() -> None:
    present = torch.tensor([True, False, True])

    def model(x: Tensor) -> None:
        with pyro.plate("data", 12, subsample=x):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            with poutine.scale(scale=0.5), poutine.mask(mask=present):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", 12, subsample=x):
            with poutine.mask(mask=False):
                pyro.sample("noise", dist.Normal(zeros(), 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(x, 1.0))

    x = zoo.tensor(3)
    weights = weights_of(Pair(model, guide, (x,), 1), 2)
    model_trace, guide_trace, count = next(weights.runs())
    log_w = weights.log_weight(model_trace, guide_trace, count)
    z = guide_trace.nodes["z"]["value"]
    wanted = dist.Normal(0.0, 1.0).log_prob(z) - dist.Normal(x, 1.0).log_prob(z)
    wanted = wanted + 0.5 * present * dist.Normal(z, 1.0).log_prob(x)
    torch.testing.assert_close(log_w, wanted, rtol=1e-12, atol=1e-12)
    assert weights.outer_scale == 4.0


def test_factors_and_observed_sites_count_as_what_they_are() -> None:
    """The guide's factor belongs to log q, the model's to log p."""
    pair = zoo.factors()
    weights = weights_of(pair, 3)
    model_trace, guide_trace, count = next(weights.runs())
    log_w, z = weights.log_weight(model_trace, guide_trace, count), guide_trace.nodes["z"]["value"]
    log_p = dist.Normal(0.0, 1.0).log_prob(z) - (z - param("goal")) ** 2 + dist.Normal(z, 1.0).log_prob(pair.args[0])
    log_q = guide_trace.nodes["z"]["fn"].log_prob(z) + (z * param("k")).sin()
    torch.testing.assert_close(log_w, log_p - log_q, rtol=1e-12, atol=1e-12)


def loop_with_a_subsample(x: Tensor) -> None:
    """A loop over a plate is no plate of examples, but its subsample scales what is inside."""
    for i in pyro.plate("steps", 4, subsample_size=2):
        pyro.sample(f"x{i}", dist.Normal(zeros(), 1.0), obs=x[i])


def two_subsamples(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(zeros(), ones()))
        with pyro.plate("parts", 6, subsample_size=2, dim=-2):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.expand(2, -1))


def guide_of_z(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x, 1.0))


@pytest.mark.parametrize(
    ("model", "guide", "plate"),
    [
        (zoo.subsampled().model, zoo.subsampled().guide, "data"),
        (loop_with_a_subsample, zoo.nothing, "steps"),
        (two_subsamples, guide_of_z, "parts"),
    ],
)
def test_a_subsample_inside_the_logarithm_is_refused(model: Callable[..., Any], guide: Any, plate: str) -> None:
    with pytest.raises(SiteError, match=f"plate '{plate}' subsamples"):
        weights_of(Pair(model, guide, (zoo.tensor(10),), 1), 2)


def test_log_mean_keeps_its_dim() -> None:
    log_w = zoo.tensor(3, 4)
    torch.testing.assert_close(log_mean(log_w, 0), log_w.exp().mean(0, keepdim=True).log())
