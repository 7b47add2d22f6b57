"""What programs and callbacks do beside what is recorded: hidden state, sizes that hang on values, numbers set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.engine import backends
from probae.engine.backends import Program
from probae.engine.recording import Recording
from tests.engine import pairs, steps
from tests.engine.pairs import DIM


class Hazard(nn.Module):
    """A model with a number, a list and a normalization that no module owns; `change` is what it does with x."""

    def __init__(self, change: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.change, self.number = change, 1.0
        self.loc = nn.Parameter(torch.zeros(DIM).double())
        self.total = [torch.zeros(()).double()]
        self.hidden = {"norm": nn.BatchNorm1d(DIM).double()}

    def model(self, x: Tensor) -> None:
        """The change scales the observations."""
        factor = self.change(self, x)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(DIM).double(), self.number).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x * factor)

    def guide(self, x: Tensor) -> None:
        """One code for all."""
        pyro.module("program", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 0.3).to_event(1))


CHANGES: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "a mask as an index": (lambda net, x: x[x > -9.0].mean(), "the size of a tensor hangs on values"),
    "masked_select": (lambda net, x: torch.masked_select(x, x > 0).sum().sin(), "the size of a tensor hangs on values"),
    "a total in a list": (lambda net, x: net.total[0].add_(1.0).sin(), "it changes in place what is neither"),
    "a hidden normalization": (lambda net, x: net.hidden["norm"](x), "it changes in place what is neither"),
    "its batch": (lambda net, x: x.mul_(1.5).mean().sin(), "it changes in place what is neither"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_hidden_changes_are_refused_and_happen_as_often_as_without_a_recording(name: str) -> None:
    change, message = CHANGES[name]
    made: list[Hazard] = []

    def make() -> Hazard:
        made.append(Hazard(change))
        return made[-1]

    eager, traced = (steps.train(make, way, [x.clone() for x in pairs.data(24).split(4)]) for way in ("eager", "trace"))
    steps.assert_same(traced.left, eager.left)
    assert traced.way == "eager"
    assert [message in told for told in traced.told] == [True]
    assert torch.equal(made[0].total[0], made[1].total[0])
    assert torch.equal(made[0].hidden["norm"].running_mean, made[1].hidden["norm"].running_mean)  # type: ignore[arg-type]


class Sets(pb.Callback):
    """Sets a number of the program's at the end of an epoch."""

    def __init__(self, net: Hazard, epoch: int) -> None:
        self.net, self.epoch = net, epoch

    def on_epoch_end(self, training: Any) -> None:
        if training.epoch == self.epoch:
            self.net.number = 3.0


def test_a_number_that_a_callback_sets_counts_from_the_next_step_on_in_validation_too() -> None:
    def run(way: str) -> pb.Run:
        torch.manual_seed(0)
        net = Hazard(lambda net, x: 1.0)
        return pb.fit(
            net.model, net.guide, pairs.data(64), valid=pairs.data(20), epochs=24, batch_size=16, seed=0, compile=way,
            progress=False, callbacks=Sets(net, 21),
        )  # fmt: skip

    eager, traced = run("eager"), run("trace")
    assert traced.compile == "trace"
    assert {**traced.history, "seconds": []} == {**eager.history, "seconds": []}


def test_what_changes_while_the_ways_are_timed_is_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = {"_SECONDS_TO_RECORD": 0.0, "_PROBES": (2, 2), "seconds_to_compile": lambda recording: 0.0}
    for name, value in cheap.items():
        monkeypatch.setattr(f"probae.engine.plans.{name}", value)
    monkeypatch.setitem(backends.BACKENDS, "inductor", backends.trace)

    class SetsAtStep(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            if training.step == 7:
                net.number = 3.0

    net = Hazard(lambda net, x: 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = pb.fit(net.model, net.guide, pairs.data(64), epochs=20, batch_size=16, seed=0, callbacks=SetsAtStep())
    assert run.stopped == "finished"


def test_a_compiler_that_refuses_a_renewed_recording_leaves_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def once(recording: Recording) -> Program:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise RuntimeError("no more")
        return backends.trace(recording)

    monkeypatch.setitem(backends.BACKENDS, "inductor", once)
    net = Hazard(lambda net, x: 1.0)
    with pytest.warns(UserWarning, match="inductor cannot run the step: RuntimeError: no more"):
        run = pb.fit(
            net.model, net.guide, pairs.data(64), epochs=12, batch_size=16, seed=0, compile="inductor",
            callbacks=Sets(net, 3),
        )  # fmt: skip
    assert run.compile == "trace"


def test_a_run_that_was_decided_to_be_eager_is_resumed_without_a_word() -> None:
    net = Hazard(lambda net, x: 1.0)
    settings: dict[str, Any] = {"batch_size": 16, "seed": 0, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = pb.fit(net.model, net.guide, pairs.data(64), epochs=130, **settings).state
        assert set(state["ways"].values()) == {"eager"}
        assert pb.fit(net.model, net.guide, pairs.data(64), epochs=140, resume=state, **settings).compile == "eager"
