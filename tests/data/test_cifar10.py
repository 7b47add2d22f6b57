"""Laws of CIFAR-10: plain bytes in, nothing unpickled, nothing unpacked, colour out."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from probae.data import load
from probae.errors import ArgumentError, DataError
from tests.data.conftest import Web

MODULE = "probae.data.cifar10"
FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
RECORDS = np.random.default_rng(0).integers(0, 256, (6, 4, 3073), dtype=np.uint8)
RECORDS[:, :, 0] %= 10


def files(**other: bytes) -> dict[str, bytes]:
    """Four images a file; `other` replaces the content of a file by its name without .bin."""
    whole = {file: records.tobytes() for file, records in zip(FILES, RECORDS, strict=True)}
    return whole | {f"{name}.bin": content for name, content in other.items()}


def tar(contents: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for other in others:
            archive.addfile(other)
        for name, content in contents.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def archived(root: Path, content: bytes) -> Path:
    root.mkdir(exist_ok=True)
    (root / ARCHIVE).write_bytes(content)
    return root


def unpacked(root: Path, contents: dict[str, bytes]) -> Path:
    (root / FOLDER).mkdir(parents=True)
    for name, content in contents.items():
        (root / FOLDER / name).write_bytes(content)
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    """Four images a file, the last three training images validate."""
    monkeypatch.setattr(sys.modules[MODULE], "BATCH", 4)
    monkeypatch.setattr(sys.modules[MODULE], "VALID", 3)


@pytest.mark.parametrize("way", ["archive", "folder"])
def test_each_byte_becomes_the_pixel_that_it_is(tmp_path: Path, way: str) -> None:
    root = archived(tmp_path, tar(files())) if way == "archive" else unpacked(tmp_path, files())
    splits = load("cifar10", root=root)
    assert [len(part) for part in splits] == [17, 3, 4]
    assert all(part.data_shape == (3, 32, 32) for part in splits)
    pixels = torch.cat([part.tensor for part in splits])
    assert torch.equal(pixels, torch.from_numpy(RECORDS[:, :, 1:].reshape(24, 3072).astype(np.float32)) / 255)
    labels = torch.cat([part.labels for part in splits if part.labels is not None])
    assert labels.tolist() == RECORDS[:, :, 0].flatten().tolist()
    green = splits.train.tensor.reshape(17, 3, 32, 32)[5, 1, 2, 3]
    assert green == torch.tensor(int(RECORDS[1, 1, 1 + 1024 + 2 * 32 + 3])) / 255
    assert str(splits.valid.protocol) == "cifar10/valid, not binarized"


def test_a_download_is_verified_and_nothing_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    module, page = sys.modules[MODULE], tar(files())
    web[module.ARCHIVE.mirrors[0] + ARCHIVE] = page
    with pytest.raises(DataError, match=module.ARCHIVE.sha256):
        load("cifar10")
    assert not list(tmp_path.rglob("*.tar.gz"))
    monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, sha256=hashlib.sha256(page).hexdigest()))
    assert len(load("cifar10").test) == len(load("cifar10").test) == 4
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [ARCHIVE]
    assert len(web.asked) == 3, "two mirrors, in vain, and then one"


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("something was unpickled",)


def test_pickles_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="no route to host"):
        load("cifar10", root=tmp_path)
    with pytest.raises(DataError, match=r"data_batch_1\.bin: expected a file of 12292 bytes"):
        load("cifar10", root=unpacked(tmp_path / "other", files(data_batch_1=pickle.dumps(Bomb()))))


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def test_links_and_strangers_in_an_archive_are_passed_by(tmp_path: Path) -> None:
    strangers = [link(f"{FOLDER}/data_batch_1.bin", "/etc/passwd"), tarfile.TarInfo("../../escaped")]
    root = archived(tmp_path / "root", tar(files(), *strangers))
    assert len(load("cifar10", root=root).train) == 17
    assert [path.name for path in tmp_path.rglob("*")] == ["root", ARCHIVE]
    contents = files()
    del contents["data_batch_1.bin"]
    with pytest.raises(DataError, match=r"data_batch_1\.bin: expected a file of 12292 bytes; got none"):
        load("cifar10", root=archived(root, tar(contents, *strangers)))


BROKEN = {
    "empty": b"", "a page": b"<!DOCTYPE html>", "cut": tar(files())[:5000], "noise": tar(files())[:5000] + bytes(500),
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_archives_are_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=rf"{ARCHIVE}: expected a readable \.tar\.gz archive"):
        load("cifar10", root=archived(tmp_path, content))


WRONG = {
    "short": (RECORDS[4].tobytes()[:-1], "expected a file of 12292 bytes"),
    "long": (RECORDS[4].tobytes() + b"\0", "expected a file of 12292 bytes"),
    "of another class": (b"\x0a" + RECORDS[4].tobytes()[1:], "expected labels below 10; got 10"),
}


@pytest.mark.parametrize("way", ["archive", "folder"])
@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_wrong_files_are_named(tmp_path: Path, way: str, content: bytes, message: str) -> None:
    contents = files(data_batch_5=content)
    root = archived(tmp_path, tar(contents)) if way == "archive" else unpacked(tmp_path, contents)
    with pytest.raises(DataError, match=rf"data_batch_5\.bin: {message}"):
        load("cifar10", root=root)


@pytest.mark.parametrize("binarize", ["threshold", "stochastic", "dynamic"])
def test_colour_is_not_binarized(binarize: str) -> None:
    with pytest.raises(ArgumentError, match=r"^binarize: expected None or 'none', since 'cifar10' is in colour"):
        load("cifar10", binarize=binarize)
