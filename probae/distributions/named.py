"""Parts of a model by name: `likelihood="bernoulli"`, a configuration, or the object itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from probae.checks import choice
from probae.errors import ArgumentError

Part = TypeVar("Part")


def make(argument: str, value: Any, kind: type[Part], table: Mapping[str, type[Part]], *args: Any) -> Part:
    """The part that `value` stands for.

    Args:
        argument: named in errors.
        value: an object of `kind`, a name in `table`, or a configuration: its "name" and its settings.
        kind: the abstract class of the parts.
        table: names and final classes.
        args: first arguments of the constructor.

    Raises:
        ArgumentError: for anything else, with the nearest names; for settings that the part does not have.
    """
    if isinstance(value, kind):
        return value
    settings = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ArgumentError(argument, f"a name or a {kind.__name__}", repr(value))
    part = table[choice(argument, name, table)]
    try:
        inspect.signature(part).bind(*args, **settings)
    except TypeError as error:
        known = ", ".join(list(inspect.signature(part).parameters)[len(args) :]) or "none"
        raise ArgumentError(argument, f"settings that {name!r} has ({known})", ", ".join(settings) or "none") from error
    return part(*args, **settings)
