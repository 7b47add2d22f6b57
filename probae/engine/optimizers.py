"""Any torch optimizer, and schedules of its learning rate as functions of progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
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

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
}


def make_optimizer(optimizer: Any, parameters: Iterable[Tensor], learning_rate: float | None) -> Optimizer:
    """An optimizer over the parameters.

    Args:
        optimizer: a name ("adam", fused where torch can), a torch optimizer class, or any callable that takes the
            parameters (such as a `functools.partial`) or an optimizer that already holds them.
        learning_rate: for a name or a class, 1e-3 by default; with anything else it is an error.

    Raises:
        ArgumentError: names `optimizer` or `learning_rate`.
    """
    parameters = list(parameters)
    named = isinstance(optimizer, str)
    if named or (isinstance(optimizer, type) and issubclass(optimizer, Optimizer)):
        rate = real("learning_rate", 1e-3 if learning_rate is None else learning_rate, low=0.0)
        if not named:
            return optimizer(parameters, lr=rate)  # type: ignore[call-arg]
        name = choice("optimizer", optimizer, OPTIMIZERS)
        fused = {"fused": True} if name in _FUSED and all(p.is_floating_point() for p in parameters) else {}
        return OPTIMIZERS[name](parameters, lr=rate, **fused)  # type: ignore[call-arg]
    if learning_rate is not None:
        raise ArgumentError("learning_rate", "None beside an optimizer that has one already", repr(learning_rate))
    made = optimizer if isinstance(optimizer, Optimizer) else optimizer(parameters) if callable(optimizer) else None
    if not isinstance(made, Optimizer):
        raise ArgumentError("optimizer", "a name, a torch optimizer class, or a callable that makes one", repr(optimizer))
    return made


def check_optimizer(optimizer: Any, learning_rate: float | None) -> None:
    """Refuse what `make_optimizer` would refuse, before any work is done."""
    if not isinstance(optimizer, Optimizer):
        make_optimizer(optimizer, [torch.nn.Parameter(torch.zeros(1))], learning_rate)


def make_schedule(schedule: Any) -> Schedule | None:
    """A function from progress in [0, 1] to the factor on the learning rate; None where it is constant.

    Raises:
        ArgumentError: names `schedule`.
    """
    if callable(schedule):
        return schedule
    name = choice("schedule", "constant" if schedule is None else schedule, SCHEDULES)
    return None if name == "constant" else SCHEDULES[name]
