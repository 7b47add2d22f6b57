"""What may stand between the brackets of a data set: a slice, indices or a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae.errors import ArgumentError

EXPECTED = "an integer, a slice, a 1-D tensor of indices or a boolean mask"


def row(index: int, size: int) -> int:
    """The number from 0 of the one example that `index`, which may count from the end, selects from `size`.

    Raises:
        ArgumentError: for an index out of range.
    """
    if not -size <= index < size:
        raise ArgumentError("index", f"an index from {-size} to {size - 1}", index)
    return index % size


def rows(index: Any, size: int) -> slice | Tensor:
    """What selects the rows of a tensor that `index` selects from `size` examples.

    Args:
        index: a slice (negative steps too), or a tensor, array or list of `size` bools or of integers from -size to
            size - 1.

    Raises:
        ArgumentError: for another type or shape, an index out of range, or no example at all.

    Example:
        >>> rows(slice(None, None, -2), 5)
        tensor([4, 2, 0])
    """
    return _slice(index, size) if isinstance(index, slice) else _tensor(index, size)


def _slice(index: slice, size: int) -> slice | Tensor:
    try:
        picked = range(size)[index]
    except (TypeError, ValueError) as error:
        raise ArgumentError("index", "a slice of integers with a step other than zero", repr(index)) from error
    if not picked:
        raise ArgumentError("index", f"at least one of {size} examples", f"{index!r}, which selects none")
    return index if picked.step > 0 else torch.tensor(picked)


def _tensor(index: Any, size: int) -> Tensor:
    if not isinstance(index, Tensor | np.ndarray | list):
        raise ArgumentError("index", EXPECTED, repr(index))
    try:
        index = torch.as_tensor(index)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError("index", EXPECTED, repr(index)) from error
    got = f"shape {tuple(index.shape)} of {index.dtype}"
    if index.dim() != 1 or index.dtype not in (torch.bool, torch.int32, torch.int64):
        raise ArgumentError("index", EXPECTED, got)
    if index.dtype == torch.bool and len(index) != size:
        raise ArgumentError("index", f"a mask of {size} examples", got)
    chosen = index.nonzero().flatten() if index.dtype == torch.bool else index.long()
    if len(chosen) == 0:
        raise ArgumentError("index", f"at least one of {size} examples", f"{got}, which selects none")
    low, high = int(chosen.min()), int(chosen.max())
    if low < -size or high >= size:
        raise ArgumentError("index", f"indices from {-size} to {size - 1}", f"indices from {low} to {high}")
    return chosen
