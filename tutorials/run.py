"""Run the tutorials: `python -m tutorials.run` executes them whole and rewrites their notebooks.

With --short they run with little training and nothing is rewritten, and with --check they do not run at all; both look
whether the notebooks that are there are those of their sources, complete and without faults.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tutorials.notebook import TutorialError, drift, execute, faults, read, stale, write

FOLDER = Path(__file__).parent


def whole(source: Path) -> str:
    """Execute a tutorial and write its notebook; one with faults is not written.

    Raises:
        TutorialError: one fault a line.
    """
    notebook = execute(read(source), short=False)
    _refuse(faults(notebook))
    path = source.with_suffix(".ipynb")
    write(notebook, path)
    return f"{path.name} written, {path.stat().st_size / 1e6:.2f} MB"


def short(source: Path) -> str:
    """Execute the short form in a temporary place, and check the notebook that is there; nothing changes.

    Raises:
        TutorialError: one fault a line.
    """
    committed, wrong = _committed(source)
    fresh = execute(read(source), short=True)
    _refuse([f"short form, {fault}" for fault in faults(fresh)] + (wrong or stale(fresh, committed)))
    return "short form runs, notebook in order"


def check(source: Path) -> str:
    """Check the notebook that is there, without running anything.

    Raises:
        TutorialError: one fault a line.
    """
    _refuse(_committed(source)[1])
    return "notebook in order"


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """The command line: 0 if all is well, 1 for faults, which are printed."""
    parser = argparse.ArgumentParser(prog="python -m tutorials.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a tutorial's name; by default all of them")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--short", action="store_true", help="little training, nothing is rewritten")
    mode.add_argument("--check", action="store_true", help="run nothing, look at the notebooks")
    given = parser.parse_args(arguments)
    known = sorted(folder.glob("[0-9][0-9]_*.py"))
    if unknown := [name for name in given.names if not any(name in source.stem for source in known)]:
        parser.error(f"no tutorial {', '.join(unknown)}; there are {', '.join(source.stem for source in known)}")
    chosen = [source for source in known if not given.names or any(name in source.stem for name in given.names)]
    do = short if given.short else check if given.check else whole
    failed = 0
    for source in chosen:
        started = time.perf_counter()
        try:
            said = do(source)
        except TutorialError as error:
            said, failed = f"FAILED\n{error}", failed + 1
        print(f"{source.stem}: {said} ({time.perf_counter() - started:.0f} s)", flush=True)
    return 1 if failed or not chosen else 0


def _committed(source: Path) -> tuple[NotebookNode, list[str]]:
    path = source.with_suffix(".ipynb")
    if not path.exists():
        raise TutorialError(f"{path.name} is missing: make tutorials")
    notebook = nbformat.read(path, as_version=4)
    wrong = drift(read(source), notebook)
    wrong = [*wrong, "make tutorials brings the notebook up to date"] if wrong else faults(notebook)
    return notebook, [f"{path.name}, {fault}" for fault in wrong]


def _refuse(found: list[str]) -> None:
    if found:
        raise TutorialError("\n".join(found))


if __name__ == "__main__":
    sys.exit(main())
