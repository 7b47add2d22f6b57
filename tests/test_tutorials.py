"""The tutorials' harness: what it runs, what it writes, and each fault that it must find."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorials import run
from tutorials.notebook import LARGEST, SHORT, TutorialError, draws, drift, execute, faults, read, stale

SOURCES = sorted(run.FOLDER.glob("[0-9][0-9]_*.py"))

TINY = f'''# %% [markdown]
# # A tutorial

# %%
import os, sys

import matplotlib.pyplot as plt

print("short" if os.environ.get("{SHORT}") else "whole", sys.executable == {sys.executable!r}, os.listdir())

# %%
plt.subplots(figsize=(1, 1))
plt.show()
'''


def tutorial(folder: Path, text: str) -> Path:
    path = folder / "01_tiny.py"
    path.write_text(text)
    return path


def printed(path: Path) -> str:
    return nbformat.read(path, 4).cells[1].outputs[0].text


def executed(*outputs, source: str = "x = 1", count: int | None = 1) -> nbformat.NotebookNode:
    """A notebook of one code cell, as if it had been run."""
    return new_notebook(cells=[new_code_cell(source, outputs=list(outputs), execution_count=count)])


def stdout(text: str) -> nbformat.NotebookNode:
    return new_output("stream", name="stdout", text=text)


PICTURE = new_output("display_data", data={"image/png": "aGVsbG8=", "text/plain": "<Figure size 1x1>"})


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_committed_notebook_is_that_of_its_source(source: Path) -> None:
    run.check(source)


def test_there_are_tutorials() -> None:
    assert len(SOURCES) >= 2


def test_whole_short_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")  # would show no pictures
    monkeypatch.setenv(SHORT, "1")  # is not handed on to the whole form
    notebook = tutorial(tmp_path, TINY).with_suffix(".ipynb")
    assert run.main(["--short"], tmp_path) == 1  # nothing to compare with yet
    assert "missing" in capsys.readouterr().out
    assert run.main([], tmp_path) == 0
    assert printed(notebook) == "whole True []\n"
    first = notebook.read_bytes()
    assert run.main(["--short"], tmp_path) == run.main(["--check"], tmp_path) == 0
    assert notebook.read_bytes() == first
    assert run.main(["tiny"], tmp_path) == 0
    assert notebook.read_bytes() == first  # no times, no random names
    assert {path.name for path in tmp_path.iterdir()} == {"01_tiny.py", "01_tiny.ipynb"}


def test_metadata_is_minimal() -> None:
    notebook = read(SOURCES[0])
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(not cell.metadata for cell in notebook.cells)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_an_exception_names_its_cell_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tutorial(tmp_path, "# %%\nx = 0\n\n# %%\n1 / x\n")
    with pytest.raises(TutorialError, match=r"(?s)^cell 2: .*ZeroDivisionError: division by zero"):
        execute(read(source), short=False)
    assert run.main([], tmp_path) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert not source.with_suffix(".ipynb").exists()


def test_a_warning_is_a_fault(tmp_path: Path) -> None:
    source = tutorial(tmp_path, "# %%\nimport warnings\nwarnings.warn('old', FutureWarning)\n")
    with pytest.raises(TutorialError, match=r"(?s)cell 1: wrote to stderr.*FutureWarning: old"):
        run.whole(source)


def test_a_good_notebook_has_no_faults() -> None:
    assert faults(executed(stdout("log p = -23.5, in 3 seconds"), PICTURE, source="plt.subplots()")) == []


@pytest.mark.parametrize(
    ("notebook", "fault"),
    [
        (executed(new_output("error", ename="ValueError", evalue="no", traceback=[])), "failed with ValueError: no"),
        (executed(new_output("stream", name="stderr", text="50%|#####")), "wrote to stderr"),
        (executed(stdout("<function f at 0x7f1c2a3b4c5d>")), "an address.*0x7f1c2a3b4c5d"),
        (executed(stdout("Run(finished after 8 epochs, 1.2 s)")), "a time.*1.2 s"),
        (executed(stdout(f"saved to {sys.prefix}/runs")), "a path of this machine"),
        (executed(stdout("x"), source="figure, ax = plt.subplots()"), "no picture"),
        (executed(count=None), "was run as number None"),
        (executed(count=3), "was run as number 3"),
        (executed(stdout("x" * LARGEST)), "bytes, more than"),
    ],
)
def test_each_fault_is_found(notebook: nbformat.NotebookNode, fault: str) -> None:
    (found,) = faults(notebook)
    assert re.search(fault, found)


def test_drift_is_found() -> None:
    code, text = new_code_cell("x = 1"), new_markdown_cell("# One")
    same = new_notebook(cells=[text, code])
    assert drift(same, new_notebook(cells=[text, new_code_cell("x = 1", execution_count=1)])) == []
    assert drift(same, new_notebook(cells=[text, new_code_cell("x = 2")])) == ["cell 2 of all: differs from the source"]
    assert drift(same, new_notebook(cells=[new_markdown_cell("# Two"), code])) == [
        "cell 1 of all: differs from the source"
    ]
    assert drift(same, new_notebook(cells=[text])) == ["1 cells for 2 in the source"]


def test_check_finds_a_source_that_moved_on(tmp_path: Path) -> None:
    source = tutorial(tmp_path, "# %%\nx = 1\n")
    notebook = read(source)
    notebook.cells[0].execution_count = 1
    nbformat.write(notebook, source.with_suffix(".ipynb"))
    run.check(source)
    source.write_text("# %%\nx = 2\n")
    with pytest.raises(TutorialError, match=r"01_tiny\.ipynb, cell 1 of all: differs from the source"):
        run.check(source)


def test_outputs_of_another_kind_are_stale() -> None:
    one, two = executed(PICTURE), executed(PICTURE, PICTURE)
    assert stale(one, one) == []
    assert stale(executed(stdout("a"), stdout("b")), executed(stdout("c"))) == []  # other numbers may come
    assert len(stale(two, one)) == len(stale(one, executed(stdout("x")))) == 1


@pytest.mark.parametrize(
    ("code", "drawn"),
    [
        ("figure, ax = plt.subplots()", True),
        ("pb.plots.image_grid(x)", True),
        ("for ax in axes:\n    pb.plots.image_grid(x, ax=ax)", True),
        ("def show(x):\n    plt.subplots()", False),
        ("plt.rcParams.update({})", False),
        ("x = 1", False),
    ],
)
def test_which_cells_draw(code: str, drawn: bool) -> None:
    assert draws(code) is drawn


def test_unknown_names_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tutorial(tmp_path, TINY)
    with pytest.raises(SystemExit):
        run.main(["99"], tmp_path)
    assert "no tutorial 99; there are 01_tiny" in capsys.readouterr().err
