"""The folder of a run: never over anything that is not asked for, and never finished before its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probae.cli import runs
from probae.engine.loggers import CSVLogger
from probae.errors import ArgumentError
from tests.cli.conftest import QUICK, TINY, Probae

Train = Callable[..., Path]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def again(probae: Probae, folder: Path, *words: str) -> Any:
    return probae("train", "vae", *TINY["vae"], *QUICK, "--epochs", "1", "--output", str(folder), *words)


def test_a_run_is_not_overwritten(probae: Probae, trained: Train) -> None:
    folder = trained("rbm")
    before = content(folder)
    said = again(probae, folder)
    assert said.status == 2
    assert said.err.endswith("got runs/rbm, which holds a run. --overwrite replaces it\n")
    assert content(folder) == before


def test_overwrite_replaces_all_of_a_run(probae: Probae, trained: Train) -> None:
    folder = trained("rbm")
    assert probae("evaluate", str(folder)).status == probae("plot", str(folder)).status == 0
    assert again(probae, folder, "--overwrite").status == 0
    assert runs.read(folder).info["model"] == "vae"
    names = {path.name for path in folder.rglob("*") if path.suffix != ".safetensors"}
    assert names == {"config.yaml", "metrics.csv", "settings.json", "run.json", "model", "model.json"}
    assert len(runs.read(folder).history()["epoch"]) == 1


@pytest.mark.parametrize("words", [["--epochs", "0"], ["--optimizer", "adamm"], ["--size", "99"]])
def test_overwrite_waits_until_training_begins(probae: Probae, trained: Train, words: list[str]) -> None:
    folder = trained("rbm")
    before = content(folder)
    assert again(probae, folder, "--overwrite", *words).status == 2
    assert content(folder) == before


@pytest.mark.parametrize("name", ["thesis.tex", "config.yaml", "model"])
def test_a_foreign_folder_is_never_replaced(probae: Probae, name: str) -> None:
    Path("mine").mkdir()
    Path("mine", name).write_text("precious")
    said = again(probae, Path("mine"), "--overwrite")
    assert said.status == 2
    assert f"expected a new folder, or that of a run; got mine, which holds {name}" in said.err
    assert Path("mine", name).read_text() == "precious"


def test_nor_is_a_run_with_something_foreign_in_it(probae: Probae, trained: Train) -> None:
    folder = trained("rbm")
    (folder / "notes.txt").write_text("precious")
    before = content(folder)
    assert "which holds notes.txt" in again(probae, folder, "--overwrite").err
    assert content(folder) == before


def test_what_breaks_off_does_not_look_finished(
    probae: Probae, trained: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(CSVLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            super().log_metrics(metrics, step)
            raise RuntimeError("the power went out")

    folder = trained("rbm")
    monkeypatch.setattr("probae.cli.train.CSVLogger", Breaking)
    with pytest.raises(RuntimeError, match="power"):
        again(probae, folder, "--overwrite")
    said = probae("evaluate", str(folder))
    assert (said.status, "a run that goes on, or was broken off" in said.err) == (2, True)
    monkeypatch.undo()
    assert again(probae, folder.resolve(), "--overwrite").status == 0, "what is left is a run's, and can be replaced"


def test_whoever_is_faster_keeps_the_folder(probae: Probae, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(CSVLogger):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            (folder / "run.json").write_text("the other one's")

    monkeypatch.setattr("probae.cli.train.CSVLogger", Slow)
    said = again(probae, Path("run"))
    assert (said.status, said.out) == (2, "")
    assert Path("run", "run.json").read_text() == "the other one's"


def test_an_empty_folder_is_a_new_one(probae: Probae) -> None:
    Path("empty").mkdir()
    assert again(probae, Path("empty")).status == 0


def test_numbers_that_are_taken_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a-2").mkdir()
    names = [runs.numbered(str(tmp_path / "a")).name for _ in range(3)]
    assert names == ["a-1", "a-3", "a-4"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("run.json", "{}"), ("run.json", "[]"), ("run.json", "{"), ("config.yaml", "a: b: c"), ("config.yaml", "")],
)
def test_damaged_runs_are_refused(trained: Train, file: str, text: str) -> None:
    folder = trained("vae")
    (folder / file).write_text(text)
    with pytest.raises(ArgumentError, match=r"^run: expected"):
        runs.read(folder)


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    runs.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        runs.write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]
