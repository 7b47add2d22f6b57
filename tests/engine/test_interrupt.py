"""Ctrl-C ends a run between two steps; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pyro
import pytest
import torch

import probae as pb
from probae.engine.interrupt import Interrupt
from tests.engine import pairs


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Press(pb.Callback):
    """Presses Ctrl-C at some moments, and notes that the run was ended properly."""

    def __init__(self, *moments: str) -> None:
        self.moments, self.ended = moments, False

    def on_fit_start(self, training: Any) -> None:
        if "start" in self.moments:
            press()

    def on_step_end(self, training: Any) -> None:
        for _ in range(self.moments.count("step") if training.step == 4 else 0):
            press()

    def on_epoch_end(self, training: Any) -> None:
        if "epoch" in self.moments:
            press()

    def on_fit_end(self, training: Any) -> None:
        self.ended = True


def fit(callback: pb.Callback, **settings: Any) -> pb.Run:
    pyro.clear_param_store()
    return pb.fit(*pairs.params(), pairs.data(), epochs=3, batch_size=8, seed=0, callbacks=callback, **settings)


@pytest.mark.parametrize(("moment", "steps", "epochs"), [("start", 0, 0), ("step", 4, 1), ("epoch", 3, 1)])
def test_a_run_ends_after_the_step(moment: str, steps: int, epochs: int) -> None:
    callback, handler = Press(moment), signal.getsignal(signal.SIGINT)
    run = fit(callback)
    assert (run.stopped, run.state["position"]["step"], run.epochs) == ("interrupted", steps, epochs)
    assert callback.ended
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("moment", ["start", "step", "epoch"])
def test_it_continues_exactly(moment: str) -> None:
    part = fit(Press(moment))
    fit(Press(), resume=part.state)
    found = pyro.param("loc").detach().clone()
    fit(Press())
    assert torch.equal(pyro.param("loc"), found)


def test_during_validation() -> None:
    """The run ends right after it, without another step."""

    def evaluate(batches: Any) -> torch.Tensor:
        press()
        return torch.zeros(())

    run = fit(Press(), valid=pairs.data(), monitor=pb.Monitor("slow", evaluate))
    assert (run.stopped, run.epochs, run.state["position"]["step"]) == ("interrupted", 1, 3)


def test_the_second_one_raises() -> None:
    callback, handler = Press("step", "step"), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(callback)
    assert callback.ended
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_that_ignores_it_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fit(Press("step")).stopped == "finished"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread() -> None:
    """Where signals never arrive, a run trains as usual."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(fit(Press()).stopped))
    thread.start()
    thread.join()
    assert found == ["finished"]


def test_nesting() -> None:
    with Interrupt() as outer:
        with Interrupt() as inner:
            press()
        assert (inner.requested, outer.requested) == (True, False)
        press()
        assert outer.requested
