"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 pixels each, from a folder or downloaded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from probae.data.archives import Archive, located
from probae.data.dataset import Dataset
from probae.data.idx import read_idx
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.errors import DataError

TRAIN, VALID, TEST = 50_000, 10_000, 10_000
CLASSES = 10

# SHA-256 sums as in tensorflow/datasets (url_checksums/mnist.txt and fashion_mnist.txt) and in torchvision's
# prototype datasets, which agree.
MNIST = {
    "train-images-idx3": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION = {
    "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)


def mnist(root: str | Path | None = None) -> Splits:
    """Grey digits in [0, 1] (multiples of 1/255) with their labels: 50,000, 10,000 and 10,000.

    The first 50,000 training images train, the last 10,000 validate, and the test images test. The four files
    `MNIST/raw/*-ubyte`, gzipped or not, are looked for in `root`, in the folder that the environment variable
    PROBAE_DATA names, and in the cache, `$XDG_CACHE_HOME/probae` or `~/.cache/probae`, into which they are downloaded
    if they are in none of these.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: for files that are not MNIST's, or none and no download.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition
    (1998).
    """
    return _splits("mnist", "MNIST", MNIST, MNIST_MIRRORS, root)


def fashion_mnist(root: str | Path | None = None) -> Splits:
    """Grey pictures of clothes in [0, 1] (multiples of 1/255) with their labels: 50,000, 10,000 and 10,000.

    As `mnist` in everything; its files are `FashionMNIST/raw/*-ubyte`. The labels are, from 0: T-shirt or top,
    trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot.

    Raises:
        ArgumentError: for a `root` that is no folder.
        DataError: for files that are not Fashion-MNIST's, or none and no download.

    Source: Xiao et al. 2017 (arXiv 1708.07747).
    """
    return _splits("fashion_mnist", "FashionMNIST", FASHION, FASHION_MIRRORS, root)


def _splits(
    name: str, folder: str, sums: dict[str, str], mirrors: tuple[str, ...], root: str | Path | None
) -> Splits:
    names = {f"{folder}/raw/{file}-ubyte": digest for file, digest in sums.items()}
    paths = located([Archive(f"{file}.gz", digest, mirrors, file) for file, digest in names.items()], root)
    images, labels = _read(paths[0], paths[1], TRAIN + VALID)
    parts = {
        "train": (images[:TRAIN], labels[:TRAIN]),
        "valid": (images[TRAIN:], labels[TRAIN:]),
        "test": _read(paths[2], paths[3], TEST),
    }
    return Splits(*(Dataset(x, y, protocol=Protocol(name, split, "none")) for split, (x, y) in parts.items()))


def _read(images: Path, labels: Path, size: int) -> tuple[Tensor, Tensor]:
    pixels, classes = _array(images, (size, 28, 28)), _array(labels, (size,))
    if classes.max() >= CLASSES:
        raise DataError(str(labels), f"labels below {CLASSES}", f"{classes.max()} among them")
    grey = torch.from_numpy(pixels.astype(np.float32)).div_(255)
    return grey[:, None], torch.from_numpy(classes.astype(np.int64))


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    array = read_idx(path)
    if array.shape != shape:
        raise DataError(str(path), f"an array of shape {shape}", f"shape {array.shape}")
    return array
