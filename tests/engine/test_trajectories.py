"""Any Pyro pair trains through `pb.fit` as it does in `pyro.infer.SVI`: the same parameters, step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn

import probae as pb
from tests.engine import pairs
from tests.engine.pairs import Pair

SEED, RATE, CLIP = 7, 0.2, 4.0
WHOLE = {"subsampled", "handed"}
"""Pairs whose loss stands for all 20 examples, since their plates scale a part of them up."""


def store() -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in pyro.get_param_store().items()}


def sgd(rate: float = RATE) -> Callable[..., torch.optim.Optimizer]:
    return partial(torch.optim.SGD, lr=rate)


def fitted(pair: Pair, x: Tensor, objective: Any, **settings: Any) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What `pb.fit` leaves in the store, and the batches that it used, in order."""
    seen: list[Tensor] = []
    settings = {"epochs": 3, "batch_size": 8, "optimizer": sgd(), "seed": SEED, **settings}

    def watched(model: Any, guide: Any, batch: Tensor) -> Tensor:
        seen.append(batch)
        return objective(model, guide, batch)

    used = watched if inspect.ismethod(objective) else objective
    pb.fit(pair.model, pair.guide, x, objective=used, **settings)
    return store(), seen[1:]  # the first call only looks for parameters


def by_svi(pair: Pair, batches: list[Tensor], loss: Any, examples: int | None) -> dict[str, Tensor]:
    """What Pyro's own loop leaves in the store, on the same batches and noise."""
    torch.manual_seed(SEED)
    pair.guide(batches[0])  # automatic guides make their parameters in the first call
    torch.manual_seed(SEED)
    for batch in batches:
        rate = RATE / (examples or len(batch))
        SVI(pair.model, pair.guide, PyroOptim(torch.optim.SGD, {"lr": rate}), loss).step(batch)
    return store()


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert found
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-11, msg=name)


def settings_of(kind: str) -> dict[str, Any]:
    return {"batch_size": None, "epochs": 9} if kind == "subsampled" else {}


@pytest.mark.parametrize("kind", pairs.SAMPLED)
def test_the_same_trajectory_as_svi_with_pyros_objective(kind: str) -> None:
    make, x = pairs.SAMPLED[kind], pairs.data()
    before = initial(make, x)
    found, batches = fitted(make(), x, Trace_ELBO().differentiable_loss, **settings_of(kind))
    assert len(batches) == 9
    pyro.clear_param_store()
    assert_close(found, by_svi(make(), batches, Trace_ELBO(), 20 if kind in WHOLE else None))
    moved = [name for name in before if not torch.equal(before[name], found[name])]
    assert moved == list(before), "all parameters train"


def initial(make: Callable[[], Pair], x: Tensor) -> dict[str, Tensor]:
    pair = make()
    pair.guide(x)
    pair.model(x)
    before = store()
    pyro.clear_param_store()
    return before


@pytest.mark.parametrize("kind", pairs.SAMPLED)
def test_the_same_trajectory_with_our_objective(kind: str) -> None:
    """Without analytic KL terms and baselines our ELBO draws what Pyro's draws, so that the noise is the same too."""
    make, x = pairs.SAMPLED[kind], pairs.data()
    _, batches = fitted(make(), x, Trace_ELBO().differentiable_loss, **settings_of(kind))
    pyro.clear_param_store()
    found, _ = fitted(make(), x, pb.ELBO(analytic_kl=False, baseline=None), **settings_of(kind))
    pyro.clear_param_store()
    assert_close(found, by_svi(make(), batches, Trace_ELBO(), 20 if kind in WHOLE else None))


@pytest.mark.parametrize("kind", ["params", "registered", "autonormal"])
def test_analytic_kl_terms_as_in_trace_mean_field(kind: str) -> None:
    make, x = pairs.SAMPLED[kind], pairs.data()
    _, batches = fitted(make(), x, Trace_ELBO().differentiable_loss)
    pyro.clear_param_store()
    found, _ = fitted(make(), x, None)
    pyro.clear_param_store()
    assert_close(found, by_svi(make(), batches, TraceMeanField_ELBO(), None))


@pytest.mark.parametrize("objective", [pb.ELBO(), TraceEnum_ELBO(max_plate_nesting=1)], ids=["ours", "pyro's"])
def test_sites_that_are_summed_out(objective: Any) -> None:
    x, elbo = pairs.data(), TraceEnum_ELBO(max_plate_nesting=1)
    _, batches = fitted(pairs.mixture(), x, elbo.differentiable_loss)
    pyro.clear_param_store()
    found, _ = fitted(pairs.mixture(), x, objective)
    pyro.clear_param_store()
    assert_close(found, by_svi(pairs.mixture(), batches, elbo, None))


def test_methods_of_a_module_need_no_registration() -> None:
    x, net, twin = pairs.data(), pairs.Net(), pairs.RegisteredNet()
    fitted(Pair(net.model, net.guide), x, pb.ELBO(analytic_kl=False))
    assert store() == {}
    fitted(Pair(twin.model, twin.guide), x, pb.ELBO(analytic_kl=False))
    for name, p in net.named_parameters():
        assert torch.equal(p, twin.get_parameter(name))


@pytest.mark.parametrize("kind", ["pyro_modules", "autonormal", "autodelta"])
def test_module_local_parameters(kind: str) -> None:
    """The second of two modules of one name trains, and Pyro's store stays empty."""
    make, x = pairs.SAMPLED[kind], pairs.data()
    pair = make()
    fitted(pair, x, pb.ELBO())
    expected = [p for part in pair if isinstance(part, nn.Module) for p in part.parameters()]
    pyro.clear_param_store()
    with pyro.settings.context(module_local_params=True):
        for _ in range(2):
            pair = make()
            found, _ = fitted(pair, x, pb.ELBO())
            assert found == {}
            parts = [part for part in pair if isinstance(part, nn.Module)]
            values = [p for part in parts for p in part.parameters()]
            for value, leaf in zip(values, expected, strict=True):
                torch.testing.assert_close(value, leaf)


def test_a_second_instance_under_one_name_trains() -> None:
    """Not so in SVI, where the first instance's parameters are optimized and the second one's are used."""
    x = pairs.data()
    for _ in range(2):
        net = pairs.RegisteredNet()
        start = {name: p.detach().clone() for name, p in net.named_parameters()}
        fitted(Pair(net.model, net.guide), x, pb.ELBO())
        assert not any(torch.equal(p, start[name]) for name, p in net.named_parameters())


def test_a_plain_function_as_the_objective() -> None:
    """Its own `pyro.param` statements train too; the loss is divided by the number of examples."""
    x = pairs.data(8)

    def model(x: Tensor) -> None:
        pyro.sample("x", dist.Normal(pyro.param("loc", pairs.zeros(3)), 1.0).to_event(1).expand([len(x)]), obs=x)

    def squares(model: Any, guide: Any, batch: Tensor) -> Tensor:
        return (batch - pyro.param("loc", pairs.zeros(3)) - pyro.param("shift", pairs.zeros(3))).square().sum()

    pb.fit(model, lambda x: None, x, objective=squares, epochs=1, batch_size=None, optimizer=sgd(), seed=0)
    for name in ("loc", "shift"):
        torch.testing.assert_close(pyro.param(name), RATE * 2 * x.mean(0))


def test_constrained_parameters_are_optimized_unconstrained_and_written_back() -> None:
    """One step by hand: d/du of log(scale) with scale = exp(u)."""

    def model(x: Tensor) -> None:
        scale = pyro.param("scale", 2.0 * pairs.ones(), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(pairs.zeros(3), scale).to_event(1), obs=x)

    x = pairs.data(4)
    pb.fit(model, lambda x: None, x, epochs=1, optimizer=sgd(), seed=0)
    u = torch.tensor(2.0, dtype=torch.float64).log()
    slope = 3.0 - x.square().sum(-1).mean() / 4.0
    torch.testing.assert_close(pyro.param("scale"), (u - RATE * slope).exp())
    unconstrained = dict(pyro.get_param_store().named_parameters())["scale"]
    torch.testing.assert_close(unconstrained.detach(), u - RATE * slope)


def test_against_a_loop_written_by_hand() -> None:
    """Momentum, a schedule, a clipped gradient and the order of the examples, over 3 epochs of 3 uneven batches."""
    x, net, twin = pairs.data(), pairs.Net(), pairs.Net()
    used: list[Tensor] = []

    def elbo(model: Any, guide: Any, batch: Tensor) -> Tensor:
        used.append(batch)
        return Trace_ELBO().differentiable_loss(model, guide, batch)

    optimizer = partial(torch.optim.SGD, lr=RATE, momentum=0.9)
    run = pb.fit(
        net.model, net.guide, x, objective=elbo, epochs=3, batch_size=8, optimizer=optimizer, schedule="linear",
        clip_norm=CLIP, seed=SEED,
    )  # fmt: skip
    by_hand = optimizer(twin.parameters())
    losses, clipped = [], 0
    torch.manual_seed(SEED)
    for step, batch in enumerate(used[1:]):
        loss = Trace_ELBO().differentiable_loss(twin.model, twin.guide, batch) / len(batch)
        by_hand.zero_grad()
        loss.backward()
        clipped += int(torch.nn.utils.clip_grad_norm_(twin.parameters(), CLIP) > CLIP)
        by_hand.param_groups[0]["lr"] = RATE * (1 - step / 9)
        by_hand.step()
        losses.append(loss.item() * len(batch))
    assert 0 < clipped < 9, "the test is about both"
    for name, p in net.named_parameters():
        torch.testing.assert_close(p, twin.get_parameter(name), rtol=1e-10, atol=1e-12)
    means = [sum(losses[3 * epoch : 3 * epoch + 3]) / 20 for epoch in range(3)]
    torch.testing.assert_close(torch.tensor(run.history["train_loss"]), torch.tensor(means))
    assert run.history["learning_rate"] == pytest.approx([RATE * (1 - step / 9) for step in (2, 5, 8)])


def test_several_arguments_and_keywords_reach_the_pair() -> None:
    x, y = pairs.data(), torch.arange(20)
    seen: list[tuple[int, int]] = []

    def model(x: Tensor, y: Tensor | None = None) -> None:
        assert y is not None
        assert torch.equal(x, pairs.data()[y])
        seen.append((len(x), len(y)))
        pairs.local_model(x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pairs.params().guide(x)

    for given in ((x, y), {"x": x, "y": y}):
        seen.clear()
        pb.fit(model, guide, given, epochs=1, batch_size=8, seed=0)
        assert seen == [(8, 8), (8, 8), (8, 8), (4, 4)]
