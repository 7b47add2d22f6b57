"""Bars and stripes: the small set of binary images whose exact likelihood is known."""

from __future__ import annotations

import math

import torch

from probae import checks
from probae.data.dataset import Dataset
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.errors import ArgumentError

LARGEST = 16


def bars_and_stripes(size: int = 4) -> Splits:
    """Every image whose columns are constant (bars) or whose rows are (stripes), each one once.

    There are 2 * 2^size - 2 of them, since the blank and the full image are both bars and stripes; train, valid and
    test are all of them, so that the best mean log-likelihood is -log(2 * 2^size - 2) nats, as in `true_log_prob`.

    Args:
        size: side of the image in pixels, at most 16 (131,070 images).

    Returns:
        Bits of shape (2 * 2^size - 2, size * size), data shape (1, size, size), no labels.

    Raises:
        ArgumentError: for a size that is no integer from 1 to 16.

    Source: D. MacKay, Information Theory, Inference, and Learning Algorithms (2003), chapter 43; there
    the blank and the full image are twice as likely as the others.

    Example:
        >>> bars_and_stripes(size=2).train.tensor.long().tolist()
        [[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    """
    if checks.positive_int("size", size) > LARGEST:
        raise ArgumentError("size", f"at most {LARGEST}", size, "The number of images doubles with each pixel")
    lines = (torch.arange(2**size)[:, None] >> torch.arange(size) & 1).float()
    bars = lines[:, None, None, :].expand(-1, 1, size, size)
    stripes = lines[1:-1, None, :, None].expand(-1, 1, size, size)
    images = torch.cat([bars, stripes])
    names = (Protocol("bars_and_stripes", split, "none") for split in ("train", "valid", "test"))
    log_prob = torch.full((len(images),), -math.log(len(images)), dtype=torch.float64)
    return Splits(*(Dataset(images, protocol=name, true_log_prob=log_prob) for name in names))
