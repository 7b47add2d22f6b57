"""Any torch optimizer, and schedules of its learning rate as functions of progress."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer

from probae.checks import choice, real
from probae.errors import ArgumentError

Schedule = Callable[[float], float]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adadelta": torch.optim.Adadelta,
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adamax": torch.optim.Adamax,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
_FUSED = {"adam", "adamw", "sgd", "adagrad"}
_EXPECTED = "a name, a torch optimizer class, or a callable that makes a torch optimizer from parameters"

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def make_optimizer(optimizer: Any, parameters: Iterable[Tensor], learning_rate: float | None) -> Optimizer:
    """An optimizer over the parameters.

    Args:
        optimizer: a name ("adam", fused where torch can), a torch optimizer class, any callable that takes the
            parameters (such as a `functools.partial`), or an optimizer that already holds them.
        parameters: tensors that require gradients, or will.
        learning_rate: for a name or a class, 1e-3 by default; with anything else it is an error.

    Raises:
        ArgumentError: names `optimizer` or `learning_rate`.
    """
    check_optimizer(optimizer, learning_rate)
    parameters = list(parameters)
    rate = 1e-3 if learning_rate is None else learning_rate
    if isinstance(optimizer, str):
        fused = {"fused": True} if optimizer in _FUSED and all(p.is_floating_point() for p in parameters) else {}
        return OPTIMIZERS[optimizer](parameters, lr=rate, **fused)  # pyright: ignore[reportCallIssue]
    if isinstance(optimizer, Optimizer):
        made = optimizer
    else:
        made = optimizer(parameters, lr=rate) if isinstance(optimizer, type) else optimizer(parameters)
    _check_made(made, parameters)
    return made


def check_optimizer(optimizer: Any, learning_rate: float | None) -> None:
    """Refuse what cannot make an optimizer, before any work is done."""
    if learning_rate is not None:
        real("learning_rate", learning_rate, low=0.0)
    if isinstance(optimizer, str):
        choice("optimizer", optimizer, OPTIMIZERS)
        return
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return
    if isinstance(optimizer, PyroOptim) or not (isinstance(optimizer, Optimizer) or callable(optimizer)):
        hint = "Pyro's optimizers wrap torch's: give that one" if isinstance(optimizer, PyroOptim) else ""
        raise ArgumentError("optimizer", _EXPECTED, repr(optimizer), hint)
    if learning_rate is not None:
        raise ArgumentError("learning_rate", "None beside an optimizer that has one already", repr(learning_rate))


def _check_made(made: Any, parameters: list[Tensor]) -> None:
    if not isinstance(made, Optimizer):
        raise ArgumentError("optimizer", _EXPECTED, f"a callable that makes a {type(made).__name__}")
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ArgumentError("optimizer", "one whose step needs no closure", type(made).__name__)
    held = {id(p) for group in made.param_groups for p in group["params"]}
    if not any(id(p) in held for p in parameters):
        raise ArgumentError("optimizer", "one over the parameters of this model and guide", "one over others")


def make_schedule(schedule: Any) -> Schedule | None:
    """A function from progress in [0, 1] to the factor on the learning rate; None where it is constant.

    Raises:
        ArgumentError: names `schedule`.
    """
    if not isinstance(schedule, (str, type(None))) and callable(schedule):
        return schedule  # pyright: ignore[reportReturnType]
    name = choice("schedule", "constant" if schedule is None else schedule, SCHEDULES)
    return None if name == "constant" else SCHEDULES[name]
