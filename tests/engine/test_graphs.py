"""Graphs are compared, freed of what they hold and of what nobody needs, and cut where the noise ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from probae.engine import graphs
from probae.engine.recording import _keep_layouts

X = torch.linspace(0.1, 0.9, 6).reshape(2, 3)


def graph(function: Callable[..., Any], *inputs: Tensor) -> GraphModule:
    return make_fx(function)(*(inputs or (X.clone(),)))


def names(module: GraphModule) -> list[str]:
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


# Comparing.


def with_keywords(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda x: x + torch.zeros(3, dtype=dtype)


DIFFERENT: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "operation": (torch.sin, torch.cos, "once it ran aten.sin where it then ran aten.cos"),
    "number": (lambda x: x * 2.0, lambda x: x * 3.0, "aten.mul.Tensor was given 2.0, then 3.0"),
    "type": (lambda x: x * 1, lambda x: x * 1.0, "aten.mul.Tensor was given 1, then 1.0"),
    "shape": (lambda x: x.view(3, 2), lambda x: x.view(1, 6), "aten.view was given 3, then 1"),
    "input": (lambda x: x.sin() + x, lambda x: x.sin() + x.sin(), "once it ran"),
    "order": (lambda x: x.sin() - x, lambda x: x - x.sin(), "aten.sub.Tensor was given"),
    "keyword": (with_keywords(torch.float32), with_keywords(torch.float64), "was given torch.float32, then"),
    "optional argument": (lambda x: x.sum(0), lambda x: x.sum(0, keepdim=True), "aten.sum.dim_IntList was called in"),
    "longer": (lambda x: x.sin(), lambda x: x.sin().cos(), "once it ran output where it then ran aten.cos"),
    "returned": (lambda x: (x, x.sin()), lambda x: (x.sin(), x), "output was given"),
    "left out": (lambda x: [x.sin()], lambda x: [x.sin(), x], "output was called in two ways"),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_first_difference_is_named(name: str) -> None:
    one, other, words = DIFFERENT[name]
    first, second = graph(one), graph(other)
    for a, b in ((first, second), (second, first)):
        found = graphs.difference(a, b)
        assert found is not None
        assert found[0] in a.graph.nodes
    found = graphs.difference(first, second)
    assert found is not None
    assert found[1].startswith(words) or words in found[1]
    for function in (one, other):
        assert graphs.difference(graph(function), graph(function)) is None


def test_nan_is_the_same_number() -> None:
    assert graphs.difference(graph(lambda x: x + float("nan")), graph(lambda x: x + float("nan"))) is None
    assert graphs.difference(graph(lambda x: x + float("nan")), graph(lambda x: x + 0.0)) is not None


# Lifting and tidying.


def test_what_a_graph_holds_becomes_an_input_by_reference() -> None:
    one, other = torch.ones(3), torch.full((3,), 2.0)
    module = graph(lambda x, y: (x + one) * other + y * one, X, X)
    constants = graphs.lift_constants(module)
    assert [any(constant is held for held in (one, other)) for constant in constants] == [True, True]
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    assert [node.name for node in inputs[2:]] == ["constant_1", "constant_2"]
    one.mul_(5.0)
    assert torch.equal(module(X, X, *constants), (X + one) * other + X * one)
    assert graphs.lift_constants(module) == []


def test_another_thing_that_a_graph_holds_is_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(TypeError, match="it uses a Generator of its own"):
        graphs.lift_constants(graph(lambda x: torch.rand(3, generator=generator) + x))


def test_what_nothing_needs_is_removed_but_draws_and_changes_in_place_stay() -> None:
    def function(x: Tensor) -> Tensor:
        x.cos().exp()
        torch.rand(3)
        x.add_(1.0)
        return x.sin()

    module = graph(function)
    graphs.tidy(module)
    assert names(module) == ["aten.rand.default", "aten.add_.Tensor", "aten.sin.default"]
    assert graphs.num_operations(module) == 3


# Cutting the noise off.


def dropout(x: Tensor) -> Tensor:
    return nn.functional.dropout(x, 0.5, training=True)


def filled(x: Tensor) -> Tensor:
    return torch.empty(2, 3).uniform_() + x.new_empty(3).normal_() + torch.empty_like(x).exponential_()


def several(x: Tensor) -> tuple[Tensor, ...]:
    """Draws of every size between what is computed."""
    a = torch.randn(3) * x
    b = torch.rand_like(a) < a
    c = torch.randn_like(x.t().contiguous().t()) + torch.randint(5, (2, 3)) + x.new_empty(3).uniform_()
    return a, b, c[:, torch.randperm(3)]


CUT: dict[str, Callable[[Tensor], Any]] = {
    "nothing": torch.sin,
    "rand": lambda x: torch.rand(3) + x,
    "like what is computed": lambda x: torch.rand_like(x.double().exp()) * x,
    "like a transposed tensor": lambda x: torch.randn_like(x.t()) + x.t(),
    "dropout": dropout,
    "filled": filled,
    "several": several,
    "unused": lambda x: (torch.rand(2), x + torch.rand(3))[1],
    "bits": lambda x: torch.empty(4, dtype=torch.int64).random_().view(torch.int16)[:3] * x,
}
UNCUT: dict[str, Callable[[Tensor], Any]] = {
    "bernoulli": torch.bernoulli,
    "gamma": torch.ops.aten._standard_gamma,
    "poisson": torch.poisson,
    "multinomial": lambda x: x.multinomial(1),
    "normal of a mean": lambda x: torch.normal(x, 1.0),
    "a view of what is filled": lambda x: (lambda room: room[0] + room.uniform_())(torch.empty(2, 3)) + x,
}


@pytest.mark.parametrize("name", CUT)
def test_noise_drawn_first_is_the_noise_of_the_program(name: str) -> None:
    """The same numbers and the same random state afterwards; what is left draws nothing."""
    module = graph(CUT[name])
    _keep_layouts(module)
    halves = graphs.split_noise(module)
    assert halves is not None
    noise, rest = halves
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected, state = module(X + seed), torch.get_rng_state()
        torch.manual_seed(seed)
        drawn = noise()
        assert torch.equal(torch.get_rng_state(), state)
        found = rest(X + seed, *drawn)
        assert torch.equal(torch.get_rng_state(), state)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, check_stride=True)


@pytest.mark.parametrize("name", UNCUT)
def test_noise_that_hangs_on_values_is_not_cut_off(name: str) -> None:
    assert graphs.split_noise(graph(UNCUT[name])) is None
