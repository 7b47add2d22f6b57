"""Checks at the door: public functions call these once on what they are given."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae.errors import ArgumentError, DataError


def positive_int(argument: str, value: Any, *, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; a bool, a float or a smaller number is an error."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        expected = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        raise ArgumentError(argument, expected, repr(value))
    return int(value)


def real(
    argument: str, value: Any, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False,
    open_high: bool = False,
) -> float:  # fmt: skip
    """`value` as a finite float from `low` to `high`, these themselves excluded when `open_low`, `open_high`."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    outside = number < low or number > high or (open_low and number == low) or (open_high and number == high)
    if not math.isfinite(number) or outside:
        bounds = f"{'above' if open_low else 'at least'} {low:g}" if low > -math.inf else ""
        above = f"{'below' if open_high else 'at most'} {high:g}" if high < math.inf else ""
        bounds += (" and " if bounds and above else "") + above
        raise ArgumentError(argument, f"a finite number {bounds}".strip(), repr(value))
    return number


def choice(argument: str, value: Any, names: Iterable[str]) -> str:
    """`value` if it is one of `names`; otherwise an error that offers the nearest ones."""
    names = sorted(names)
    if not isinstance(value, str) or value not in names:
        hint = nearest(str(value).lower(), names).lstrip("; ").replace("did", "Did", 1)
        raise ArgumentError(argument, f"one of {', '.join(map(repr, names))}", repr(value), hint)
    return value


def shape_of_examples(data_shape: tuple[int, ...]) -> str:
    """The shapes that N examples may have, in words."""
    whole = f" or (N, {', '.join(map(str, data_shape))})" if len(data_shape) > 1 else ""
    return f"shape (N, {math.prod(data_shape)}){whole}"


def options(given: Iterable[str], function: Callable[..., Any], *, without: Iterable[str] = ()) -> None:
    """Refuse names that are no keyword arguments of `function`.

    Raises:
        ArgumentError: names the first one, with the nearest that there are.
    """
    known = [name for name in inspect.signature(function).parameters if name not in set(without)]
    for name in given:
        if name not in known:
            hint = nearest(name, known).lstrip("; ").replace("did", "Did", 1)
            raise ArgumentError(name, f"an option of {function.__name__}: {', '.join(known)}", "an unknown one", hint)


def nearest(name: str, names: Iterable[str]) -> str:
    """"; did you mean 'a' or 'b'?" for the names most like `name`, or nothing when none is near."""
    near = difflib.get_close_matches(name, list(names), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def shape(argument: str, value: Any) -> tuple[int, ...]:
    """A data shape, from an int or a non-empty tuple of positive ints."""
    sizes = (value,) if isinstance(value, Integral) else value
    if not isinstance(sizes, (tuple, list)) or not sizes:
        raise ArgumentError(argument, "a positive integer or a tuple of them", repr(value))
    return tuple(positive_int(argument, size) for size in sizes)


def unmasked(argument: str, x: Any) -> Any:
    """`x`, unless it is a NumPy array with a mask, which a tensor would lose."""
    if isinstance(x, np.ma.MaskedArray):
        hint = "Models take a mask beside the values: {'x': x.data, 'mask': ~x.mask}"
        raise DataError(argument, "an array without a mask", "a masked one", hint)
    return x


def finite(argument: str, x: Tensor) -> Tensor:
    """`x`, a floating-point tensor without NaN or infinity."""
    if not x.is_floating_point():
        raise DataError(argument, "a tensor of floating-point numbers", f"dtype {x.dtype}", "Convert it with .float()")
    # A sum is finite only if all its terms are, and costs a tenth of looking at each; it may overflow, so look then.
    if not bool(x.sum().isfinite()) and not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).sum())
        raise DataError(argument, "finite values", f"{bad} of {x.numel()} that are NaN or infinite")
    return x


def rows(argument: str, x: Any, data_shape: tuple[int, ...]) -> Tensor:
    """`x` as an (N, D) tensor, from shape (N, D) or (N, *data_shape), D the product of `data_shape`.

    Raises:
        DataError: for another type or shape, or no examples at all.
    """
    if not isinstance(x, Tensor):
        raise DataError(argument, "a torch.Tensor", type(x).__name__)
    size = math.prod(data_shape)
    if x.shape[1:] not in (torch.Size((size,)), torch.Size(data_shape)):
        raise DataError(argument, shape_of_examples(data_shape), f"shape {tuple(x.shape)}")
    if x.shape[0] == 0:
        raise DataError(argument, "at least one example", "an empty tensor")
    return x.reshape(x.shape[0], size)


def examples(argument: str, x: Any, data_shape: tuple[int, ...]) -> Tensor:
    """`x` as a finite (N, D) tensor, from shape (N, D) or (N, *data_shape).

    Raises:
        DataError: for another type, dtype or shape, no examples at all, NaN or infinity.
    """
    return finite(argument, rows(argument, x, data_shape))
