"""Loggers: anything with Lightning's two methods, and one that writes a CSV file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from probae.engine.callbacks import Callback

if TYPE_CHECKING:
    from probae.engine.training import Training


@runtime_checkable
class Logger(Protocol):
    """Lightning's logger interface, so that its loggers and their services plug in."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Numbers of one epoch."""

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Settings of the run."""


class Logging(Callback):
    """Hands the settings of a run and each epoch's numbers to a logger; those that are not finite are left out.

    A logger with Lightning's `finalize(status)` is told how the run ended.
    """

    def __init__(self, logger: Logger, settings: Mapping[str, Any]) -> None:
        self.logger, self.settings = logger, settings

    def on_fit_start(self, training: Training) -> None:
        self.logger.log_hyperparams({**self.settings, "seed": training.seed})

    def on_epoch_end(self, training: Training) -> None:
        last = {name: column[-1] for name, column in training.history.items()}
        numbers = {name: value for name, value in last.items() if value is not None and math.isfinite(value)}
        self.logger.log_metrics(numbers, step=training.step)

    def on_fit_end(self, training: Training) -> None:
        finalize = getattr(self.logger, "finalize", None)
        if callable(finalize):
            finalize("failed" if training.stopped in ("", "not finite") else "success")


class CSVLogger:
    """Writes `metrics.csv`, a row an epoch, and `settings.json` into a folder, as the run goes.

    A run that continues appends to the file that is there; rows of epochs that it does anew go, so that a new run
    begins a new file. A number that is missing leaves its cell empty.

    Args:
        folder: created if it does not exist.

    Example:
        >>> import tempfile
        >>> logger = CSVLogger(tempfile.mkdtemp())
        >>> logger.log_metrics({"epoch": 1, "train_loss": 21.5}, step=9)
        >>> print((logger.folder / "metrics.csv").read_text().strip())
        step,epoch,train_loss
        9,1,21.5
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._columns: list[str] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        if not row.keys() <= set(self._columns):
            self._rewrite(row)
        with (self.folder / "metrics.csv").open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        self._columns = []  # a run begins
        (self.folder / "settings.json").write_text(json.dumps(dict(params), indent=2, default=str) + "\n")

    def _rewrite(self, new: Mapping[str, Any]) -> None:
        """The rows that are there from before this one, under a header with its columns too."""
        path = self.folder / "metrics.csv"
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if _before(row, new)]
        self._columns = list(dict.fromkeys([*(rows[0] if rows else ()), *new]))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def _before(row: Mapping[str, str], new: Mapping[str, Any]) -> bool:
    clock = "epoch" if "epoch" in new else "step"
    return new[clock] is None or float(row.get(clock) or 0) < new[clock]
