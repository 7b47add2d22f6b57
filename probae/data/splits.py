"""The three parts of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from probae.data.dataset import Dataset


@dataclass(frozen=True, repr=False)
class Splits:
    """Training, validation and test data, by name or unpacked in this order.

    Example:
        >>> import torch
        >>> train, valid, test = Splits(*(Dataset(torch.zeros(n, 2)) for n in (8, 1, 1)))
        >>> len(train)
        8
    """

    train: Dataset
    valid: Dataset
    test: Dataset

    def __iter__(self) -> Iterator[Dataset]:
        return iter((self.train, self.valid, self.test))

    def __repr__(self) -> str:
        return f"Splits(\n  train={self.train},\n  valid={self.valid},\n  test={self.test},\n)"
