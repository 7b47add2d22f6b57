"""`probae plot`: the pictures that a run and its model offer, into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from probae.cli import runs
from probae.cli.data import data_of_run, run_data_options
from probae.cli.options import Option
from probae.cli.parser import Parser
from probae.cli.terminal import complain, say
from probae.errors import ProbaeError
from probae.models.saving import load


def plot(words: list[str]) -> int:
    """Draw pictures of a run: its training, and what its model offers."""
    from probae.cli.pictures import PICTURES, Subject  # brings matplotlib

    parser = Parser("probae plot", f"{plot.__doc__}\n\nPictures: {', '.join(PICTURES)}.", {"run": "folder of a run"})
    parser.add("pictures", [
        Option("output", Path | None, text="folder of the pictures; by default pictures in the folder of the run"),
        Option("seed", int, 0, "of the samples"),
    ])  # fmt: skip
    parser.add("data, those of the run where nothing else is given", run_data_options())
    given = parser.read(words)
    run = runs.read(given["run"])
    folder = Path(given["output"] or run.folder / "pictures")
    subject = Subject(run, load(run.folder / "model"), data_of_run(run, given), given["seed"])
    drawn = [name for name, picture in PICTURES.items() if _drawn(name, picture, subject, folder / f"{name}.png")]
    say(f"Pictures in {folder}: {', '.join(drawn)}")
    return 0


def _drawn(name: str, picture: Callable[[Any, Path], None], subject: Any, path: Path) -> bool:
    """Whether there is such a picture; if not, the reason is said."""
    try:
        picture(subject, path)
    except ProbaeError as reason:
        complain(f"No {name.replace('_', ' ')}: {reason}")
        return False
    return True
