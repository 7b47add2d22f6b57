"""Laws of Omniglot: exact areas, fixed drawers, a cache that is only a cache."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probae.data import load
from probae.data.omniglot import shrunk
from probae.errors import DataError
from tests.data.conftest import Web

MODULE = "probae.data.omniglot"
CHARACTERS = {"images_background": 3, "images_evaluation": 2}
ALPHABETS = ["Greek/character02", "Greek/character10", "Old_(runes)/character01"]


def ink(set_name: str) -> np.ndarray:
    """(characters, 20, 105, 105) booleans."""
    count = CHARACTERS[set_name]
    return np.random.default_rng(count).random((count, 20, 105, 105)) < 0.3


def png(pixels: np.ndarray, mode: str = "1") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def drawings(set_name: str) -> dict[str, bytes]:
    """The members of a small archive, in an order that is not theirs."""
    found = {
        f"{set_name}/{character}/{number:04d}_{drawer + 1:02d}.png": png(~ink(set_name)[number, drawer])
        for number, character in enumerate(ALPHABETS[: CHARACTERS[set_name]])
        for drawer in range(20)
    }
    return dict(reversed(found.items()))


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


PAGES = {name: zipped(drawings(name)) for name in CHARACTERS}


def write(root: Path, **other: bytes) -> Path:
    """A small Omniglot in torchvision's layout; `other` replaces an archive by name."""
    (root / "omniglot-py").mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (root / "omniglot-py" / f"{name}.zip").write_bytes(other.get(name, page))
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    monkeypatch.setattr(sys.modules[MODULE], "CHARACTERS", CHARACTERS)


def areas(wide: np.ndarray) -> np.ndarray:
    """The mean over areas of 3.75 x 3.75 pixels, from 420 x 420 pixels of a quarter each: (N, 28, 28)."""
    fine = wide.repeat(4, axis=1).repeat(4, axis=2)
    return fine.reshape(-1, 28, 15, 28, 15).mean((2, 4))


def test_drawings_are_inverted_and_averaged_exactly(tmp_path: Path) -> None:
    train, valid, test = load("omniglot", root=write(tmp_path), binarize="none")
    background = torch.from_numpy(areas(ink("images_background").reshape(-1, 105, 105))).reshape(3, 20, 784).float()
    assert torch.allclose(train.tensor, background[:, :18].reshape(-1, 784), atol=1e-7, rtol=0)
    assert torch.allclose(valid.tensor, background[:, 18:].reshape(-1, 784), atol=1e-7, rtol=0)
    evaluation = torch.from_numpy(areas(ink("images_evaluation").reshape(-1, 105, 105))).reshape(40, 784).float()
    assert torch.allclose(test.tensor, evaluation, atol=1e-7, rtol=0)
    assert [(len(part), part.data_shape) for part in (train, valid, test)] == [
        (54, (1, 28, 28)),
        (6, (1, 28, 28)),
        (40, (1, 28, 28)),
    ]


def test_labels_are_the_characters_and_those_of_the_test_set_are_others(tmp_path: Path) -> None:
    labels = [part.labels for part in load("omniglot", root=write(tmp_path))]
    counts = [part.unique(return_counts=True) for part in labels if part is not None]
    assert [(c.tolist(), n.tolist()) for c, n in counts] == [
        ([0, 1, 2], [18] * 3),
        ([0, 1, 2], [2] * 3),
        ([3, 4], [20] * 2),
    ]


def test_areas_of_full_and_empty_images() -> None:
    assert shrunk(np.zeros((1, 105, 105), dtype=bool)).max() == 0
    assert shrunk(np.ones((2, 105, 105), dtype=bool)).tolist() == np.full((2, 28, 28), 225).tolist()


def test_small_images_are_cached_by_the_content_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, first = write(tmp_path / "root"), load("omniglot", root=write(tmp_path / "root")).test.tensor
    monkeypatch.setattr(sys.modules[MODULE], "_from_archive", lambda *_: pytest.fail("read again"))
    assert torch.equal(load("omniglot", root=root).test.tensor, first)


def test_another_archive_has_another_cache(tmp_path: Path) -> None:
    first = load("omniglot", root=write(tmp_path / "root"), binarize="none").test.tensor
    other = {name: png(ink("images_evaluation")[0, 0]) for name in drawings("images_evaluation")}
    second = load("omniglot", root=write(tmp_path / "root", images_evaluation=zipped(other)), binarize="none").test
    assert not torch.equal(first, second.tensor)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY" + bytes(200), b"cos\nsystem\n(S'false'\ntR."])
def test_a_broken_cache_is_made_anew(tmp_path: Path, content: bytes) -> None:
    root = write(tmp_path / "root")
    first = load("omniglot", root=root).train.tensor
    cached = list((tmp_path / "cache").rglob("*.npy"))
    assert len(cached) == 2
    for path in cached:
        path.write_bytes(content)
    assert torch.equal(load("omniglot", root=root).train.tensor, first)
    assert all(len(path.read_bytes()) > 784 * 40 for path in cached)


def test_a_cache_of_another_shape_is_made_anew(tmp_path: Path) -> None:
    root = write(tmp_path / "root")
    first = load("omniglot", root=root).train.tensor
    for path in (tmp_path / "cache").rglob("*.npy"):
        np.save(path, np.zeros((2, 20, 27, 28), dtype=np.uint8))
    assert torch.equal(load("omniglot", root=root).train.tensor, first)


def test_without_a_place_for_the_cache_it_works_as_well(tmp_path: Path) -> None:
    root = write(tmp_path / "root")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(load("omniglot", root=root).train) == 54


def test_a_download_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    module = sys.modules[MODULE]
    web.update({f"{module.MIRRORS[0]}{name}.zip": page for name, page in PAGES.items()})
    with pytest.raises(DataError, match="expected a file with SHA-256"):
        load("omniglot")
    assert not list(tmp_path.rglob("*.zip"))
    monkeypatch.setattr(module, "SHA256", {name: hashlib.sha256(page).hexdigest() for name, page in PAGES.items()})
    assert len(load("omniglot").test) == 40
    assert sorted(path.stem for path in tmp_path.rglob("*.zip")) == sorted(PAGES)


WHOLE = drawings("images_evaluation")
NAME = next(iter(WHOLE))
HEADER = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 1, 0, 0, 0, 0)
IMMENSE = WHOLE[NAME][:12] + HEADER + struct.pack(">I", zlib.crc32(HEADER)) + WHOLE[NAME][33:]
BROKEN = {
    "empty": (b"", "a readable .zip archive"),
    "a page": (b"<!DOCTYPE html>", "a readable .zip archive"),
    "cut": (PAGES["images_evaluation"][:-30], "a readable .zip archive"),
    "damaged": (b"PK" + bytes(40) + PAGES["images_evaluation"][42:], "a readable .zip archive"),
    "without a drawing": (zipped({n: c for n, c in WHOLE.items() if n != NAME}), "20 drawings of each of 2 characters"),
    "of another set": (PAGES["images_background"], "20 drawings of each of 2 characters; got 60 drawings of 3"),
    "no image": (zipped({**WHOLE, NAME: b"<svg/>"}), "a PNG image"),
    "a cut image": (zipped({**WHOLE, NAME: WHOLE[NAME][:200]}), "a PNG image"),
    "an image cut in its header": (zipped({**WHOLE, NAME: WHOLE[NAME][:20]}), "a PNG image"),
    "an immense image": (zipped({**WHOLE, NAME: IMMENSE}), "a PNG image"),
    "a large image": (zipped({**WHOLE, NAME: png(np.ones((104, 105), dtype=bool))}), "an image of 105 x 105"),
    "a grey image": (zipped({**WHOLE, NAME: png(np.ones((105, 105), dtype=bool), "L")}), "black and white pixels"),
    "a bomb": (zipped({**WHOLE, NAME: bytes(10_000_000)}), "at most 65536 bytes"),
}


@pytest.mark.parametrize(("page", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_archives_are_named(tmp_path: Path, page: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"images_evaluation\.zip.*: expected .*{message}"):
        load("omniglot", root=write(tmp_path / "root", images_evaluation=page))


def test_strangers_in_an_archive_are_passed_by(tmp_path: Path) -> None:
    strangers = {"images_evaluation/": b"", "__MACOSX/x.png": b"", "../escaped.png": b"", "images_evaluation/r": b""}
    root = write(tmp_path / "root", images_evaluation=zipped({**WHOLE, **strangers}))
    assert len(load("omniglot", root=root).test) == 40
    assert not list(tmp_path.rglob("escaped*"))
