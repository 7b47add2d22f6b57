"""What a data set accepts: each function makes one argument usable, or raises the error that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae import checks
from probae.data.protocol import Protocol
from probae.errors import ArgumentError, DataError


def values(argument: str, x: Any, data_shape: int | tuple[int, ...] | None) -> tuple[Tensor, tuple[int, ...]]:
    """`x` as a finite, contiguous (N, D) tensor, and the shape of one example.

    Raises:
        DataError: for another type, dtype or shape, no examples at all, NaN or infinity.
        ArgumentError: for a `data_shape` that is none.
    """
    x = _floats(argument, x)
    if data_shape is None and (x.dim() < 2 or 0 in x.shape[1:]):
        raise DataError(argument, "shape (N, D) or (N, *data_shape)", f"shape {tuple(x.shape)}")
    shape = tuple(x.shape[1:]) if data_shape is None else checks.shape("data_shape", data_shape)
    return checks.examples(argument, x, shape).detach().contiguous(), shape


def rates(x: Any, data_shape: tuple[int, ...], beside: Tensor) -> Tensor:
    """`x` as float32 rates in [0, 1] for the data `beside` them."""
    x = values("rates", x, data_shape)[0].float()
    if x.shape != beside.shape or x.device != beside.device:
        wanted = f"shape {tuple(beside.shape)} on {beside.device}, as the data"
        raise DataError("rates", wanted, f"shape {tuple(x.shape)} on {x.device}")
    if float(x.min()) < 0 or float(x.max()) > 1:
        raise DataError("rates", "values in [0, 1]", f"values from {float(x.min()):g} to {float(x.max()):g}")
    return x


def labels(x: Any, beside: Tensor) -> Tensor:
    """`x` as (N,) int64 labels on the device of the data `beside` them; -1 is unknown."""
    found = _integers("labels", x, beside)
    if int(found.min()) < -1:
        raise DataError("labels", "classes from 0, and -1 for unknown ones", f"{int(found.min())} among them")
    return found


def lengths(x: Any, data_shape: tuple[int, ...], beside: Tensor) -> Tensor:
    """`x` as (N,) int64 lengths of the sequences `beside` them, whose steps after the end are zero."""
    found, steps = _integers("lengths", x, beside), data_shape[0]
    if int(found.min()) < 1 or int(found.max()) > steps:
        got = f"lengths from {int(found.min())} to {int(found.max())}"
        raise DataError("lengths", f"integers from 1 to {steps}, the first of the data shape {data_shape}", got)
    after = torch.arange(steps, device=found.device) >= found[:, None]
    if bool(beside.reshape(len(beside), steps, -1)[after].any()):
        raise DataError("lengths", "data that is zero after the end of each sequence", "other values there")
    return found


def factors(x: Any, beside: Tensor) -> Tensor:
    """`x` as finite (N, F) factors of the data `beside` them."""
    found = values("factors", x, None)[0]
    if len(found) != len(beside):
        raise DataError("factors", f"{len(beside)} rows, one an example", f"shape {tuple(found.shape)}")
    return found.to(beside.device)


def log_prob(x: Any, beside: Tensor) -> Tensor:
    """`x` as (N,) finite log-probabilities of the data `beside` them, in float64."""
    found = torch.as_tensor(x) if isinstance(x, np.ndarray) else x
    if not isinstance(found, Tensor) or found.shape != beside.shape[:1]:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(x).__name__
        raise DataError("true_log_prob", f"shape ({len(beside)},), one number an example", got)
    return checks.finite("true_log_prob", found).detach().to(beside.device, torch.float64)


def protocol(given: Any, *, dynamic: bool) -> Protocol:
    """`given` or an unknown one; with `dynamic` its binarization says so."""
    given = Protocol() if given is None else given
    if not isinstance(given, Protocol):
        raise ArgumentError("protocol", "a probae.data.Protocol", repr(given))
    if dynamic and given.binarization not in ("unknown", "dynamic"):
        got = f"{given.binarization!r} beside rates to draw from"
        raise ArgumentError("protocol", "binarization 'dynamic'", got, "Leave out the rates or the binarization")
    return replace(given, binarization="dynamic") if dynamic else given


def device(given: Any, default: torch.device) -> torch.device:
    """`given` as a torch.device."""
    try:
        return default if given is None else torch.device(given)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError("device", "a torch.device or the name of one", repr(given)) from error


def dtype(given: Any, default: torch.dtype) -> torch.dtype:
    """`given` if it is a floating-point dtype."""
    if given is not None and not (isinstance(given, torch.dtype) and given.is_floating_point):
        raise ArgumentError("dtype", "a floating-point torch.dtype", repr(given))
    return default if given is None else given


def _integers(argument: str, x: Any, beside: Tensor) -> Tensor:
    if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        x = torch.from_numpy(x.astype(np.int64))
    if not isinstance(x, Tensor):
        got = f"an array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise DataError(argument, "a torch.Tensor or a NumPy array of integers", got)
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise DataError(argument, "integers", f"dtype {x.dtype}")
    if x.shape != beside.shape[:1]:
        raise DataError(argument, f"shape ({len(beside)},), one number an example", f"shape {tuple(x.shape)}")
    return x.to(beside.device, torch.int64)


def _floats(argument: str, x: Any) -> Tensor:
    x = checks.unmasked(argument, x)
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fb":
        hint = "Convert it with .astype('float32'), and divide grey values by their maximum"
        raise DataError(argument, "floating-point numbers or booleans", f"a NumPy array of {x.dtype}", hint)
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x.astype(np.float32, order="C"))
    if not isinstance(x, Tensor):
        raise DataError(argument, "a torch.Tensor or a NumPy array", type(x).__name__)
    return x.float() if x.dtype == torch.bool else x
