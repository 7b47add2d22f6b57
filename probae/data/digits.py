"""Digits: 1,797 handwritten digits of 8 x 8 pixels, embedded in scikit-learn; no network."""

from __future__ import annotations

import numpy as np
import torch

from probae.data.dataset import Dataset
from probae.data.protocol import Protocol
from probae.data.splits import Splits

BOUNDS = {"train": slice(0, 1197), "valid": slice(1197, 1497), "test": slice(1497, 1797)}


def digits() -> Splits:
    """Grey digits in [0, 1] (multiples of 1/16) with their labels: 1,197 to train, 300 to validate, 300 to test.

    The images are shuffled by a fixed permutation first, since their order goes by writer.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), its test set, as
    embedded in scikit-learn.

    Example:
        >>> digits().test
        Dataset(digits/test, not binarized: 300 examples of shape (1, 8, 8) with labels, float32 on cpu)
    """
    from sklearn.datasets import load_digits  # slow to import

    pixels, classes = load_digits(return_X_y=True)
    # NumPy promises that the stream of this generator never changes, and so the splits never do.
    order = np.random.RandomState(0).permutation(len(classes))
    images = torch.from_numpy(pixels[order]).float().div(16).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(classes[order])
    return Splits(*(Dataset(images[b], labels[b], protocol=Protocol("digits", s, "none")) for s, b in BOUNDS.items()))
