"""Files survive what happens to processes and machines: a crash at any step, a kill, others who write at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import probae as pb
from probae.errors import ArgumentError
from probae.models import files
from probae.models.base import Model


def vae() -> pb.VAE:
    return pb.VAE(9, 2, 4)


def same(one: Model, other: Model) -> bool:
    states = one.state_dict(), other.state_dict()
    equal = states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    return equal and one.config == other.config


class Crash(BaseException):
    """What happens in the middle, such as an interrupt from the keyboard."""


STEPS = ["write", "write", "sync", "replace", "sync", "unlink"]
"""What saving does to the disk: the weights, the new `model.json` beside the old one, their names; the commit."""

COMMIT = STEPS.index("replace")


class Crashing:
    """Functions that count their calls together, and crash before, in the middle of or after one of them."""

    def __init__(self, step: int, when: str) -> None:
        self.step, self.when, self.seen = step, when, list[str]()

    def __call__(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            self.seen.append(name)
            if len(self.seen) != self.step + 1:
                return function(*args, **options)
            if self.when == "half" and name == "write":
                args[0].write_bytes(args[1][: len(args[1]) // 2])
            if self.when == "after":
                function(*args, **options)
            raise Crash

        return run


@pytest.mark.parametrize("step", range(len(STEPS)), ids=[f"{number} {name}" for number, name in enumerate(STEPS)])
@pytest.mark.parametrize("when", ["before", "half", "after"])
@pytest.mark.parametrize("there", [True, False], ids=["over a model", "in a new folder"])
def test_a_crash_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, when: str, there: bool
) -> None:
    if STEPS[step] == "unlink" and not there:
        return  # there is nothing old to remove
    old, new, folder, crashing = vae(), vae(), tmp_path / "vae", Crashing(step, when)
    if there:
        old.save(folder)
    with monkeypatch.context() as patch:
        for owner, name in ((files, "write"), (files, "sync"), (files.os, "replace"), (Path, "unlink")):
            patch.setattr(owner, name, crashing(name, getattr(owner, name)))
        with pytest.raises(Crash):
            new.save(folder)
    assert crashing.seen[: step + 1] == STEPS[: step + 1]
    committed = step > COMMIT or (step == COMMIT and when == "after")
    if there or committed:
        assert same(pb.load(folder), new if committed else old)
    else:
        with pytest.raises(ArgumentError, match=r"^folder: "):
            pb.load(folder)
    if step < COMMIT:
        assert len(list(folder.iterdir())) == (2 if there else 0), "something new is left"
    new.save(folder)
    assert same(pb.load(folder), new)


SAVER = """
import sys, torch, probae as pb
for seed in range(10**9):
    torch.manual_seed(seed % 2)
    pb.VAE(9, 2, 4).save(sys.argv[1])
    print(flush=True)
"""


@pytest.mark.slow
def test_processes_save_load_and_are_killed_at_once(tmp_path: Path) -> None:
    """Two processes save one of two models into one folder, over and over, while this one reads; then they are shot."""
    expected = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected.append(pb.VAE(9, 2, 4))
    command = [sys.executable, "-c", SAVER, str(tmp_path)]
    savers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for saver in savers:
            assert saver.stdout is not None
            assert saver.stdout.readline() == b"\n"  # it has saved once
        found: list[list[bool]] = []
        while len(found) < 300 or [True, False] not in found or [False, True] not in found:
            one = pb.load(tmp_path)
            found.append([same(one, model) for model in expected])
    finally:
        for saver in savers:
            saver.kill()
            saver.communicate()
    assert all(sum(each) == 1 for each in found)
    assert any(same(pb.load(tmp_path), model) for model in expected)
    assert same(pb.load(vae().save(tmp_path)), pb.load(tmp_path))


def test_a_model_replaced_while_it_is_read_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader knows the old `model.json`, and its weights are gone."""
    old, new, read, calls = vae(), vae(), files.read, []
    old.save(tmp_path)

    def slow(path: Path, limit: int) -> bytes:
        calls.append(path.name)
        if len(calls) == 2:
            new.save(tmp_path)
        return read(path, limit)

    monkeypatch.setattr(files, "read", slow)
    assert same(pb.load(tmp_path), new)


def test_a_link_planted_in_the_folder_is_not_written_through(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", vae().save(tmp_path / "vae")
    precious.write_bytes((folder / "model.json").read_bytes())
    before = precious.read_bytes()
    (folder / "model.json").unlink()
    (folder / "model.json").symlink_to(precious)
    model = vae()
    model.save(folder)
    assert precious.read_bytes() == before
    assert same(pb.load(folder), model)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, more than 4"):
        files.read(path, 4)
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", 5)
    with pytest.raises(OSError, match="it is not a regular file"):
        files.read(tmp_path, 5)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    files.write(path, b"mine")
    link.symlink_to(path)
    for taken in (path, link):
        with pytest.raises(FileExistsError):
            files.write(taken, b"theirs")
    assert path.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path) -> None:
    files.sync(tmp_path)
    files.sync(tmp_path / "none")
