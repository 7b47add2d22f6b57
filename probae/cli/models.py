"""The models by their names on the command line, and what builds them from options and data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

import probae
from probae import checks
from probae.cli.options import Option, options_of
from probae.data import Dataset
from probae.engine.randomness import check_seed, stream
from probae.models.base import Model

_FROM_DATA = "data_shape"


def models() -> dict[str, type[Model]]:
    """All models that probae exports: "vae", "sparse_autoencoder", ..."""
    found = {name: kind for name, kind in vars(probae).items() if isinstance(kind, type) and issubclass(kind, Model)}
    return {_written(name): kind for name, kind in found.items() if not inspect.isabstract(kind)}


def find(name: str) -> str:
    """The name of the model that is meant; capitals, hyphens and underscores make no difference.

    Raises:
        ArgumentError: for an unknown one, with the nearest.

    Example:
        >>> find("SparseAutoencoder"), find("sparse-autoencoder")
        ('sparse_autoencoder', 'sparse_autoencoder')
    """
    known = {one.replace("_", ""): one for one in models()}
    return checks.choice("model", known.get(re.sub("[-_]", "", name).lower(), name), models())


def options_of_model(kind: type[Model]) -> list[Option]:
    """The arguments of its constructor; the shape of the data is the data's."""
    return options_of(kind, without=[_FROM_DATA])


def build(kind: type[Model], given: Mapping[str, Any], data: Dataset, seed: int) -> Model:
    """A new model for the data, its weights drawn from the seed."""
    arguments = {option.name: given[option.name] for option in options_of_model(kind)}
    if _FROM_DATA in inspect.signature(kind).parameters:
        arguments[_FROM_DATA] = data.data_shape
    with stream(check_seed(seed), torch.device("cpu")):
        return kind(**arguments)


def described(default: Any) -> str:
    """A default that is no plain value, in words.

    Example:
        >>> described(partial(torch.optim.SGD, lr=0.05))
        'SGD(lr=0.05)'
    """
    if isinstance(default, partial):
        return f"{described(default.func)}({', '.join(f'{name}={value}' for name, value in default.keywords.items())})"
    return getattr(default, "__name__", str(default))


def _written(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
