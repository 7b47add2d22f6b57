"""What of each example is observed: all of it, chosen values, or the first steps of a sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae.errors import ArgumentError


@dataclass(frozen=True)
class Observed:
    """Examples, and which of their values are known.

    Attributes:
        x: (N, D); zero where nothing is observed.
        mask: (N, D), True where a value is observed; None if all are.

    Example:
        >>> seen = Observed(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[True, False], [True, True]]))
        >>> seen.mean()
        tensor([2., 4.])
        >>> seen.blank(torch.ones(2, 2))
        tensor([[1., 0.],
                [1., 1.]])
    """

    x: Tensor
    mask: Tensor | None = None

    def blank(self, x: Tensor) -> Tensor:
        """Other values for the same examples, zero where nothing is observed."""
        return x if self.mask is None else torch.where(self.mask, x, 0.0)

    def mean(self) -> Tensor:
        """Of each dimension over the examples in which it is observed, (D,); zero where it never is."""
        return self.x.mean(0) if self.mask is None else self.x.sum(0) / self.mask.sum(0).clamp(min=1)

    def filled(self) -> Tensor:
        """(N, D), the dimensions' means where nothing is observed."""
        return self.x if self.mask is None else torch.where(self.mask, self.x, self.mean())


def observed(x: Tensor, mask: Tensor | None, lengths: Tensor | None, data_shape: tuple[int, ...]) -> Observed:
    """Examples (N, D) of which a mask (N, D) or (N, *data_shape), or lengths (N,), say what is observed; unchecked."""
    keep = None if mask is None else mask.reshape(-1, x.shape[1])
    if lengths is not None:
        steps = torch.arange(data_shape[0], device=x.device) < lengths.unsqueeze(-1)
        until = steps.repeat_interleave(math.prod(data_shape[1:]), -1)
        keep = until if keep is None else keep & until
    return Observed(x) if keep is None else Observed(torch.where(keep, x, 0.0), keep)


def check_mask(mask: Any, size: int, data_shape: tuple[int, ...]) -> Tensor:
    """A mask of `size` examples as (size, D); one for all of them is given to each.

    Raises:
        ArgumentError: names `mask`, for another shape or dtype.
    """
    width = math.prod(data_shape)
    mask = torch.from_numpy(mask) if isinstance(mask, np.ndarray) and mask.dtype == np.bool_ else mask
    shapes = ((size, width), (size, *data_shape), (width,), data_shape)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape not in shapes:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ArgumentError("mask", f"a bool tensor of shape ({width},) or ({size}, {width}), True = observed", got)
    return mask.reshape(-1, width).expand(size, width)


def check_lengths(lengths: Any, size: int, data_shape: tuple[int, ...]) -> Tensor:
    """How many steps of `size` sequences of shape (T, ...) are observed, as (size,) int64.

    Raises:
        ArgumentError: names `lengths`, for another shape or dtype, or one outside 1 to T.
    """
    steps = data_shape[0]
    lengths = torch.from_numpy(lengths) if isinstance(lengths, np.ndarray) and lengths.dtype.kind == "i" else lengths
    wanted = f"({size},) integers from 1 to {steps}, the steps of the data shape {data_shape}"
    if not isinstance(lengths, Tensor) or lengths.dtype not in (torch.int64, torch.int32):
        got = f"a tensor of {lengths.dtype}" if isinstance(lengths, Tensor) else type(lengths).__name__
        raise ArgumentError("lengths", wanted, got)
    if lengths.shape != (size,):
        raise ArgumentError("lengths", wanted, f"shape {tuple(lengths.shape)}")
    if bool((lengths < 1).any()) or bool((lengths > steps).any()):
        raise ArgumentError("lengths", wanted, f"values from {int(lengths.min())} to {int(lengths.max())}")
    return lengths.to(torch.int64)
