"""A tutorial as a notebook: made from its percent-format source, executed in this Python, looked at for faults."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sys
import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

SHORT = "PROBAE_TUTORIAL_SHORT"
"""The environment variable that asks a tutorial for its short form: the same cells with little training."""

LARGEST = 1_200_000  # bytes of a notebook: what a repository and a browser bear
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FLEETING = {
    "an address": re.compile(r"\b0x[0-9a-f]{6,}\b"),
    "a time": re.compile(r"\b\d+\.\d+ m?s\b"),
}
_PLACES = {str(place) for place in (Path.home(), sys.prefix, Path(__file__).resolve().parents[1])} - {"/"}
_SECONDS_A_CELL = 900


class TutorialError(Exception):
    """A tutorial that does not run, or whose notebook is not what it should be; one fault a line."""


def read(source: Path) -> NotebookNode:
    """The notebook of a source file, without outputs; its metadata and the names of its cells depend on it alone."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = hashlib.sha1(cell.source.encode(), usedforsecurity=False).hexdigest()[:8]
        cell.id, cell.metadata = f"{name}-{seen[name]}" if seen[name] else name, nbformat.from_dict({})
        seen[name] += 1
    return notebook


def execute(notebook: NotebookNode, *, short: bool) -> NotebookNode:
    """The notebook with its outputs, from a new kernel of this Python in an empty folder.

    Nothing of the user's Jupyter or IPython is read or written.

    Raises:
        TutorialError: for an exception in a cell, with its traceback.
    """
    notebook = deepcopy(notebook)
    with tempfile.TemporaryDirectory(prefix="probae-tutorial-") as folder:
        kernel, desk = _kernel(folder), Path(folder, "desk")
        desk.mkdir()
        client = NotebookClient(
            notebook, kernel, kernel_name="python3", timeout=_SECONDS_A_CELL, record_timing=False, coalesce_streams=True
        )
        try:
            client.execute(env=_environment(folder, short), cwd=str(desk), cleanup_kc=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            done = sum(cell.execution_count is not None for _, cell in _code(notebook))
            raise TutorialError(f"cell {done}: {_COLOUR.sub('', str(error)).strip()}") from None
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def faults(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook, in words; nothing for a good one.

    Each code cell has run, in order and from a new kernel; none failed, warned, or wrote to stderr at all; what draws
    shows a picture; no output holds what differs between two runs or two machines.
    """
    found = []
    for number, cell in _code(notebook):
        found += [f"cell {number}: {fault}" for fault in _faults_of(cell)]
        if cell.execution_count != number:
            found.append(f"cell {number}: was run as number {cell.execution_count}, not from top to bottom")
    size = len(nbformat.writes(notebook).encode())
    return [*found, f"{size:,} bytes, more than {LARGEST:,}: draw smaller pictures"] if size > LARGEST else found


def drift(wanted: NotebookNode, committed: NotebookNode) -> list[str]:
    """Where a committed notebook is no longer that of its source; nothing where it is."""
    pairs = zip(wanted.cells, committed.cells, strict=False)
    found = [f"cell {i} of all: differs from the source" for i, (a, b) in enumerate(pairs, 1) if _text(a) != _text(b)]
    if len(wanted.cells) != len(committed.cells):
        found.append(f"{len(committed.cells)} cells for {len(wanted.cells)} in the source")
    return found


def stale(fresh: NotebookNode, committed: NotebookNode) -> list[str]:
    """Which code cells show other kinds of output, or more or fewer pictures, than they did when just executed."""
    found = []
    for (number, now), (_, then) in zip(_code(fresh), _code(committed), strict=False):
        if _kinds(now) != _kinds(then):
            found.append(f"cell {number}: shows {_kinds(now)} when run, {_kinds(then)} in the notebook")
    return found


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    partial.replace(path)


def _kernel(folder: str) -> AsyncKernelManager:
    """A kernel of the running interpreter, whatever kernels its user has installed, that needs no network."""
    native = KernelSpecManager(kernel_dirs=[])  # what is left is ipykernel's own
    transport = "tcp" if sys.platform == "win32" else "ipc"
    file = os.path.join(folder, "kernel.json")
    return AsyncKernelManager(kernel_spec_manager=native, connection_file=file, transport=transport)


def _environment(folder: str, short: bool) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != SHORT}
    environment |= {SHORT: "1"} if short else {}
    return environment | {
        "IPYTHONDIR": os.path.join(folder, ".ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # tests and servers set Agg, which shows nothing
        "OMP_NUM_THREADS": "1",  # sums, and so what training makes of them, would depend on the number of cores
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where there are no widgets; all others are faults
    }


def _code(notebook: NotebookNode) -> list[tuple[int, Any]]:
    return list(enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1))


def _text(cell: Any) -> tuple[str, str]:
    return cell.cell_type, cell.source.strip()


def _kinds(cell: Any) -> dict[str, int]:
    kinds = Counter("picture" if "image/png" in output.get("data", {}) else "text" for output in cell.outputs)
    return {kind: 1 if kind == "text" else count for kind, count in sorted(kinds.items())}


def _faults_of(cell: Any) -> list[str]:
    found = []
    for output in cell.outputs:
        text = _COLOUR.sub("", str(output.get("text") or output.get("data", {}).get("text/plain", "")))
        if output.output_type == "error":
            found.append(f"failed with {output.ename}: {output.evalue}")
        elif output.get("name") == "stderr":
            found.append(f"wrote to stderr: {text.strip()[:300]}")
        else:
            found += [f"shows {what}, which differs in each run: {match[0]}" for what, match in _fleeting(text)]
            found += [f"shows a path of this machine: {place}" for place in _PLACES if place in text][:1]
    if draws(cell.source) and "picture" not in _kinds(cell):
        found.append("draws, but shows no picture")
    return found


def _fleeting(text: str) -> list[tuple[str, re.Match[str]]]:
    return [(what, match) for what, pattern in _FLEETING.items() if (match := pattern.search(text))]


def draws(code: str) -> bool:
    """Whether code makes a figure itself, rather than define what would.

    Example:
        >>> draws("figure, ax = plt.subplots()"), draws("def show(x):\\n    plt.plot(x)")
        (True, False)
    """
    pending: list[ast.AST] = [ast.parse(code)]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("plt.sub", "plt.fig", "pb.plots.")):
            return True
        pending += ast.iter_child_nodes(node)
    return False
