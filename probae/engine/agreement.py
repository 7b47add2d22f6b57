"""Whether a recording did what the program does, as far as rounding allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
HALF_TOLERANCE = 2e-2
_SMALL = 1e-3  # of the largest number among all tensors: what is this small may be rounding alone


def deviation(
    ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None], tolerance: float | None = None
) -> str | None:
    """How two lists of tensors differ beyond rounding, in words; None if they do not.

    Args:
        ours, theirs: tensors, or None where there is none.
        tolerance: largest deviation relative to the largest number of a tensor; by default that of its dtype.
    """
    sizes = [float(t.abs().max()) for t in ours if t is not None and t.is_floating_point() and t.numel()]
    scale = _SMALL * max(sizes, default=0.0)
    for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if (a is None) != (b is None):
            return f"tensor {index} is there once only"
        if a is not None and b is not None and not _close(a, b, tolerance, scale):
            return f"tensor {index} of shape {tuple(a.shape)} differs"
    return None


def _close(a: Tensor, b: Tensor, tolerance: float | None, scale: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point() or not a.numel():
        return bool(torch.equal(a, b))
    relative = _TOLERANCE.get(a.dtype, HALF_TOLERANCE) if tolerance is None else tolerance
    largest = float(torch.where(a.isfinite(), a, 0.0).abs().max())
    bound = relative * max(largest, scale if scale < float("inf") else 0.0)
    return bool(torch.isclose(a, b, rtol=0.0, atol=bound, equal_nan=True).all())


def same_random_state(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether as much was drawn on the CPU. (On CUDA a captured graph may count its draws in larger steps.)"""
    return bool(torch.equal(ours["cpu"], theirs["cpu"]))
