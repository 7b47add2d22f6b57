"""CIFAR-10: 60,000 colour photographs of 32 x 32 pixels in ten classes, from a folder or downloaded once."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch

from probae.data.archives import Archive, located
from probae.data.dataset import Dataset
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.errors import DataError

BATCH, VALID = 10_000, 5_000
CLASSES, PIXELS = 10, 3 * 32 * 32
FOLDER = "cifar-10-batches-bin"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
# The version of plain bytes; that for Python is pickled, and would run whatever is in it. SHA-256 as in
# tensorflow/datasets (url_checksums/cifar10.txt) and in several other projects, which agree.
ARCHIVE = Archive(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/", "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"),
    FOLDER,
)


def cifar10(root: str | Path | None = None) -> Splits:
    """Colour photographs in [0, 1] (multiples of 1/255) with their labels: 45,000, 5,000 and 10,000.

    The first 45,000 training images train, the last 5,000 validate, and the test images test. The binary version, the
    file `cifar-10-binary.tar.gz` or the folder `cifar-10-batches-bin` that is in it, is looked for in `root`, in the
    folder that PROBAE_DATA names and in the cache (`~/.cache/probae`), into which it is downloaded (162 MB) if it is in
    none of these. The version for Python, which torchvision uses, is pickled and never read. The labels are, from 0:
    airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Returns:
        Data shape (3, 32, 32), red, green and blue; float32, which takes 740 MB.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: for files that are not CIFAR-10's, or none and no download.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    (path,) = located([ARCHIVE], root)
    contents = _from_folder(path) if path.is_dir() else _from_archive(path)
    images, labels = torch.empty(len(FILES) * BATCH, 3, 32, 32), torch.empty(len(FILES) * BATCH, dtype=torch.int64)
    for number, file in enumerate(FILES):
        here = slice(number * BATCH, (number + 1) * BATCH)
        _parse(f"{path}: {file}", contents.pop(file, None), images[here].numpy(), labels[here].numpy())
    ends = {"train": slice(0, 5 * BATCH - VALID), "valid": slice(5 * BATCH - VALID, 5 * BATCH),
            "test": slice(5 * BATCH, None)}  # fmt: skip
    return Splits(*(Dataset(images[b], labels[b], protocol=Protocol("cifar10", s, "none")) for s, b in ends.items()))


def _from_folder(path: Path) -> dict[str, bytes]:
    try:
        return {file: (path / file).read_bytes() for file in FILES if (path / file).is_file()}
    except OSError as error:
        raise DataError(str(path), "readable files", f"{type(error).__name__}: {error}") from error


def _from_archive(path: Path) -> dict[str, bytes]:
    """The files of the right name and size, in memory: nothing is unpacked, links and whatever else is there stay."""
    found: dict[str, bytes] = {}
    wanted = {f"{FOLDER}/{file}": file for file in FILES}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isreg() and member.name in wanted and member.size == BATCH * (1 + PIXELS):
                    content = archive.extractfile(member)
                    found[wanted[member.name]] = b"" if content is None else content.read()
                if len(found) == len(FILES):
                    break
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(str(path), "a readable .tar.gz archive", f"{type(error).__name__}: {error}") from error
    return found


def _parse(name: str, content: bytes | None, images: np.ndarray, labels: np.ndarray) -> None:
    """Fill in what a file holds: for each image its label, and its red, green and blue pixels, row by row."""
    size = BATCH * (1 + PIXELS)
    if content is None or len(content) != size:
        raise DataError(name, f"a file of {size} bytes", "none of that size" if content is None else len(content))
    records = np.frombuffer(content, np.uint8).reshape(BATCH, 1 + PIXELS)
    if records[:, 0].max() >= CLASSES:
        raise DataError(name, f"labels below {CLASSES}", f"{records[:, 0].max()} among them")
    labels[:], images[:] = records[:, 0], records[:, 1:].reshape(images.shape)
    images /= 255
