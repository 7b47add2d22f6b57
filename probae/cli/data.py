"""The data of a command: the options of `pb.data.load`, and those of the sources behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from probae import checks
from probae.cli.options import Option, options_of
from probae.cli.runs import Finished
from probae.data import Dataset, Splits, load
from probae.data.load import SOURCES

_NAMES = {"name": "data", "seed": "data_seed", "noise": "data_noise"}  # beside a model's and the run's


def data_options() -> list[Option]:
    """The name of the data set, how it is binarized, and what only some of the sets have."""
    first, *others = options_of(load)
    named = replace(first, default="digits", required=False, text=f"the data set: {', '.join(SOURCES)}")
    return [replace(option, name=_NAMES.get(option.name, option.name)) for option in (named, *others, *_of_sources())]


def load_data(given: Mapping[str, Any]) -> Splits:
    """The data that the options name.

    Raises:
        ArgumentError, DataError: of `pb.data.load`.
    """
    checks.choice("data", given["data"], SOURCES)
    arguments = {option.name: given.get(option.name) for option in data_options()}
    back = {ours: theirs for theirs, ours in _NAMES.items()}
    return load(**{back.get(name, name): value for name, value in arguments.items() if value is not None})


def run_data_options() -> list[Option]:
    """The options that choose other data than a run's own, and the split."""
    found = [replace(option, default=None, type=option.type | None) for option in data_options()]
    return [*found, Option("split", Literal["train", "valid", "test"], "test", "part of the data")]


def data_of_run(run: Finished, given: Mapping[str, Any]) -> Dataset:
    """The run's own data, except for what is given; another data set takes over nothing of it.

    Raises:
        ArgumentError, DataError: of `pb.data.load`.
    """
    asked = {option.name: given[option.name] for option in data_options() if given[option.name] is not None}
    own = run.config if asked.get("data", run.config["data"]) == run.config["data"] else {}
    return getattr(load_data({**own, **asked}), given["split"])


def _of_sources() -> list[Option]:
    """Options that sources take beside those of `load`, each with what it is in which sets."""
    known = {option.name for option in options_of(load)}
    meanings: dict[str, dict[str, list[str]]] = {}
    types: dict[str, Any] = {}
    for source, function in SOURCES.items():
        for option in options_of(function, without=known):
            types.setdefault(option.name, option.type | None)
            meanings.setdefault(option.name, {}).setdefault(option.text, []).append(source)
    return [
        Option(name, types[name], text="; ".join(f"{text} ({', '.join(of)})".strip() for text, of in meaning.items()))
        for name, meaning in meanings.items()
    ]
