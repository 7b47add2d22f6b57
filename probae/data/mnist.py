"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, from a folder or downloaded once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from probae.data.dataset import Dataset
from probae.data.idx import read_idx
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.errors import ArgumentError, DataError

TRAIN, VALID, TEST = 50_000, 10_000, 10_000
TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def mnist(root: str | Path | None = None) -> Splits:
    """Grey digits in [0, 1] (multiples of 1/255) with their labels: 50,000, 10,000 and 10,000.

    The first 50,000 training images train, the last 10,000 validate, and the test images test. The four files
    `MNIST/raw/*-ubyte`, gzipped or not, are looked for in `root`, in the folder that the environment variable
    PROBAE_DATA names, and in the cache, `$XDG_CACHE_HOME/probae` or `~/.cache/probae`, into which torchvision
    downloads them if they are in none of these.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: for files that are not MNIST's, or none and no download.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition
    (1998).
    """
    folder = _folder(root)
    images, labels = _read(folder, TRAIN_FILES, TRAIN + VALID)
    tests = _read(folder, TEST_FILES, TEST)
    parts = {
        "train": (images[:TRAIN], labels[:TRAIN]),
        "valid": (images[TRAIN:], labels[TRAIN:]),
        "test": tests,
    }
    return Splits(*(Dataset(x, y, protocol=Protocol("mnist", split, "none")) for split, (x, y) in parts.items()))


def _folder(root: str | Path | None) -> Path:
    """The first place that holds all four files, the cache after a download if no other does."""
    if root is not None and not Path(root).expanduser().is_dir():
        raise ArgumentError("root", "a folder", repr(str(root)))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "probae"
    places = [Path(place).expanduser() for place in (root, os.environ.get("PROBAE_DATA"), cache) if place]
    for place in places:
        if all(_path(place, name) for name in TRAIN_FILES + TEST_FILES):
            return place
    _download(cache, places)
    return cache


def _path(folder: Path, name: str) -> Path | None:
    candidates = (folder / "MNIST" / "raw" / (name + suffix) for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _download(cache: Path, places: list[Path]) -> None:
    try:
        from torchvision.datasets import MNIST  # slow to import, and needed this once

        cache.mkdir(parents=True, exist_ok=True)
        MNIST(root=str(cache), download=True)
    except (ImportError, OSError, RuntimeError) as error:
        expected = f"the files MNIST/raw/*-ubyte(.gz) in {' or '.join(map(str, places))}, or a download"
        hint = "Set PROBAE_DATA, or root=, to a folder that holds MNIST/raw"
        raise DataError("root", expected, f"{type(error).__name__}: {error}", hint) from error


def _read(folder: Path, names: tuple[str, str], size: int) -> tuple[Tensor, Tensor]:
    images, labels = (_array(folder, name) for name in names)
    for array, shape, name in ((images, (size, 28, 28), names[0]), (labels, (size,), names[1])):
        if array.shape != shape:
            raise DataError(str(_path(folder, name)), f"an array of shape {shape}", f"shape {array.shape}")
    grey = torch.from_numpy(images.astype(np.float32)).div_(255)
    return grey[:, None], torch.from_numpy(labels.astype(np.int64))


def _array(folder: Path, name: str) -> np.ndarray:
    path = _path(folder, name)
    if path is None:
        raise DataError("root", f"a file {name}(.gz)", f"none in {folder / 'MNIST' / 'raw'}")
    return read_idx(path)
