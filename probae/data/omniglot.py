"""Omniglot: 32,460 handwritten characters of 50 alphabets, from a folder or downloaded once."""

from __future__ import annotations

import io
import itertools
import re
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from probae.data.archives import Archive, cache_folder, located, sha256_of
from probae.data.dataset import Dataset
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.errors import DataError

CHARACTERS = {"images_background": 964, "images_evaluation": 659}
DRAWERS, VALID = 20, 2
WIDE, SIDE = 105, 28
LARGEST = 1 << 16  # bytes of one drawing; the real ones have some 300
MIRRORS = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
)
# As in tensorflow/datasets (url_checksums/omniglot.txt) and in torchvision's prototype datasets, which agree.
SHA256 = {
    "images_background": "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    "images_evaluation": "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
}
DRAWING = re.compile(r"\w+/([^/]+/character\d+)/\d+_(\d\d)\.png")


def omniglot(root: str | Path | None = None) -> Splits:
    """Grey characters in [0, 1] (multiples of 1/225), ink 1: 17,352 to train, 1,928 to validate, 13,180 to test.

    The authors' images of 105 x 105 pixels, black on white, are inverted and averaged over areas of 3.75 x 3.75 pixels.
    Their background set (964 characters, each drawn once by 20 people) trains, but for the drawings of the last two
    people, which validate; the test set is their evaluation set, 659 characters of other alphabets. Published
    likelihoods are mostly of another version in another split, that of Burda et al. 2016 (24,345 and 8,070 images),
    and cannot be compared with those of this one.

    The files `omniglot-py/images_background.zip` and `images_evaluation.zip` (torchvision's layout) are looked for in
    `root`, in the folder that PROBAE_DATA names and in the cache (`~/.cache/probae`), into which they are downloaded
    (16 MB) if they are in none of these. The small images are kept in the cache.

    Returns:
        Data shape (1, 28, 28); labels are the characters, 0 to 963 and in the test set 964 to 1622, ordered by alphabet
        and then by number.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: for files that are not Omniglot's, or none and no download.

    Source: B. Lake, R. Salakhutdinov and J. Tenenbaum, Human-level concept learning through probabilistic program
    induction (2015).
    """
    archives = [Archive(f"omniglot-py/{name}.zip", digest, MIRRORS) for name, digest in SHA256.items()]
    paths = located(archives, root)
    background, evaluation = (_images(path, count) for path, count in zip(paths, CHARACTERS.values(), strict=True))
    ends = DRAWERS - VALID
    parts = {
        "train": (background[:, :ends], 0),
        "valid": (background[:, ends:], 0),
        "test": (evaluation, len(background)),
    }
    return Splits(*(_data(split, images, first) for split, (images, first) in parts.items()))


def shrunk(ink: np.ndarray) -> np.ndarray:
    """The ink in each of 28 x 28 areas of 105 x 105 pixels: (N, 105, 105) booleans to (N, 28, 28) from 0 to 225.

    A side of an area is 15 quarters of a pixel, and a pixel 4, so that the sums are whole numbers.

    Example:
        >>> shrunk(np.ones((1, 105, 105), dtype=bool)).min()
        np.uint8(225)
    """
    quarters = np.repeat(np.eye(SIDE, dtype=np.float32), 15, axis=1).reshape(SIDE, WIDE, 4).sum(2)
    return (quarters @ ink.astype(np.float32) @ quarters.T).astype(np.uint8)


def _data(split: str, images: np.ndarray, first: int) -> Dataset:
    grey = torch.from_numpy(images.reshape(-1, 1, SIDE, SIDE).astype(np.float32)).div_(225)
    labels = torch.arange(first, first + len(images)).repeat_interleave(images.shape[1])
    return Dataset(grey, labels, protocol=Protocol("omniglot", split, "none"))


def _images(path: Path, characters: int) -> np.ndarray:
    """(characters, 20, 28, 28) small images, from the cache if they are there: reading the drawings takes seconds."""
    shape = (characters, DRAWERS, SIDE, SIDE)
    cached = cache_folder() / "omniglot-py" / f"{sha256_of(path)}-{SIDE}.npy"
    images = _cached(cached)
    if images is None or images.shape != shape or images.dtype != np.uint8:
        images = _from_archive(path, characters).reshape(shape)
        _cache(cached, images)
    return images


def _from_archive(path: Path, characters: int) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            drawings = {m.group(1, 2): name for name in archive.namelist() if (m := DRAWING.fullmatch(name))}
            people = [int(drawer) for _, drawer in sorted(drawings)]
            if people != [*range(1, DRAWERS + 1)] * characters:
                got = f"{len(drawings)} drawings of {len({character for character, _ in drawings})}"
                raise DataError(str(path), f"{DRAWERS} drawings of each of {characters} characters", got)
            wide = (_drawing(archive, drawings[key], path) for key in sorted(drawings))
            twenties = iter(lambda: list(itertools.islice(wide, DRAWERS)), [])  # all at once would take 360 MB
            return np.concatenate([shrunk(np.stack(twenty)) for twenty in twenties])
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise DataError(str(path), "a readable .zip archive", f"{type(error).__name__}: {error}") from error


def _drawing(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """Where there is ink: (105, 105) booleans."""
    from PIL import Image  # slow to import

    full_name, size = f"{path}: {name}", archive.getinfo(name).file_size
    if size > LARGEST:
        raise DataError(full_name, f"at most {LARGEST} bytes", size)
    content = io.BytesIO(archive.read(name))
    try:
        with Image.open(content, formats=["PNG"]) as image:
            found = f"{image.width} x {image.height} pixels of mode {image.mode!r}"
            ink = ~np.asarray(image) if found == f"{WIDE} x {WIDE} pixels of mode '1'" else None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(full_name, "a PNG image", f"{type(error).__name__}: {error}") from error
    if ink is None:
        raise DataError(full_name, f"an image of {WIDE} x {WIDE} black and white pixels", found)
    return ink


def _cached(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None


def _cache(path: Path, images: np.ndarray) -> None:
    """Keeps the images, whole or not at all; without a place to write they are read anew the next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".images-", dir=path.parent) as private:
            np.save(Path(private) / path.name, images, allow_pickle=False)
            (Path(private) / path.name).replace(path)
    except OSError:
        return
