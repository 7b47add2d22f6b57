"""Find the modules of a Pyro callable: those that it is or is a method of, and those that it refers to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import nn


def owners(program: Any) -> list[nn.Module]:
    """The modules that a program is or is a method of; handlers and decorators around it are looked through.

    Example:
        >>> from pyro import poutine
        >>> net = nn.Linear(2, 1)
        >>> owners(poutine.scale(net.forward, scale=0.5))
        [Linear(in_features=2, out_features=1, bias=True)]
    """
    return [part for part in _parts(program) if isinstance(part, nn.Module)]


def referred(program: Any) -> list[nn.Module]:
    """The modules in a program's closure, the globals that it names, its bound arguments and its object's attributes.

    Lists, tuples and dictionaries of modules are looked into.
    """
    return [module for part in _parts(program) for value in _values(part) for module in _modules(value)]


def _parts(program: Any) -> list[Any]:
    """The program and all that it wraps: partials, decorated functions, Pyro's handlers, objects and their methods."""
    parts = [program]
    for part in parts:  # which grows while it is read
        parts += [inner for inner in _inside(part) if inner is not None and not any(inner is known for known in parts)]
    return parts


def _inside(part: Any) -> list[Any]:
    if isinstance(part, functools.partial):
        handled = part.args[1:2] if part.args and isinstance(part.args[0], Messenger) else ()
        return [part.func, *handled]
    if inspect.ismethod(part):
        return [part.__self__, part.__func__]
    if isinstance(part, nn.Module):
        return [type(part).forward]
    call = type(part).__call__ if callable(part) else None
    return [getattr(part, "__wrapped__", None), call if inspect.isfunction(call) else None]


def _values(part: Any) -> list[Any]:
    if inspect.isfunction(part):
        scope = inspect.getclosurevars(part)
        return [*scope.nonlocals.values(), *scope.globals.values()]
    if isinstance(part, functools.partial):
        return [*part.args, *part.keywords.values()]
    plain = not isinstance(part, (nn.Module, type)) and not inspect.ismethod(part)
    return list(getattr(part, "__dict__", {}).values()) if plain else []


def _modules(value: Any) -> list[nn.Module]:
    if isinstance(value, nn.Module):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [item for item in items if isinstance(item, nn.Module)]
