"""What the loop costs, and that it leaves nothing behind."""

from __future__ import annotations

import gc
import inspect
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import probae as pb
from probae.engine import training as loop
from probae.engine.guard import Guard
from tests.engine import pairs
from tests.no_sync import WAITING


class Counting(TorchDispatchMode):
    """Counts the operators after which the host would have to wait for an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        self.count += name in WAITING or f"{name}.{func._overloadname}" in WAITING
        return func(*args, **(kwargs or {}))


def waits(steps: int, kind: str, **settings: Any) -> int:
    """In a run of one epoch of that many steps."""
    pyro.clear_param_store()
    model, guide = pairs.SAMPLED.get(kind, pairs.mixture)()
    with Counting() as mode:
        pb.fit(model, guide, pairs.data(5 * steps), epochs=1, batch_size=5, seed=0, **settings)
    return mode.count


@pytest.mark.parametrize("kind", ["params", "registered", "autonormal", "several", "scored", "mixture"])
def test_a_step_waits_once_on_a_cpu_for_the_guard(kind: str) -> None:
    settings = {"clip_norm": 1.0, "schedule": "cosine", "callbacks": [pb.Callback()]}
    assert waits(30, kind, **settings) - waits(20, kind, **settings) == 10


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("kind", ["registered", "mixture"])
def test_a_step_never_waits_for_an_accelerator(optimizer: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the guard there is, which looks at the sum every 200 steps: nothing else waits."""
    monkeypatch.setattr(Guard, "immediate", property(lambda self: False, lambda self, value: None), raising=False)
    settings = {"clip_norm": 1.0, "optimizer": optimizer, "valid": pairs.data(9), "progress": False}
    assert waits(30, kind, **settings) == waits(20, kind, **settings)


def test_our_models_do_not_wait_either() -> None:
    def count(steps: int, model: Any) -> int:
        bits = (torch.rand(8 * steps, 9) < 0.5).float()
        with Counting() as mode:
            model.fit(bits, epochs=1, batch_size=8, seed=0)
        return mode.count

    for make in (lambda: pb.VAE(9, latent_dim=2, hidden=4), lambda: pb.RBM(9, 4)):
        assert count(30, make()) - count(20, make()) == 10


class Census(pb.Callback):
    """How many tensors there are at two moments of a run."""

    def __init__(self, first: int, second: int) -> None:
        self.moments, self.counts = (first, second), []

    def on_step_end(self, training: Any) -> None:
        if training.step in self.moments:
            gc.collect()
            self.counts.append(sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()))


@pytest.mark.parametrize("kind", ["registered", "params", "scored"])
def test_nothing_accumulates(kind: str) -> None:
    """Over a thousand steps in a hundred epochs, with validation, and steps at which good parameters are copied."""
    census = Census(15, 1005)
    pb.fit(
        *pairs.SAMPLED[kind](), pairs.data(40), valid=pairs.data(9), epochs=101, batch_size=4, seed=0, callbacks=census
    )
    first, second = census.counts
    assert second == first


def test_the_engine_never_asks_what_it_trains() -> None:
    """No model is imported or named there, nor is a step traced through a class of ours."""
    folder = Path(inspect.getfile(loop)).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "probae.models" not in text, path
        assert "assert " not in text, path
        assert text.startswith('"""'), path
        assert len(text.splitlines()) <= 280, path
