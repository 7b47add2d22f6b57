"""Data sets by name, in fixed splits and with the binarization that was asked for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from probae import checks
from probae.data.bars_and_stripes import bars_and_stripes
from probae.data.dataset import Dataset
from probae.data.digits import digits
from probae.data.fixed_bits import fixed_bits
from probae.data.mnist import mnist
from probae.data.splits import Splits
from probae.errors import ArgumentError

SOURCES: dict[str, Callable[..., Splits]] = {"bars_and_stripes": bars_and_stripes, "digits": digits, "mnist": mnist}
BINARIZATIONS = ("none", "threshold", "stochastic", "dynamic")
BITS = {"bars_and_stripes"}


def load(
    name: str, *, binarize: str | None = None, seed: int = 0, root: str | Path | None = None, **options: Any
) -> Splits:
    """The data set `name` in its fixed splits, binarized.

    Nothing here touches a global random generator, and the splits do not depend on `seed`:

    - "digits": scikit-learn's 8 x 8 digits, embedded, shuffled once and for all: 1,197 / 300 / 300, with labels.
    - "mnist": 50,000 / 10,000 / 10,000 with labels; the last 10,000 training images are the validation set. Looked for
      in `root`, the folder named by PROBAE_DATA, the cache (~/.cache/probae), and then downloaded.
    - "bars_and_stripes": all 2 * 2^size - 2 patterns of size x size bits (`size=4`), the same in each split.

    Args:
        name: one of the above.
        binarize: "none" leaves the grey values in [0, 1]; "threshold" makes grey >= 0.5 a one; "stochastic" draws each
            pixel once as Bernoulli(grey), from `seed`; "dynamic" draws the training set anew at every batch, while
            its validation and test sets are those of "stochastic". By default "stochastic", and "none" for bits.
        seed: of the draws, not negative; no part of "none" and "threshold".
        root: a folder to look into first, holding `MNIST/raw/*-ubyte` with or without .gz ("mnist" only).
        options: `size` of "bars_and_stripes".

    Raises:
        ArgumentError: for an unknown name, binarization or option, or bits to be binarized again.
        DataError: for files that are missing and cannot be downloaded, truncated, or not what they should be.

    Example:
        >>> train, valid, test = load("digits", binarize="dynamic", seed=0)
        >>> train.resamples, valid.resamples, str(test.protocol)
        (True, False, 'digits/test, dynamic binarization (seed 0)')
    """
    source = SOURCES[checks.choice("name", name, SOURCES)]
    how = _binarization(name, binarize)
    seed = checks.positive_int("seed", seed, minimum=0)
    options |= {} if root is None else {"root": root}
    _check_options(name, source, options)
    return Splits(*(_binarized(part, how, seed) for part in source(**options)))


def _binarization(name: str, binarize: str | None) -> str:
    if binarize is None:
        return "none" if name in BITS else "stochastic"
    how = checks.choice("binarize", binarize, BINARIZATIONS)
    if name in BITS and how != "none":
        raise ArgumentError("binarize", f"None or 'none', since {name!r} is bits already", repr(how))
    return how


def _check_options(name: str, source: Callable[..., Splits], options: Mapping[str, Any]) -> None:
    known = list(inspect.signature(source).parameters)
    for option in set(options) - set(known):
        near = difflib.get_close_matches(option, [*known, "binarize", "seed"], n=1)
        wanted = f"one of the options of {name!r}, {', '.join(known)}" if known else f"no such option for {name!r}"
        hint = f"Did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(option, wanted, f"{option}={options[option]!r}", hint)


def _binarized(grey: Dataset, how: str, seed: int) -> Dataset:
    """Grey values, binarized; only the training set is ever drawn anew."""
    protocol = replace(grey.protocol, binarization=how, seed=seed if how in ("stochastic", "dynamic") else None)
    if how == "none":
        return grey
    if how == "dynamic" and protocol.split == "train":
        return Dataset(None, grey.labels, grey.data_shape, protocol, rates=grey.tensor)
    bits = (grey.tensor >= 0.5).float() if how == "threshold" else fixed_bits(grey.tensor, protocol)
    return Dataset(bits, grey.labels, grey.data_shape, protocol)
