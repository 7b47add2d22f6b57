"""When does a training step end? The one clock that persistent chains and warm-up schedules follow.

A chain moves once per training step, however often its machine is evaluated in it (several particles, several
sites). So somebody has to say where one step ends and the next begins:

- inside `pb.fit` the engine says so, with `training_step()` around each step;
- in a foreign loop (`pyro.infer.SVI`, a hand-written one) a step ends when a torch optimizer has stepped, which
  torch's global optimizer hook reports. Pyro builds one optimizer a parameter, so this may be reported several times
  for one step: harmless, since followers only compare the clock with the value they last saw.

And who trains what a step uses? Inside `pb.fit` the engine, which finds modules by itself; elsewhere Pyro's optimizers,
which have to be told. `register` tells whichever it is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pyro
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

_clock = 0
_in_engine = 0
_named: list[nn.Module] | None = None


def now() -> int:
    """The number of the current training step. Two readings differ exactly if a step ended between them."""
    return _clock


def end_step() -> None:
    """Say that a training step has ended."""
    global _clock
    _clock += 1


@contextmanager
def training_step() -> Generator[None]:
    """One step of an engine that owns its parameters: optimizers that step inside do not end it; leaving does."""
    global _in_engine
    _in_engine += 1
    try:
        yield
    finally:
        _in_engine -= 1
        end_step()


@contextmanager
def engine() -> Generator[None]:
    """Outside a step, but under an engine that found all parameters itself (validation, estimates)."""
    global _in_engine
    _in_engine += 1
    try:
        yield
    finally:
        _in_engine -= 1


@contextmanager
def naming() -> Generator[list[nn.Module]]:
    """A step in which an engine learns which modules a program uses: those that `register` names meanwhile."""
    global _named
    before, _named = _named, []
    try:
        with training_step():
            yield _named
    finally:
        _named = before


def register(name: str, module: nn.Module) -> None:
    """Say that a program trains this module: to the engine, if one is looking, else to Pyro's parameter store."""
    if _named is not None:
        _named.append(module)
    elif not _in_engine:
        pyro.module(name, module)


def _after_optimizer(*_: object) -> None:
    if not _in_engine:
        end_step()


register_optimizer_step_post_hook(_after_optimizer)
