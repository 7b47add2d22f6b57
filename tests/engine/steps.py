"""Run the same training in two ways, and hold all that it leaves behind against each other, bit by bit."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import probae as pb
from probae.engine.batches import Batch
from probae.engine.descent import Descent
from probae.engine.optimizers import make_optimizer
from probae.engine.programs import Programs
from probae.engine.recording import Outputs, Recording
from probae.inference import stepping
from tests.engine import pairs
from tests.engine.pairs import DIM, Net, Pair, ones, zeros

CPU = torch.device("cpu")


class Outcome(NamedTuple):
    """What a run leaves: all that must not hang on how its steps ran, how they did, and the warnings on the way."""

    left: dict[str, Any]
    way: str
    told: list[str]
    run: pb.Run


def train(make: Callable[[], Any], way: str, data: Any = None, **settings: Any) -> Outcome:
    """Train what `make` returns: one of our models, or whatever has a `model` and a `guide`.

    The settings `objective` and `callbacks` are makers, called for each run anew.
    """
    pyro.clear_param_store()
    torch.manual_seed(0)
    pair = make()
    settings = {"epochs": 4, "batch_size": 4, "seed": 3, "progress": False, **settings}
    settings |= {name: settings[name]() for name in ("objective", "callbacks") if name in settings}
    data = pairs.data(22) if data is None else data() if callable(data) else data
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit = pair.fit if hasattr(pair, "fit") else partial(pb.fit, pair.model, pair.guide)
        run = fit(data, compile=way, **settings)
    return Outcome(left_by(run), run.compile, [str(one.message) for one in told], run)


def left_by(run: pb.Run) -> dict[str, Any]:
    """Parameters, buffers, optimizer, random state, position and history: all but the clock and the ways."""
    state = {key: value for key, value in run.state.items() if key not in ("history", "position", "ways")}
    state["position"] = {key: value for key, value in run.state["position"].items() if key != "seconds"}
    return {**state, "history": {name: column for name, column in run.history.items() if name != "seconds"}}


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Equal, tensors bit by bit."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True, msg=f"{where} differs")
    else:
        assert found == expected or (found != found and expected != expected), where


def same_as_eager(make: Callable[[], Any], way: str = "trace", data: Any = None, **settings: Any) -> Outcome:
    """Train in both ways, check that nothing differs, and return what the recorded run left."""
    eager, other = train(make, "eager", data, **settings), train(make, way, data, **settings)
    assert not eager.told
    assert eager.way == "eager"
    assert_same(other.left, eager.left)
    return other


class Shifted(Net):
    """Its guide's mean is shifted by what a function of it and of x returns."""

    def __init__(self, shift: Callable[[Shifted, Tensor], Any]) -> None:
        super().__init__()
        self.shift, self.step, self.calls = shift, 0, 0
        self.replaced, self.kept, self.random = zeros(DIM), zeros(DIM), random.Random(0)
        self.generator, self.numpy = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def guide(self, x: Tensor) -> None:
        self.calls += 1
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x) + self.shift(self, x), 0.3).to_event(1))


class Clock(pb.Callback):
    """Moves what a `Shifted` holds once a step, however often it has run meanwhile."""

    def on_step_end(self, training: Any) -> None:
        net = training.programs.model.__self__
        net.step, net.replaced = training.step, ones(DIM) / training.step
        net.kept.fill_(1 / training.step)
        if "shift" in (store := pyro.get_param_store()):
            store["shift"] = ones(DIM) / training.step


def shifted(shift: Callable[[Shifted, Tensor], Any]) -> Callable[[], Shifted]:
    return lambda: Shifted(shift)


def descent(pair: Pair, batch: Batch, objective: Any = None, **settings: Any) -> Descent:
    """What `fit` makes of a pair and its first batch; `player.function` is what it records."""
    programs = Programs(*pair[:2], pb.ELBO() if objective is None else objective)
    settings = {"precision": None, "way": "eager", "outlook": lambda: 0.0, "decided": {}, **settings}
    make = partial(make_optimizer, "sgd", learning_rate=0.1)
    return Descent(programs, batch, make, None, CPU, None, **settings)


class Effect(NamedTuple):
    """What a call returns, what parameters and buffers are after it, and how much was drawn."""

    outputs: Outputs
    state: list[Tensor]
    random: Tensor


def effect(call: Callable[[], Outputs], programs: Programs, seed: int = 5) -> Effect:
    """Of one training step; afterwards parameters and buffers are as before."""
    leaves = programs.leaves()
    before = [leaf.detach().clone() for leaf in leaves]
    torch.manual_seed(seed)
    with stepping.engine(), stepping.training_step(), pyro.validation_enabled(False):
        outputs = [None if output is None else output.detach().clone() for output in call()]
    after = [leaf.detach().clone() for leaf in leaves]
    with torch.no_grad():
        for leaf, value in zip(leaves, before, strict=True):
            leaf.copy_(value)
    return Effect(outputs, after, torch.get_rng_state())


def replay(recording: Recording, batch: Batch) -> Outputs:
    with torch.no_grad():
        return recording.outputs(recording.module(*recording.inputs(batch)))
