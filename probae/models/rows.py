"""Rows of numbers: what goes into a network and comes out of it, and what a user's pair of data holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from probae.data import Dataset
from probae.errors import ArgumentError

_AT_ONCE = 1024  # examples: 100 MB in a layer of 32 channels of 28 by 28 pixels


def joined(x: Tensor, label: Tensor | None) -> Tensor:
    """Rows (..., n) with one-hot labels (..., K) behind them, the batch dimensions of both broadcast: (..., n + K)."""
    if label is None:
        return x
    batch = torch.broadcast_shapes(x.shape[:-1], label.shape[:-1])
    return torch.cat([x.expand(*batch, -1), label.expand(*batch, -1)], -1)


def outputs_of(argument: str, network: nn.Module, inputs: Tensor, size: int) -> Tensor:
    """Outputs (..., size) for inputs (..., n); the network itself sees (N, n), since not every layer broadcasts."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    try:
        outputs = network(rows)
    except RuntimeError as error:
        if "shape" not in str(error) and "size" not in str(error):
            raise
        wanted = f"a module for inputs of shape (N, {rows.shape[1]}), one-hot labels included"
        raise ArgumentError(argument, wanted, f"one that fails on them: {error}") from error
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != rows.shape[:1] or outputs.numel() != len(rows) * size:
        got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        wanted = f"a module with outputs of shape ({len(rows)}, {size}) for inputs of shape {tuple(rows.shape)}"
        raise ArgumentError(argument, wanted, got)
    return outputs.reshape(*inputs.shape[:-1], size)


def in_parts(function: Callable[..., Tensor], x: Tensor, label: Tensor | None = None) -> Tensor:
    """function(x, label) of so many examples at a time that what stands inside a network does not grow with them.

    Example:
        >>> in_parts(lambda x, label: x + 1, torch.zeros(3000, 2)).shape
        torch.Size([3000, 2])
    """
    if len(x) <= _AT_ONCE:
        return function(x, label)
    parts = x.split(_AT_ONCE)
    labels = [None] * len(parts) if label is None else label.split(_AT_ONCE)
    return torch.cat([function(*part) for part in zip(parts, labels, strict=True)])


def pair_of(data: Any) -> tuple[Any, Any]:
    """Examples and labels of what a user calls data; a data set brings its own, None where there are none."""
    if isinstance(data, TensorDataset):
        data = data.tensors
    x, y = data, None
    if isinstance(data, Mapping):
        x, y = data.get("x"), data.get("y")
    elif isinstance(data, tuple):
        x, y = (*data, None, None)[:2]
    return x, x.labels if y is None and isinstance(x, Dataset) else y


def labelled(x: Dataset | Tensor | np.ndarray, y: Tensor) -> Dataset:
    """Examples as a data set with these labels, whatever labels it had."""
    data = copy(x) if isinstance(x, Dataset) else Dataset(x)
    data.labels = y.to(data.device)
    return data
