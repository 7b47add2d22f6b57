"""Who watches a run is called in order, may end it, and sees errors end it properly; the progress bar reads well."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import probae as pb
from probae.engine.callbacks import Progress, wants_progress
from probae.errors import NonFiniteError
from tests.engine import pairs

MOMENTS = ("on_fit_start", "on_step_end", "on_epoch_end", "on_fit_end")


class Recorder(pb.Callback):
    """Writes down every call, and fails or stops at a moment."""

    def __init__(self, name: str, calls: list[str], fail: str = "", stop: str = "") -> None:
        self.name, self.calls, self.fail, self.stop_at = name, calls, fail, stop

    def note(self, moment: str, training: Any) -> None:
        self.calls.append(f"{self.name}.{moment[3:]}")
        if moment == self.fail:
            raise RuntimeError(f"{self.name} failed")
        if moment == self.stop_at:
            training.stop(f"{self.name} stopped")

    def on_fit_start(self, training: Any) -> None:
        self.note("on_fit_start", training)

    def on_step_end(self, training: Any) -> None:
        self.note("on_step_end", training)

    def on_epoch_end(self, training: Any) -> None:
        self.note("on_epoch_end", training)

    def on_fit_end(self, training: Any) -> None:
        self.note("on_fit_end", training)


def fit(**settings: Any) -> pb.Run:
    return pb.fit(*pairs.params(), pairs.data(), **{"epochs": 2, "batch_size": 10, "seed": 0, **settings})


def test_the_order_of_calls() -> None:
    calls: list[str] = []
    fit(callbacks=[Recorder("a", calls), Recorder("b", calls)])
    both = lambda moment: [f"a.{moment}", f"b.{moment}"]  # noqa: E731
    epoch = [*both("step_end"), *both("step_end"), *both("epoch_end")]
    assert calls == [*both("fit_start"), *epoch, *epoch, *both("fit_end")]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_in_a_callback_propagates_after_all_have_ended(moment: str) -> None:
    calls: list[str] = []
    with pytest.raises(RuntimeError, match="a failed"):
        fit(callbacks=[Recorder("a", calls, fail=moment), Recorder("b", calls)])
    assert calls[-2:] == ["a.fit_end", "b.fit_end"]
    assert calls.count("a.fit_end") == calls.count("b.fit_end") == 1


def test_an_error_in_the_model_ends_them_too() -> None:
    calls: list[str] = []
    with pytest.raises(NonFiniteError):
        fit(callbacks=Recorder("a", calls), objective=pb.ELBO(penalties=lambda batch, trace: torch.tensor(torch.nan)))
    assert calls == ["a.fit_start", "a.fit_end"]


@pytest.mark.parametrize(
    ("moment", "steps", "epochs"), [("on_fit_start", 0, 0), ("on_step_end", 1, 0), ("on_epoch_end", 2, 1)]
)
def test_a_callback_ends_the_run(moment: str, steps: int, epochs: int) -> None:
    calls: list[str] = []
    run = fit(callbacks=[Recorder("a", calls, stop=moment), Recorder("b", calls, stop=moment)])
    assert run.stopped == "a stopped", "the first reason counts"
    assert (run.state["position"]["step"], run.epochs) == (steps, epochs)


def test_what_a_callback_sees() -> None:
    seen: list[tuple[Any, ...]] = []

    class Look(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            seen.append((training.epoch, training.batch, training.step, round(training.progress, 2)))
            assert training.loss.shape == ()
            assert not training.loss.requires_grad
            assert training.stopped == ""
            assert training.total_steps == 4

        def on_fit_end(self, training: Any) -> None:
            assert training.stopped == "finished"
            assert training.seconds > 0

    fit(callbacks=[Look()])
    assert seen == [(0, 1, 1, 0.25), (0, 2, 2, 0.5), (1, 1, 3, 0.75), (1, 2, 4, 1.0)]


def test_a_method_put_on_an_instance_is_called() -> None:
    callback, calls = pb.Callback(), []
    callback.on_step_end = lambda training: calls.append(training.step)
    fit(callbacks=callback)
    assert calls == [1, 2, 3, 4]


def lines(text: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_the_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    fit(progress=True, valid=pairs.data(9))
    out, err = capfd.readouterr()
    assert out == ""
    last = lines(err)[-1]
    number = r"-?\d+\.\d\d"
    pattern = (
        r"epoch 2/2: 100%\|█+\| 4/4 steps \[\d\d:\d\d<\d\d:\d\d\], "
        rf"train loss {number}, valid elbo {number}\s*"
    )
    assert re.fullmatch(pattern, last), last
    assert "::" not in err.replace(" ", "")


def test_the_progress_bar_over_time(capfd: pytest.CaptureFixture[str]) -> None:
    fit(progress=True, epochs=None, max_time=0.3)
    last = lines(capfd.readouterr().err)[-1]
    loss = r"(, train loss -?\d+\.\d\d)?"  # not there where the time was over before the first epoch
    assert re.fullmatch(rf"epoch \d+: 100%\|█+\| 0\.3/0\.3 s{loss}\s*", last), last


def test_the_progress_bar_without_a_length(capfd: pytest.CaptureFixture[str]) -> None:
    class Reader:
        def __iter__(self) -> Any:
            return iter(pairs.data().split(10))

    pb.fit(*pairs.params(), Reader(), epochs=2, progress=True)
    last = lines(capfd.readouterr().err)[-1]
    assert re.match(r"epoch 2/2: 4 steps \[\d\d:\d\d, .* steps/s, train loss -?\d+\.\d\d\]", last), last


def test_the_progress_bar_of_a_continued_run(capfd: pytest.CaptureFixture[str]) -> None:
    part = fit(callbacks=Recorder("a", [], stop="on_epoch_end"))
    fit(progress=True, resume=part.state)
    shown = lines(capfd.readouterr().err)
    assert shown[0].startswith("epoch 2/2:  50%")
    assert "4/4 steps" in shown[-1]


def test_no_bar_unless_somebody_is_looking(capfd: pytest.CaptureFixture[str]) -> None:
    assert not wants_progress(None)
    fit()
    assert capfd.readouterr().err == ""


def test_a_bar_in_a_terminal_or_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert wants_progress(None)
    assert not wants_progress(False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert not wants_progress(None), "an import alone makes no notebook"
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert wants_progress(None)


def test_a_bar_that_never_began_can_end() -> None:
    Progress().on_fit_end(None)  # pyright: ignore[reportArgumentType]
