"""Which modules a Pyro callable is made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from pyro import poutine
from pyro.infer import config_enumerate
from torch import Tensor, nn

from probae.engine.modules import owners, referred

NET = nn.Linear(1, 1)
NAMED = {"a": nn.Linear(2, 2), "b": 3}


class Owner(nn.Module):
    def method(self, x: Tensor) -> Tensor:
        return NET(x)

    def forward(self, x: Tensor) -> Tensor:
        return NET(x)


class Plain:
    def __init__(self, net: nn.Module) -> None:
        self.net, self.others = net, [nn.Linear(3, 3), "no module"]

    def __call__(self, x: Tensor) -> Tensor:
        return NET(x)

    def method(self, x: Tensor) -> Tensor:
        return x


def decorated(program: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(program)
    def wrapper(*args: Any) -> Any:
        return program(*args)

    return wrapper


@pytest.mark.parametrize(
    "wrap",
    [
        lambda program: program,
        lambda program: functools.partial(program, 1),
        decorated,
        lambda program: poutine.scale(program, scale=0.5),
        lambda program: poutine.block(poutine.mask(program, mask=True), hide=["z"]),
        config_enumerate,
        lambda program: decorated(functools.partial(poutine.scale(decorated(program), scale=2.0), 1)),
    ],
    ids=["bare", "partial", "wraps", "handler", "handlers", "enumerate", "all"],
)
def test_whatever_is_around_a_program_is_looked_through(wrap: Callable[..., Any]) -> None:
    module = Owner()
    assert owners(wrap(module)) == [module]
    assert owners(wrap(module.method)) == [module]
    for program in (module, module.method):
        assert set(referred(wrap(program))) - {module} == {NET}


def test_a_function_refers_to_modules_in_its_closure_and_globals() -> None:
    inner, several = nn.Linear(1, 2), [nn.Linear(1, 3), nn.Linear(1, 4)]

    def program(x: Tensor) -> Tensor:
        return several[0](NAMED["a"](NET(inner(x))))

    assert owners(program) == []
    assert set(referred(program)) == {NET, inner, *several, NAMED["a"]}


def test_a_plain_object_refers_to_its_attributes() -> None:
    plain = Plain(nn.Linear(1, 2))
    assert owners(plain) == owners(plain.method) == []
    assert set(referred(plain)) == {plain.net, plain.others[0], NET}
    assert {plain.net, plain.others[0]} <= set(referred(plain.method))


def test_bound_arguments_are_referred_to_and_not_owned() -> None:
    net, other = nn.Linear(1, 2), nn.Linear(1, 3)
    program = functools.partial(lambda net, x, *, other: x, net, other=other)
    assert owners(program) == []
    assert referred(program) == [net, other]


def test_builtins_and_classes_have_none() -> None:
    for program in (print, len, Plain, functools.lru_cache(lambda x: x)):
        assert owners(program) == []
        assert [module for module in referred(program) if module is not NET] == []
