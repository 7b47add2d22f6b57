"""A command of `probae`, run in this process, with what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from probae.cli import main

QUICK = ["--data", "bars_and_stripes", "--size", "3", "--batch_size", "7"]
"""A data set of 14 patterns in two steps an epoch."""

TINY: dict[str, list[str]] = {
    "vae": ["--latent_dim", "2", "--hidden", "8"],
    "rbm": ["--num_hidden", "4"],
    "sparse_autoencoder": ["--latent_dim", "12"],
}
"""Of each model that is trained here, options that make it small."""


class Said(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Probae = Callable[..., Said]


@pytest.fixture
def probae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Probae:
    """`probae(*words)` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> Said:
        capsys.readouterr()
        status = main(list(words))
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def trained(probae: Probae) -> Callable[..., Path]:
    """A run of a tiny model, two epochs unless told otherwise."""

    def train(name: str, *words: str) -> Path:
        said = probae("train", name, *TINY[name], *QUICK, "--epochs", "2", "--output", f"runs/{name}", *words)
        assert said.status == 0, said.err
        return Path("runs", name)

    return train
