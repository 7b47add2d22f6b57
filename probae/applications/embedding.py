"""What the applications ask of a model and of data: codes, and labels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from probae import checks
from probae.data import Dataset
from probae.errors import ArgumentError, DataError


class Embeds(Protocol):
    """Anything that embeds examples: every model here, and a class of your own with this method."""

    def embed(self, x: Any) -> Tensor:
        """The codes of examples, (N, L)."""
        ...


def codes_of(model: Embeds, data: Any) -> Tensor:
    """The codes of examples, in float64 on the CPU: (N, L).

    Raises:
        ArgumentError: names `model`, if it does not embed, or not as (N, L) finite numbers.
    """
    if not callable(getattr(model, "embed", None)):
        raise ArgumentError("model", "one with a method embed(x)", type(model).__name__)
    codes = model.embed(data)
    if not isinstance(codes, Tensor) or codes.dim() != 2 or len(codes) != len(data):
        got = f"shape {tuple(codes.shape)}" if isinstance(codes, Tensor) else type(codes).__name__
        raise ArgumentError("model", f"one whose embed gives ({len(data)}, L) codes of as many examples", got)
    if not bool(codes.isfinite().all()):
        raise ArgumentError("model", "one whose codes are finite", "NaN or infinity among them")
    return codes.detach().cpu().double()


def labels_of(argument: str, data: Any, labels: Any) -> Tensor | None:
    """Labels (N,) of examples on the CPU, -1 where unknown: those given, or those of a data set; None without any.

    Raises:
        DataError: names `argument`, for labels that are not N integers.
    """
    given = data.labels if labels is None and isinstance(data, Dataset) else labels
    if given is None:
        return None
    values: Any = torch.from_numpy(given) if isinstance(given, np.ndarray) and given.dtype.kind in "iu" else given
    integers = isinstance(values, Tensor) and values.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
    if not integers or values.shape != (len(data),):
        got = f"{values.dtype}, shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(given).__name__
        raise DataError(argument, f"a tensor of {len(data)} integers", got)
    return values.detach().cpu().long()


def pixels_of(data: Any) -> Tensor:
    """The examples themselves, (N, D), in float64 on the CPU."""
    x: Any = data.tensor if isinstance(data, Dataset) else torch.as_tensor(data)
    return checks.finite("data", x.flatten(1)).detach().cpu().double()
