"""A run that was stopped anywhere, and continued in another process, ends as if it had never stopped: bit by bit."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError
from tests.engine.resume_cases import CASES, EPOCHS, STEPS, build, outcome

STOPS = (1, STEPS, STEPS + 1, 3 * STEPS - 1)
"""In the first epoch, between two epochs, right after that, and before the last batch of an epoch."""
SEED = 3


class StopAt(pb.Callback):
    def __init__(self, step: int, how: str = "stop") -> None:
        self.step, self.how = step, how

    def on_step_end(self, training: Any) -> None:
        if training.step == self.step:
            if self.how == "stop":
                training.stop("test")
            elif self.how == "signal":
                os.kill(os.getpid(), signal.SIGINT)
            elif self.how == "raise":
                raise KeyboardInterrupt
            else:
                training.seconds += 1e6


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True, msg=where)
    else:
        assert found == expected, where


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """States of all cases at all stops, each continued by a process that never saw the first part."""
    folder = tmp_path_factory.mktemp("resume")
    for name in CASES:
        for stop in STOPS:
            run = build(name).fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(stop)])
            assert (run.stopped, run.state["position"]["step"]) == ("test", stop)
            torch.save(run.state, folder / f"{name}-{stop}.state")
    command = f"from tests.engine.resume_cases import continue_all; continue_all({str(folder)!r})"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", command], check=True, cwd=root, env=environment)
    return folder


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("name", CASES)
def test_continued_in_a_new_process(name: str, stop: int, folder: Path) -> None:
    case = build(name)
    whole = outcome(case, case.fit(epochs=EPOCHS, seed=SEED))
    assert_same(torch.load(folder / f"{name}-{stop}.outcome", weights_only=True), whole)


@pytest.mark.parametrize("how", ["signal", "raise", "time"])
@pytest.mark.parametrize("name", ["rbm_pcd", "loader_shuffled"])
def test_whatever_stops_it(name: str, how: str) -> None:
    case = build(name)
    whole = outcome(case, case.fit(epochs=EPOCHS, seed=SEED))
    case = build(name)
    limit = {"max_time": 1e5} if how == "time" else {}
    part = case.fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(5, how)], **limit)
    assert part.stopped == ("time" if how == "time" else "interrupted")
    assert part.state["position"]["step"] == 5
    assert_same(outcome(case, case.fit(epochs=EPOCHS, resume=part.state)), whole)


def test_stopped_after_every_step() -> None:
    """As many runs as steps, each continuing the one before."""
    case = build("vae_dynamic")
    whole = outcome(case, case.fit(epochs=EPOCHS, seed=SEED))
    case = build("vae_dynamic")
    run = case.fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(1)])
    for step in range(2, EPOCHS * STEPS + 1):
        run = case.fit(epochs=EPOCHS, resume=run.state, callbacks=[StopAt(step)])
    assert_same(outcome(case, run), whole)


def test_more_epochs_than_planned() -> None:
    """Without a schedule, which runs over the epochs."""
    case = build("batchnorm_dropout")
    whole = outcome(case, case.fit(epochs=EPOCHS, seed=SEED))
    case = build("batchnorm_dropout")
    half = case.fit(epochs=2, seed=SEED)
    assert half.stopped == "finished"
    assert_same(outcome(case, case.fit(epochs=EPOCHS, resume=half.state)), whole)


def test_a_state_is_not_changed_by_continuing_from_it() -> None:
    case = build("rbm_pcd")
    part = case.fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(5)])
    before = copy.deepcopy(part.state)
    first = outcome(case, case.fit(epochs=EPOCHS, resume=part.state))
    assert_same(part.state, before)
    assert_same(outcome(case, case.fit(epochs=EPOCHS, resume=part.state)), first)


def test_a_callback_can_take_the_state() -> None:
    """A checkpoint in the middle of a run is the state of a run that stops there."""
    states = {}

    class Checkpoint(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            states[training.step] = training.state()

    case = build("rbm_pcd")
    whole = outcome(case, case.fit(epochs=EPOCHS, seed=SEED, callbacks=[Checkpoint()]))
    case = build("rbm_pcd")
    assert_same(outcome(case, case.fit(epochs=EPOCHS, resume=states[5])), whole)


def test_seconds_add_up() -> None:
    case = build("rbm_pcd")
    part = case.fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(5, "time")], max_time=1e5)
    assert part.seconds > 1e6
    whole = case.fit(epochs=EPOCHS, resume=part.state)
    assert whole.seconds > part.seconds
    assert whole.history["seconds"] == sorted(whole.history["seconds"])  # pyright: ignore[reportArgumentType]
    assert whole.history["seconds"][0] < 1e3  # pyright: ignore[reportOptionalOperand]


def test_a_run_whose_time_is_over_takes_no_step() -> None:
    case = build("rbm_pcd")
    part = case.fit(epochs=EPOCHS, seed=SEED, callbacks=[StopAt(5, "time")], max_time=1e5)
    again = case.fit(epochs=EPOCHS, resume=part.state, max_time=1e5)
    assert (again.stopped, again.state["position"]["step"]) == ("time", 5)


def another(name: str, **changes: Any) -> dict[str, Any]:
    run = build(name).fit(epochs=1, seed=SEED)
    return {**run.state, **changes}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: "runs/state.pt", r"the state of a run \(run\.state\); got a str"),
        (lambda: build("rbm_pcd").fit(epochs=1), r"the state of a run \(run\.state\); got a Run"),
        (dict, "format 2; got format None"),
        (lambda: another("rbm_pcd", format=99), "format 2; got format 99"),
        (lambda: {k: v for k, v in another("rbm_pcd").items() if k != "random"}, "format 2"),
        (lambda: another("vae_dynamic"), "other tensors: module"),
        (lambda: pb.RBM(9, 5).fit(torch.ones(24, 9), epochs=1, batch_size=8).state, "other tensors"),
    ],
    ids=["path", "run", "empty", "format", "incomplete", "model", "size"],
)  # fmt: skip
def test_a_foreign_state_is_refused(given: Any, message: str) -> None:
    case, state = build("rbm_pcd"), given()
    before = case.tensors()
    with pytest.raises(ArgumentError, match=rf"^resume: expected .*{message}"):
        case.fit(epochs=2, resume=state)
    assert_same(case.tensors(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adam"}, "an optimizer Adam; got SGD"),
        ({"valid": None}, "a history epoch, seconds, learning_rate, train_loss; got .*valid_log_likelihood"),
        ({"batch_size": 4}, "batches an epoch .* 6; got 3"),
    ],
)
def test_a_run_of_other_settings_is_refused(settings: dict[str, Any], message: str) -> None:
    case = build("rbm_pcd")
    state = case.fit(epochs=1, seed=SEED).state
    before = case.tensors()
    with pytest.raises(ArgumentError, match=rf"^resume: expected the state of a run with {message}"):
        case.fit(epochs=2, resume=state, **settings)
    assert_same(case.tensors(), before)
