"""Options of the command line, from the signatures and docstrings of the library's functions and classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {str: "text", Any: "value", Path: "path"}
_SEQUENCES = (list, tuple, Sequence)


@dataclass(frozen=True)
class Option:
    """What can be given as `--name value`, or as `name: value` in a configuration file.

    Attributes:
        name: of the argument that it becomes.
        type: of its values.
        default: where it is not given.
        text: what it is.
        required: whether it must be given.
        shown: the default in words, where the value does not tell.
    """

    name: str
    type: Any
    default: Any = None
    text: str = ""
    required: bool = False
    shown: str = ""

    @property
    def is_flag(self) -> bool:
        """Whether it is given without a value: `--name` or `--no_name`."""
        return set(_members(self.type)) - {NoneType} == {bool}

    @property
    def is_part(self) -> bool:
        """Whether it is a part with settings of its own: a name, or a mapping with a name and settings."""
        return {str, dict[str, Any]} <= set(_members(self.type))

    @property
    def values(self) -> str:
        """Its values in words."""
        return "name|{...}" if self.is_part else readable(self.type)

    @property
    def help(self) -> str:
        """Its text, and its default."""
        shown = self.shown or ("" if self.default is None or self.default is False else _default(self.default))
        note = "required" if self.required else f"default: {shown}" if shown else ""
        return f"{self.text.rstrip('.')} ({note})".strip() if note else self.text.rstrip(".")


def options_of(function: Callable[..., Any], without: Iterable[str] = ()) -> list[Option]:
    """The arguments of a function or a class that can be written on a command line, with what its docstring says.

    Modules, tensors, functions and the like cannot be; of a union with them the rest is left.

    Example:
        >>> def smooth(x: "Path | None", rate: float = 0.5, *, kind: "str | Callable | None" = None) -> None:
        ...     '''Smooth it.
        ...
        ...     Args:
        ...         x: where it is.
        ...         rate, kind: how much, and
        ...             how.
        ...     '''
        >>> for option in options_of(smooth, without=["x"]):
        ...     print(option.name, option.type, option.help)
        rate <class 'float'> how much, and how (default: 0.5)
        kind str | None how much, and how
    """
    hints = get_type_hints(function.__init__ if isinstance(function, type) else function)
    texts, found = descriptions(function), []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = plain(hints.get(name, Any))
        if name in without or name == "self" or "VAR" in parameter.kind.name or kind in (None, NoneType):
            continue
        required = parameter.default is parameter.empty
        found.append(Option(name, kind, None if required else parameter.default, texts.get(name, ""), required))
    return found


def descriptions(documented: Any) -> dict[str, str]:
    """What the section "Args" of a docstring says of each argument, in one line."""
    _, _, section = (inspect.getdoc(documented) or "").partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0].replace("`", "")
    entries = (entry.partition(":") for entry in re.split(r"\n(?= {4}\S)", section))
    return {name.strip(): " ".join(text.split()) for names, _, text in entries if text for name in names.split(",")}


def first_line(documented: Any) -> str:
    """The first line of a docstring, without its full stop."""
    return (inspect.getdoc(documented) or "").partition("\n")[0].rstrip(".:,")


def introduction(documented: Any) -> str:
    """What a docstring says before its sections."""
    return re.split(r"\n(?=[A-Z]\w+:\n)", inspect.getdoc(documented) or "", maxsplit=1)[0].strip()


def plain(hint: Any) -> Any:
    """What of a type can be written on a command line; None where nothing can.

    Example:
        >>> import torch
        >>> plain(int | torch.Tensor | None)
        int | None
        >>> plain(torch.Tensor)
    """
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in map(plain, get_args(hint)) if part is not None]
        return reduce(or_, parts) if parts else None
    if hint in (Any, str, int, float, bool, Path, NoneType) or get_origin(hint) is Literal:
        return hint
    contained = [argument for argument in get_args(hint) if argument is not Ellipsis]
    container = get_origin(hint) in (*_SEQUENCES, dict)
    return hint if container and all(plain(argument) is not None for argument in contained) else None


def readable(hint: Any) -> str:
    """A type as help and errors name it.

    Example:
        >>> readable(Sequence[int] | int | None)
        '[int, ...]|int'
    """
    members = [member for member in _members(hint) if member is not NoneType]
    if len(members) > 1:
        return "|".join(readable(member) for member in members if member is not str or Path not in members)
    hint = members[0]
    if get_origin(hint) in _SEQUENCES:
        return f"[{readable(get_args(hint)[0])}, ...]"
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    return "{...}" if get_origin(hint) is dict else _WORDS.get(hint) or hint.__name__


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _default(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
