"""The folder of a run: claimed before training, finished by one atomic write, never over anything else."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
import yaml

import probae
from probae.cli.terminal import say
from probae.engine.callbacks import Callback
from probae.engine.training import Training
from probae.errors import ArgumentError

FORMAT = 1
FILES = (
    "run.json", "config.yaml", "metrics.csv", "settings.json", "evaluation.json", "samples.png", "samples.npy", "model",
    "pictures",
)  # fmt: skip
_HEADER = "# The configuration of a run of probae"


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its configuration, and what `run.json` says of it."""

    folder: Path
    config: dict[str, Any]
    info: dict[str, Any]

    def history(self) -> dict[str, list[float | None]]:
        """The columns of `metrics.csv`, None where there is no number; empty without a whole epoch."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            return {}
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in (rows[0] if rows else ())}


class Opening(Callback):
    """Clears the folder when the first step is about to be taken, writes the configuration into it, and says so.

    Until then an old run is still there: everything that can be refused has been.
    """

    def __init__(self, folder: Path, overwrite: bool, config: Mapping[str, Any], notice: str) -> None:
        self.folder, self.overwrite, self.config, self.notice = folder, overwrite, config, notice

    def on_fit_start(self, training: Training) -> None:
        claim(self.folder, self.overwrite)  # once more: another process may have been faster
        say(self.notice)
        for name in FILES:  # run.json first: what is half gone does not look finished
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        rate = training.descent.optimizer.defaults.get("lr")
        used = {"epochs": training.epochs, "learning_rate": None if rate is None else float(rate)}  # defaults of `fit`
        header = f"{_HEADER} {probae.__version__}; again: probae train --config THIS_FILE --output ANOTHER_FOLDER\n"
        (self.folder / "config.yaml").write_text(header + written({**self.config, **used}))


def written(config: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    plain = json.loads(json.dumps(config, default=str))  # tuples are lists, paths are text
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120)


def claim(folder: Path, overwrite: bool) -> None:
    """Make the folder of a new run, or check that it may become one.

    Raises:
        ArgumentError: names `output`: for a file, for a run without `overwrite`, for anything else in any case.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError("output", "a folder", f"{folder}, a file")
    if folder.is_dir() and (entries := sorted(path.name for path in folder.iterdir())):
        config = folder / "config.yaml"
        foreign = [name for name in entries if name not in FILES]
        if foreign or not config.is_file() or not config.read_text(errors="replace").startswith(_HEADER):
            what = foreign[0] if foreign else entries[0]
            raise ArgumentError("output", "a new folder, or that of a run", f"{folder}, which holds {what}")
        if not overwrite:
            raise ArgumentError("output", "a new folder", f"{folder}, which holds a run", "--overwrite replaces it")
    folder.mkdir(parents=True, exist_ok=True)


def numbered(stem: str) -> Path:
    """The first free one of `stem-1`, `stem-2`, ..., made at once, so that no two runs get the same."""
    number = 1
    while True:
        folder = Path(f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        part.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(folder: str | Path) -> Finished:
    """A run that has ended.

    Raises:
        ArgumentError: names `run`, if it has not, or is none.
    """
    path = Path(folder)
    if not (path / "run.json").is_file():
        begun = (path / "config.yaml").is_file()
        why = "a run that goes on, or was broken off" if begun else "no run" if path.is_dir() else "not a folder"
        raise ArgumentError("run", "the folder of a run that has ended, by `probae train`", f"{folder}: {why}")
    try:
        info = json.loads((path / "run.json").read_text())
        config = yaml.safe_load((path / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ArgumentError("run", "the folder of a run", f"{folder}: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT or "data" not in (config or ()):
        raise ArgumentError("run", f"a run of format {FORMAT}", f"{folder}, of another")
    return Finished(path, config, info)


def surroundings() -> dict[str, Any]:
    """The versions and the machine that the numbers of a run come from."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return {
        "versions": {
            "probae": probae.__version__, "torch": str(torch.__version__), "pyro": pyro.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.platform()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu}",
    }  # fmt: skip
