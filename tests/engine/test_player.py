"""The player's bookkeeping: a recording for each kind of batch, when they are compared, renewed and given up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probae.engine import backends
from probae.engine.backends import Program
from probae.engine.batches import Batch
from probae.engine.player import Player
from probae.engine.programs import Programs
from probae.engine.recording import Outputs, Recording, is_recording
from tests.engine.steps import CPU


class Step:
    """A function of a batch that notes when it is called; its `player` plays it."""

    def __init__(self, way: str = "trace", **settings: Any) -> None:
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
        self.number = 0.0
        self.eager: list[int] = []
        self.made: list[int] = []
        programs = Programs(self.net, self.net, lambda: None)
        self.player = Player(self, programs, CPU, way=way, **settings)

    def __call__(self, batch: Batch) -> Outputs:
        """It hangs on Python's state, draws, and moves buffers."""
        (self.made if is_recording() else self.eager).append(self.player.calls)
        x = batch.args[0]
        loss = (self.net(x * (1.0 + self.number)) + torch.rand_like(x)).square().sum()
        trained = [p for p in self.net.parameters() if p.requires_grad]
        return [loss.detach(), *torch.autograd.grad(loss, trained)]

    def play(self, calls: int = 1, rows: int = 3, **arguments: Any) -> list[Outputs]:
        return [self.player(Batch((torch.randn(rows, 2).double(),), arguments)) for _ in range(calls)]

    def compared(self) -> list[int]:
        """The calls that were compared with an eager one. (To record, the function is called once eagerly too.)"""
        return sorted({call for call in self.eager if call not in self.made or self.eager.count(call) > 1})


@pytest.fixture
def step() -> Step:
    return Step()


@pytest.fixture
def told() -> Generator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield told


def test_it_is_compared_often_at_the_start_then_now_and_then(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probae.engine.take._CHECK_EVERY", 48)
    step.play(150)
    assert step.compared() == [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 144]
    assert step.made == [1, 1], "recorded twice, once"


def test_looking_again_compares_the_next_call_unless_one_was_compared_just_now(step: Step) -> None:
    step.play(500)
    step.player.look_again()
    step.play(2)
    step.player.look_again()
    step.play(20)
    assert step.compared()[9:] == [501, 512]


# Kinds of batches.


CHANGES: dict[str, Callable[[Step], Any]] = {
    "a shape": lambda step: {"rows": 4},
    "an argument": lambda step: {"mask": None},
    "what trains": lambda step: step.net[0].requires_grad_(False) and {},
    "the mode": lambda step: step.net.eval() and {},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_kind_of_batch_has_a_recording_once_it_has_come_twenty_times(name: str, step: Step) -> None:
    step.play(3)
    other = CHANGES[name](step) or {}
    step.play(20, **other)
    assert step.made == [1, 1]
    step.play(2, **other)
    assert step.made == [1, 1, 24, 24]
    assert list(step.player.ways.values()) == ["trace", "trace"]
    assert step.player.chosen == "trace"


def test_only_so_many_kinds_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probae.engine.player._MOST_TAKES", 3)
    step = Step()
    for rows in range(3, 8):
        step.play(21, rows=rows)
    assert len(step.player.ways) == 3
    assert len(step.made) == 6
    assert len(step.eager) > 2 * 21


def test_an_argument_that_cannot_be_hashed_runs_eagerly(step: Step) -> None:
    step.play(5, things={1, 2})
    assert (len(step.eager), step.made) == (5, [])


def test_without_recording_nothing_is_kept() -> None:
    step = Step("eager")
    step.play(5)
    assert (len(step.eager), step.made, step.player.ways, step.player.chosen) == (5, [], {}, "eager")


# What does not agree.


def test_the_programs_own_numbers_count_and_it_is_recorded_anew(step: Step, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "probae")
    step.play(3)
    step.number = 2.0
    same, noise, x = Step(), torch.get_rng_state(), torch.randn(3, 2).double()
    same.net.load_state_dict(step.net.state_dict())
    same.number = 2.0
    found = step.player(Batch((x,), {}))
    random = torch.get_rng_state()
    torch.set_rng_state(noise)
    torch.randn(3, 2)
    expected = same(Batch((x,), {}))
    assert all(torch.equal(a, b) for a, b in zip(given(found), given(expected), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(step.net.buffers(), same.net.buffers(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert caplog.messages[-1] == "recorded anew: aten.mul.Tensor was given 1.0, then 3.0, after all sample sites"
    assert step.made == [1, 1, 4, 4]
    step.play(8)
    assert step.compared() == [1, 2, 4, 5, 6, 8, 12], "from the start"


def given(outputs: Outputs) -> list[Tensor]:
    return [output for output in outputs if output is not None]


def test_what_changes_again_and_again_is_given_up(step: Step, told: list[warnings.WarningMessage]) -> None:
    for call in range(40):
        step.number = float(call // 4)
        step.play()
    assert len(step.made) == 2 * 5, "recorded, and renewed three times"
    (warning,) = told
    assert "the step changes while it trains, which a recording does not follow" in str(warning.message)
    assert (step.player.way, step.player.ways) == ("eager", {})


class Wrong:
    """A way to run a recording whose numbers are wrong from some call on."""

    def __init__(self, fine: int, spoil: Callable[[list[Tensor]], object]) -> None:
        self.fine, self.spoil, self.calls = fine, spoil, 0

    def __call__(self, recording: Recording) -> Program:
        def run(inputs: list[Tensor]) -> Any:
            self.calls += 1
            outputs = list(recording.module(*inputs))
            if self.calls > self.fine:
                self.spoil(outputs)
            return outputs

        return run


SPOILT: dict[str, tuple[Callable[[list[Tensor]], object], str]] = {
    "a gradient": (lambda outputs: outputs[1].add_(1e-3), r"tensor 1 of shape \(2, 2\) differs"),
    "not a number": (lambda outputs: outputs[0].fill_(float("nan")), r"tensor 0 of shape \(\) differs"),
    "draws": (lambda outputs: torch.rand(()), "it draws other random numbers"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_way_that_gives_other_numbers_is_given_up(
    name: str, told: list[warnings.WarningMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, what = SPOILT[name]
    monkeypatch.setitem(backends.BACKENDS, "trace", Wrong(3, spoil))
    step = Step()
    step.play(20)
    (warning,) = told
    assert warning.category is UserWarning
    assert what.replace("\\", "") in str(warning.message)
    assert step.player.way == "eager"
    assert step.compared()[:5] == [1, 2, 4, 5, 6]


def test_rounding_is_no_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "trace", Wrong(0, lambda outputs: outputs[0].mul_(1 + 1e-12)))
    step = Step()
    step.play(20)
    assert step.player.ways
    assert step.made == [1, 1]


def test_a_way_that_cannot_be_made_leaves_the_next_one(
    told: list[warnings.WarningMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(recording: Recording) -> Program:
        raise RuntimeError("no compiler here\nat all")

    monkeypatch.setitem(backends.BACKENDS, "inductor", broken)
    step = Step("inductor")
    step.play(5)
    assert [str(one.message) for one in told] == [
        "inductor cannot run the step: RuntimeError: no compiler here. All that follows runs from the recording, or as "
        "it is written"
    ]
    assert list(step.player.ways.values()) == ["trace"]


# Parameters and buffers that are replaced.


@pytest.mark.parametrize("name", ["weight", "running_mean"])
def test_replaced_tensors_are_recorded_anew(name: str, step: Step, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "probae")
    step.play(3)
    layer = step.net[1]
    old = getattr(layer, name)
    setattr(layer, name, nn.Parameter(old.detach() + 1) if isinstance(old, nn.Parameter) else old + 1)
    step.player.look_again()
    assert caplog.messages[-1] == "parameters or buffers were replaced: what was recorded is forgotten"
    before = getattr(layer, name).clone()
    step.play(3)
    assert step.made == [1, 1, 4, 4]
    assert torch.equal(getattr(layer, name), before) == (name == "weight"), "the new buffer moves"


def test_what_was_decided_is_taken_over_at_once() -> None:
    step = Step()
    step.play(30)
    step.play(30, rows=4)
    heir = Step("auto", decided=step.player.ways)
    heir.play(1, rows=4)
    heir.play(1)
    assert heir.made == [1, 1, 2, 2]
    assert heir.player.ways == step.player.ways
    assert len(heir.player.ways) == 2


def test_numbers_at_the_edge_of_the_tolerance_end_the_recordings(
    step: Step, monkeypatch: pytest.MonkeyPatch, told: list[warnings.WarningMessage]
) -> None:
    """They agree every second time, which is no reason to record anew for ever."""
    verdicts = iter(["tensor 0 differs", None] * 1000)
    monkeypatch.setattr("probae.engine.take.deviation", lambda *_: next(verdicts))
    step.play(200)
    assert len(step.made) <= 10
    assert step.player.way == "eager"
    assert "other numbers than the step itself" in str(told[-1].message)


def test_rare_disagreements_are_forgiven(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit that falls on the other side of its probability, once in a long while, costs a recording and no more."""
    verdicts = iter((["tensor 0 differs"] + [None] * 19) * 1000)
    monkeypatch.setattr("probae.engine.take.deviation", lambda *_: next(verdicts))
    step.play(3000)
    assert step.player.way == "trace"
