"""Laws of MNIST's loading: where it is looked for, what its files must be, and how it is split."""

from __future__ import annotations

import gzip
import struct
import sys
import types
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch

from probae.data import load
from probae.data.idx import read_idx
from probae.errors import ArgumentError, DataError

REAL = Path(__file__).parents[3] / "shared" / "data"
SIZES = {"train": 8, "t10k": 3}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(name: str) -> np.ndarray:
    return np.random.default_rng(SIZES[name]).integers(0, 256, (SIZES[name], 28, 28), dtype=np.uint8)


def write(root: Path, suffix: str = "", **other: bytes) -> Path:
    """A small MNIST in torchvision's layout; `other` replaces the content of a file by name, such as t10k_images."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, size in SIZES.items():
        contents = {"images-idx3": idx(images(name)), "labels-idx1": idx(np.arange(size, dtype=np.uint8))}
        for kind, content in contents.items():
            content = other.get(f"{name}_{kind[:6]}", content)
            (raw / f"{name}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Six, two and three examples, an empty cache, and no network."""
    for name, size in {"TRAIN": 6, "VALID": 2, "TEST": 3}.items():
        monkeypatch.setattr(sys.modules["probae.data.mnist"], name, size)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PROBAE_DATA", raising=False)
    torchvision(monkeypatch, offline)


def torchvision(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    fake = types.ModuleType("torchvision.datasets")
    fake.MNIST = download  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)


def offline(root: str, download: bool) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_last_training_images_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setenv("PROBAE_DATA", str(write(tmp_path / "data", suffix)))
    train, valid, test = load("mnist", binarize="none")
    grey = torch.from_numpy(images("train").reshape(8, 784) / 255).float()
    assert torch.equal(torch.cat([train.tensor, valid.tensor]), grey)
    assert len(valid) == 2
    assert torch.equal(test.tensor, torch.from_numpy(images("t10k").reshape(3, 784) / 255).float())
    assert [d.labels.tolist() for d in (train, valid, test) if d.labels is not None] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [0, 1, 2],
    ]
    assert all(d.data_shape == (1, 28, 28) for d in (train, valid, test))
    assert str(load("mnist", seed=1).test.protocol) == "mnist/test, stochastic binarization (seed 1)"


def test_root_comes_before_the_environment_and_that_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_label(**arguments: Any) -> int:
        labels = load("mnist", **arguments).test.labels
        assert labels is not None
        return int(labels[0])

    for place, label in (("cache/probae", 7), ("environment", 8), ("root", 9)):
        write(tmp_path / place, t10k_labels=idx(np.full(3, label, dtype=np.uint8)))
    assert first_label() == 7
    monkeypatch.setenv("PROBAE_DATA", str(tmp_path / "environment"))
    assert first_label() == 8
    assert first_label(root=tmp_path / "root") == first_label(root=str(tmp_path / "root")) == 9
    (tmp_path / "empty").mkdir()
    assert first_label(root=tmp_path / "empty") == 8


def test_missing_files_are_downloaded_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def download(root: str, download: bool) -> None:
        calls.append(root)
        write(Path(root))

    torchvision(monkeypatch, download)
    assert len(load("mnist").train) == len(load("mnist").train) == 6
    assert calls == [str(tmp_path / "cache" / "probae")]


def test_without_a_network_the_error_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBAE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no route to host.*Set PROBAE_DATA") as caught:
        load("mnist")
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert str(tmp_path / "cache" / "probae") in str(caught.value)


def test_a_download_that_leaves_no_files_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision(monkeypatch, lambda root, download: None)
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load("mnist")


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^root: expected a folder"):
        load("mnist", root=tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_other_numbers_of_images_or_labels_name_the_file(tmp_path: Path, suffix: str) -> None:
    root = write(tmp_path / "data", suffix, train_labels=idx(np.zeros(7, dtype=np.uint8)))
    with pytest.raises(DataError, match=rf"train-labels-idx1-ubyte{suffix}: expected an array of shape \(8,\)"):
        load("mnist", root=root)


WHOLE = idx(images("t10k"))
BROKEN = {
    "empty": (b"", "starts with"),
    "foreign": (b"<!DOCTYPE html>", "starts with"),
    "of floats": (b"\0\0\x0d" + WHOLE[3:], "starts with"),
    "cut in its header": (WHOLE[:9], "truncated"),
    "cut": (WHOLE[:-1], "truncated"),
    "too long": (WHOLE + b"\0", "too long"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_named(tmp_path: Path, content: bytes, message: str, suffix: str) -> None:
    root = write(tmp_path / "data", suffix, t10k_images=content)
    with pytest.raises(DataError, match=rf"t10k-images-idx3-ubyte{suffix}: expected .*{message}"):
        load("mnist", root=root)


@pytest.mark.parametrize("content", [gzip.compress(WHOLE)[:-20], WHOLE, gzip.compress(WHOLE)[:200] + bytes(200)])
def test_broken_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some-ubyte.gz: expected a readable IDX file"):
        read_idx(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data beside the checkout")
def test_real_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"TRAIN": 50_000, "VALID": 10_000, "TEST": 10_000}.items():
        monkeypatch.setattr(sys.modules["probae.data.mnist"], name, size)
    train, valid, test = load("mnist", binarize="none", root=REAL)
    assert [len(data) for data in (train, valid, test)] == [50_000, 10_000, 10_000]
    assert train.labels is not None
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels is not None
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert float(train.tensor.max()) == 1
    assert 0.12 < float(train.tensor.mean()) < 0.14
