"""Data sets by name, in fixed splits and with the binarization that was asked for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from probae import checks
from probae.data import toys2d
from probae.data.bars_and_stripes import bars_and_stripes
from probae.data.cifar10 import cifar10
from probae.data.dataset import Dataset
from probae.data.digits import digits
from probae.data.fixed_bits import fixed_bits
from probae.data.melodies import melodies
from probae.data.mnist import fashion_mnist, mnist
from probae.data.omniglot import omniglot
from probae.data.shapes import shapes
from probae.data.splits import Splits
from probae.data.tones import tones
from probae.errors import ArgumentError

SOURCES: dict[str, Callable[..., Splits]] = {
    "bars_and_stripes": bars_and_stripes,
    "checkerboard": toys2d.checkerboard,
    "cifar10": cifar10,
    "digits": digits,
    "eight_gaussians": toys2d.eight_gaussians,
    "fashion_mnist": fashion_mnist,
    "melodies": melodies,
    "mnist": mnist,
    "omniglot": omniglot,
    "pinwheel": toys2d.pinwheel,
    "rings": toys2d.rings,
    "shapes": shapes,
    "spirals": toys2d.spirals,
    "swiss_roll": toys2d.swiss_roll,
    "tones": tones,
    "two_moons": toys2d.two_moons,
}
GREY = {"digits", "fashion_mnist", "mnist", "omniglot"}
OTHERS = {
    "bars_and_stripes": "bits already", "cifar10": "in colour", "melodies": "one-hot", "shapes": "in colour",
    "tones": "loudness in decibels",
}  # fmt: skip
BINARIZATIONS = ("none", "threshold", "stochastic", "dynamic")


def load(
    name: str, *, binarize: str | None = None, seed: int = 0, root: str | Path | None = None, **options: Any
) -> Splits:
    """The data set `name` in its fixed splits, binarized where it is grey.

    Nothing here touches a global random generator. Sizes are those of the training, validation and test sets:

    ==================  ========================  ============  ==================================================
    name                sizes                     data shape    what
    ==================  ========================  ============  ==================================================
    "digits"            1,197 / 300 / 300         (1, 8, 8)     scikit-learn's digits, embedded; labels
    "mnist"             50,000 / 10,000 / 10,000  (1, 28, 28)   handwritten digits; labels
    "fashion_mnist"     50,000 / 10,000 / 10,000  (1, 28, 28)   clothes; labels
    "omniglot"          17,352 / 1,928 / 13,180   (1, 28, 28)   characters of 50 alphabets; labels
    "cifar10"           45,000 / 5,000 / 10,000   (3, 32, 32)   colour photographs; labels
    "shapes"            5,000 / 1,000 / 1,000     (3, 16, 16)   landscapes in colour; labels, factors
    "tones"             5,000 / 1,000 / 1,000     (1, 64, 32)   notes as spectrograms; labels, factors
    "melodies"          5,000 / 1,000 / 1,000     (16, 8)       one-hot notes; labels, log p; lengths if asked for
    "bars_and_stripes"  30 / 30 / 30              (1, 4, 4)     each pattern of 4 x 4 bits, in each split; log p
    "two_moons"         5,000 / 1,000 / 1,000     (2,)          points in the plane; labels, log p
    "rings"             5,000 / 1,000 / 1,000     (2,)          points in the plane; labels, log p
    "spirals"           5,000 / 1,000 / 1,000     (2,)          points in the plane; labels, log p
    "eight_gaussians"   5,000 / 1,000 / 1,000     (2,)          points in the plane; labels, log p
    "pinwheel"          5,000 / 1,000 / 1,000     (2,)          points in the plane; labels, log p
    "swiss_roll"        5,000 / 1,000 / 1,000     (2,)          points in the plane; log p
    "checkerboard"      5,000 / 1,000 / 1,000     (2,)          points in the plane; log p
    ==================  ========================  ============  ==================================================

    Those from "shapes" on are generated. "log p" means that `true_log_prob` is log p(x) of each example, exactly: the
    ceiling for every model. "mnist", "fashion_mnist", "omniglot" and "cifar10" are looked for in `root`, in the folder
    named by PROBAE_DATA and in the cache (~/.cache/probae), into which they are downloaded, and verified, if they are
    nowhere. Their validation sets are fixed parts of the published training sets.

    Args:
        name: one of the above.
        binarize: for the grey ones. "none" leaves the grey values in [0, 1]; "threshold" makes grey >= 0.5 a one;
            "stochastic" (their default) draws each pixel once as Bernoulli(grey), from `seed`; "dynamic" draws the
            training set anew at every batch, while its validation and test sets are those of "stochastic". The others
            have "none".
        seed: of what is drawn: the bits, or a generated set.
        root: a folder to look into first, for those that are looked for. In it lie `MNIST/raw/*-ubyte` and
            `FashionMNIST/raw/*-ubyte` with or without .gz, `omniglot-py/*.zip`, `cifar-10-binary.tar.gz`.
        options: `size` of the generated sets (training examples) and of "bars_and_stripes" (side in pixels), `noise` of
            the points (but for "checkerboard"), `length` and `min_length` of "melodies". Those that are not the
            defaults become part of the name in the protocol.

    Raises:
        ArgumentError: for an unknown name, binarization or option, or data that cannot be binarized.
        DataError: for files that are missing and cannot be downloaded, truncated, or not what they should be.

    Example:
        >>> train, valid, test = load("digits", binarize="dynamic", seed=0)
        >>> train.resamples, valid.resamples, str(test.protocol)
        (True, False, 'digits/test, dynamic binarization (seed 0)')
        >>> str(load("two_moons", noise=0.2).test.protocol)
        'two_moons(noise=0.2)/test, not binarized'
    """
    source = SOURCES[checks.choice("name", name, SOURCES)]
    how = _binarization(name, binarize)
    seed = checks.positive_int("seed", seed, minimum=0)
    options |= {} if root is None else {"root": root}
    _check_options(name, source, options)
    if "seed" in inspect.signature(source).parameters:
        options["seed"] = seed
    parts = source(**options)
    for part in parts:
        part.protocol = replace(part.protocol, dataset=_full_name(name, source, options))
    return Splits(*(_binarized(part, how, seed) for part in parts))


def _full_name(name: str, source: Callable[..., Splits], options: Mapping[str, Any]) -> str:
    """The name with the options that make other data of it."""
    known = {key: parameter.default for key, parameter in inspect.signature(source).parameters.items() if key != "root"}
    chosen = [f"{key}={options[key]}" for key in known if key in options and options[key] != known[key]]
    return f"{name}({', '.join(chosen)})" if chosen else name


def _binarization(name: str, binarize: str | None) -> str:
    how = None if binarize is None else checks.choice("binarize", binarize, BINARIZATIONS)
    if name not in GREY and how not in (None, "none"):
        why = OTHERS.get(name, "real-valued")
        raise ArgumentError("binarize", f"None or 'none', since {name!r} is {why}", repr(how))
    return how or ("stochastic" if name in GREY else "none")


def _check_options(name: str, source: Callable[..., Splits], options: Mapping[str, Any]) -> None:
    known = [option for option in inspect.signature(source).parameters if option != "seed"]
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
