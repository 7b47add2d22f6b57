"""The state of a run: everything that the rest of it depends on, as one dictionary of tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import Tensor

from probae.engine.randomness import random_state, set_random_state
from probae.errors import ArgumentError

if TYPE_CHECKING:
    from probae.engine.training import Training

FORMAT = 2
_FIELDS = {"format", "seed", "tensors", "optimizer", "random", "position", "loss", "history", "best", "ways"}


def check_state(state: Any) -> None:
    """Refuse what `save_state` cannot have made.

    Raises:
        ArgumentError: names `resume`.
    """
    if not isinstance(state, Mapping):
        raise ArgumentError("resume", "the state of a run (run.state)", f"a {type(state).__name__}")
    if state.get("format") != FORMAT or state.keys() != _FIELDS:
        raise ArgumentError("resume", f"a run's state of format {FORMAT}", f"format {state.get('format')!r}")


def save_state(training: Training) -> dict[str, Any]:
    """A copy of all that training depends on; `torch.load(..., weights_only=True)` reads it from a file."""
    optimizer = training.descent.optimizer
    loss = training.loss_sum
    return {
        "format": FORMAT,
        "seed": training.seed,
        "tensors": training.programs.snapshot(),
        "optimizer": {"name": type(optimizer).__name__, "state": deepcopy(optimizer.state_dict())},
        "random": {"now": random_state(training.device), "epoch": dict(training.epoch_random)},
        "position": {
            "epoch": training.epoch, "batch": training.batch, "step": training.step, "seconds": training.seconds,
            "batches": training.batches.steps,
        },
        "loss": {"sum": None if loss is None else loss.clone(), "weight": training.loss_weight},
        "history": {name: list(column) for name, column in training.history.items()},
        "best": training.best.state(),
        "ways": training.descent.player.ways,
    }  # fmt: skip


def load_state(training: Training, state: Mapping[str, Any]) -> None:
    """Continue where `save_state` was called.

    Raises:
        ArgumentError: names `resume`; if it is the state of other programs, data, optimizer or monitor.
    """
    optimizer, position = training.descent.optimizer, state["position"]
    _check_tensors(training.programs.tensors(), state["tensors"])
    _check_equal("an optimizer", type(optimizer).__name__, state["optimizer"]["name"])
    _check_equal("a history", ", ".join(training.history), ", ".join(state["history"]))
    _check_equal("batches an epoch (the same data and batch_size):", training.batches.steps, position["batches"])
    try:
        optimizer.load_state_dict(deepcopy(state["optimizer"]["state"]))
    except ValueError as error:
        raise ArgumentError("resume", "the state of the same optimizer", str(error)) from error
    training.programs.restore(state["tensors"])
    training.epoch, training.batch, training.step = position["epoch"], position["batch"], position["step"]
    training.seconds = position["seconds"]
    loss = state["loss"]["sum"]
    training.loss_sum = None if loss is None else loss.to(training.device, copy=True)
    training.loss_weight = state["loss"]["weight"]
    training.history = {name: list(column) for name, column in state["history"].items()}
    training.best.load(state["best"], training.device)
    training.epoch_random = dict(state["random"]["epoch"])
    set_random_state(state["random"]["now"], training.device)


def _check_equal(what: str, own: Any, theirs: Any) -> None:
    if own != theirs:
        raise ArgumentError("resume", f"the state of a run with {what} {own}", theirs)


def _check_tensors(own: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    odd = own.keys() ^ theirs.keys() or {name for name in own if own[name].shape != theirs[name].shape}
    if odd:
        got = f"other tensors: {', '.join(sorted(odd)[:4])}"
        raise ArgumentError("resume", "the state of this model and guide", got)
