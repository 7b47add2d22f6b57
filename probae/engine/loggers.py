"""Loggers: anything with Lightning's two methods, and one that writes a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Logger(Protocol):
    """Lightning's logger interface, so that its loggers and their services plug in."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers of one epoch."""

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Settings of the run."""


class CSVLogger:
    """Writes `metrics.csv`, a row an epoch, and `settings.json` into a folder, as the run goes.

    A run that continues appends to the file that is there.

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

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        path = self.folder / "metrics.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        (self.folder / "settings.json").write_text(json.dumps(dict(params), indent=2, default=str) + "\n")
