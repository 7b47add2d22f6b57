"""What loggers are told, and what stands in the CSV file."""

from __future__ import annotations

import csv
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch

import probae as pb
from probae.errors import NonFiniteError
from tests.engine import pairs


class Fake:
    """As Lightning's loggers are: positional or by keyword, with more methods than we need."""

    def __init__(self) -> None:
        self.metrics: list[tuple[dict[str, float], int | None]] = []
        self.params: dict[str, Any] = {}
        self.status = ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((dict(metrics), step))

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self.params = params

    def finalize(self, status: str) -> None:
        self.status = status


class Minimal:
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.last = metrics

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        pass


def fit(**settings: Any) -> pb.Run:
    pyro.clear_param_store()
    return pb.fit(*pairs.params(), pairs.data(), **{"epochs": 3, "batch_size": 10, "seed": 4, **settings})


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_logger_is_told_settings_numbers_and_the_end() -> None:
    logger = Fake()
    settings = {"schedule": "cosine", "clip_norm": 5.0, "optimizer": "adamw", "learning_rate": 0.01}
    run = fit(logger=logger, valid=pairs.data(9), **settings)
    assert logger.params == {
        "epochs": 3, "max_time": None, "clip_norm": 5.0, "patience": None, "batch_size": 10, "optimizer": "adamw",
        "learning_rate": 0.01, "schedule": "cosine", "objective": "ELBO", "device": "cpu", "precision": None, "seed": 4,
        "accumulate": 1, "compile": "auto",
    }  # fmt: skip
    assert [step for _, step in logger.metrics] == [2, 4, 6]
    for index, (metrics, _) in enumerate(logger.metrics):
        assert metrics == {name: column[index] for name, column in run.history.items()}
    assert logger.status == "success"


def test_settings_are_plain_values(tmp_path: Path) -> None:
    def triangle(progress: float) -> float:
        return 1.0 - abs(2 * progress - 1)

    sgd = partial(torch.optim.SGD, lr=0.1)
    fit(logger=pb.CSVLogger(tmp_path), optimizer=sgd, schedule=triangle, objective=lambda *_: pb.ELBO()(*_))
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["schedule"] == "triangle"
    assert "SGD" in settings["optimizer"]
    assert settings["seed"] == 4


def test_several_loggers() -> None:
    first, minimal, last = Fake(), Minimal(), Fake()
    fit(logger=[first, minimal, last])
    assert first.metrics == last.metrics
    assert minimal.last == first.metrics[-1][0]


def test_a_failure_is_a_failure() -> None:
    logger = Fake()
    with pytest.raises(NonFiniteError):
        fit(logger=logger, objective=pb.ELBO(penalties=lambda batch, trace: torch.tensor(math.nan)))
    assert logger.status == "failed"
    logger, calls = Fake(), iter([1.0, "no number"])
    with pytest.raises(ValueError, match="no number"):
        fit(logger=logger, valid=pairs.data(), monitor=pb.Monitor("m", lambda _: next(calls)))  # pyright: ignore[reportArgumentType]
    assert logger.status == "failed"


def test_the_csv_file(tmp_path: Path) -> None:
    run = fit(logger=pb.CSVLogger(tmp_path / "a" / "b"), valid=pairs.data(9))
    found = rows(tmp_path / "a" / "b")
    assert list(found[0]) == ["step", "epoch", "seconds", "learning_rate", "train_loss", "valid_elbo"]
    assert [row["step"] for row in found] == ["2", "4", "6"]
    for name, column in run.history.items():
        assert [float(row[name]) for row in found] == column


def test_a_number_that_is_missing_leaves_its_cell_empty(tmp_path: Path) -> None:
    said = iter([math.nan, 2.0, math.nan])
    monitor = pb.Monitor("said", lambda _: torch.tensor(next(said)))
    fit(logger=pb.CSVLogger(tmp_path), valid=pairs.data(9), monitor=monitor)
    assert [row["valid_said"] for row in rows(tmp_path)] == ["", "2.0", ""]
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]


class StopAfter(pb.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, training: Any) -> None:
        if training.step == self.step:
            training.stop("test")


def test_a_run_that_continues_appends(tmp_path: Path) -> None:
    part = fit(logger=pb.CSVLogger(tmp_path), callbacks=StopAfter(3))
    assert len(rows(tmp_path)) == 1
    run = fit(logger=pb.CSVLogger(tmp_path), resume=part.state)
    assert [float(row["train_loss"]) for row in rows(tmp_path)] == run.history["train_loss"]


def test_epochs_done_anew_replace_those_that_are_there(tmp_path: Path) -> None:
    """Also with the same logger object; and a new run begins a new file."""
    part = fit(callbacks=StopAfter(3))
    logger = pb.CSVLogger(tmp_path)
    fit(logger=logger)
    run = fit(logger=logger, resume=part.state)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert [float(row["train_loss"]) for row in rows(tmp_path)] == run.history["train_loss"]
    fit(logger=logger, epochs=1, batch_size=4)
    assert [(row["epoch"], row["step"]) for row in rows(tmp_path)] == [("1", "5")]


def test_rows_by_hand(tmp_path: Path) -> None:
    logger = pb.CSVLogger(str(tmp_path))
    for step in range(3):
        logger.log_metrics({"loss": float(step)}, step)
    logger.log_metrics({"loss": 3.0, "more": 1.0}, 3)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.0", "1.0", "2.0", "3.0"]
    assert [row["more"] for row in rows(tmp_path)] == ["", "", "", "1.0"]
    again = pb.CSVLogger(tmp_path)
    again.log_metrics({"loss": 9.0}, 2)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [("0", "0.0"), ("1", "1.0"), ("2", "9.0")]
    again.log_metrics({"other": 1.0})
    assert len(rows(tmp_path)) == 4
