"""Laws of MNIST and Fashion-MNIST: where they are looked for, what their files must be, and how they are split."""

from __future__ import annotations

import gzip
import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from probae.data import load
from probae.data.idx import read_idx
from probae.errors import ArgumentError, DataError
from tests.data.conftest import Web

REAL = {
    "mnist": Path(__file__).parents[3] / "shared" / "data",
    "fashion_mnist": Path("/usr/share/datasets/fashion-mnist"),  # of Debian's package dataset-fashion-mnist
}
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
SIZES = {"train": 8, "t10k": 3}
MODULE = "probae.data.mnist"

both = pytest.mark.parametrize("name", FOLDERS)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def images(split: str) -> np.ndarray:
    return np.random.default_rng(SIZES[split]).integers(0, 256, (SIZES[split], 28, 28), dtype=np.uint8)


def files(**other: bytes) -> dict[str, bytes]:
    """The four files of a small set, by name; `other` replaces the content of one, such as t10k_images."""
    contents: dict[str, bytes] = {}
    for split, size in SIZES.items():
        contents[f"{split}-images-idx3"] = other.get(f"{split}_images", idx(images(split)))
        contents[f"{split}-labels-idx1"] = other.get(f"{split}_labels", idx(np.arange(size, dtype=np.uint8)))
    return contents


def write(root: Path, name: str = "mnist", suffix: str = "", **other: bytes) -> Path:
    """A small set in torchvision's layout."""
    raw = root / FOLDERS[name] / "raw"
    raw.mkdir(parents=True)
    for file, content in files(**other).items():
        (raw / f"{file}-ubyte{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    """Six, two and three examples, an empty cache, and no network."""
    for name, size in {"TRAIN": 6, "VALID": 2, "TEST": 3}.items():
        monkeypatch.setattr(sys.modules[MODULE], name, size)


@both
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_last_training_images_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    monkeypatch.setenv("PROBAE_DATA", str(write(tmp_path / "data", name, suffix)))
    train, valid, test = load(name, binarize="none")
    grey = torch.from_numpy(images("train").reshape(8, 784) / 255).float()
    assert torch.equal(torch.cat([train.tensor, valid.tensor]), grey)
    assert len(valid) == 2
    assert torch.equal(test.tensor, torch.from_numpy(images("t10k").reshape(3, 784) / 255).float())
    labels = [d.labels.tolist() for d in (train, valid, test) if d.labels is not None]
    assert labels == [[0, 1, 2, 3, 4, 5], [6, 7], [0, 1, 2]]
    assert all(d.data_shape == (1, 28, 28) for d in (train, valid, test))
    assert str(load(name, seed=1).test.protocol) == f"{name}/test, stochastic binarization (seed 1)"


def test_one_is_not_taken_for_the_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no route to host"):
        load("fashion_mnist", root=write(tmp_path / "data"))


def test_bits_of_the_two_do_not_share_their_noise(tmp_path: Path) -> None:
    root = write(write(tmp_path / "data"), "fashion_mnist")
    assert not torch.equal(load("mnist", root=root).train.tensor, load("fashion_mnist", root=root).train.tensor)


@both
def test_missing_files_are_downloaded_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web, name: str
) -> None:
    sums, mirrors = {"mnist": ("MNIST", "MNIST_MIRRORS"), "fashion_mnist": ("FASHION", "FASHION_MIRRORS")}[name]
    pages = {file: gzip.compress(content) for file, content in files().items()}
    digests = {file: hashlib.sha256(page).hexdigest() for file, page in pages.items()}
    mirror = getattr(sys.modules[MODULE], mirrors)[0]
    web.update({f"{mirror}{file}-ubyte.gz": page for file, page in pages.items()})
    with pytest.raises(DataError, match="expected a file with SHA-256"):
        load(name)
    assert not list(tmp_path.rglob("*ubyte*"))
    monkeypatch.setattr(sys.modules[MODULE], sums, digests)
    web.asked.clear()
    assert len(load(name).train) == len(load(name).train) == 6
    assert web.asked == list(web)
    raw = tmp_path / "cache" / "probae" / FOLDERS[name] / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted(f"{file}-ubyte.gz" for file in pages)


@both
def test_without_a_network_the_error_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PROBAE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no route to host.*Set PROBAE_DATA") as caught:
        load(name)
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert str(tmp_path / "cache" / "probae") in str(caught.value)


@both
def test_root_must_be_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match=r"^root: expected a folder"):
        load(name, root=tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_other_numbers_of_images_or_labels_name_the_file(tmp_path: Path, suffix: str) -> None:
    root = write(tmp_path / "data", "mnist", suffix, train_labels=idx(np.zeros(7, dtype=np.uint8)))
    with pytest.raises(DataError, match=rf"train-labels-idx1-ubyte{suffix}: expected an array of shape \(8,\)"):
        load("mnist", root=root)


def test_labels_of_no_class_name_the_file(tmp_path: Path) -> None:
    root = write(tmp_path / "data", t10k_labels=idx(np.array([0, 10, 9], dtype=np.uint8)))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: expected labels below 10; got 10"):
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
    root = write(tmp_path / "data", "mnist", suffix, t10k_images=content)
    with pytest.raises(DataError, match=rf"t10k-images-idx3-ubyte{suffix}: expected .*{message}"):
        load("mnist", root=root)


@pytest.mark.parametrize("content", [gzip.compress(WHOLE)[:-20], WHOLE, gzip.compress(WHOLE)[:200] + bytes(200)])
def test_broken_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some-ubyte.gz: expected a readable IDX file"):
        read_idx(path)


@both
def test_the_real_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    root = REAL[name]
    if not root.is_dir():
        pytest.skip(f"needs {root}")
    if name == "fashion_mnist":
        (tmp_path / "FashionMNIST").mkdir()
        (tmp_path / "FashionMNIST" / "raw").symlink_to(root)
        root = tmp_path
    for size, count in {"TRAIN": 50_000, "VALID": 10_000, "TEST": 10_000}.items():
        monkeypatch.setattr(sys.modules[MODULE], size, count)
    train, valid, test = load(name, binarize="none", root=root)
    assert [len(data) for data in (train, valid, test)] == [50_000, 10_000, 10_000]
    first = {"mnist": ([5, 0, 4, 1, 9], [7, 2, 1, 0, 4]), "fashion_mnist": ([9, 0, 0, 3, 0], [9, 2, 1, 1, 6])}[name]
    assert (train.labels[:5].tolist(), test.labels[:5].tolist()) == first  # pyright: ignore[reportOptionalSubscript]
    assert float(train.tensor.max()) == 1
    assert float(train.tensor.mean()) == pytest.approx({"mnist": 0.131, "fashion_mnist": 0.286}[name], abs=1e-3)
