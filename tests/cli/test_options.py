"""Options from signatures: what is taken, what is left out, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from probae.cli.models import models
from probae.cli.options import Option, descriptions, introduction, options_of, plain, readable


class Thing:
    """A thing.

    It has two lines:

        and a formula.

    Args:
        size: of it.
        shape, colour: two in one,
            on two lines: with a colon.

    Raises:
        ValueError: never.
    """

    def __init__(
        self, size: int, shape: Sequence[int] | int = (2, 3), *, colour: str | torch.nn.Module = "red",
        net: torch.nn.Module | None = None, hook: Callable[..., Any] | Iterable[Callable[..., Any]] = (), **more: int,
    ) -> None: ...  # fmt: skip


def test_arguments_of_a_constructor() -> None:
    size, shape, colour = options_of(Thing)
    assert size == Option("size", int, None, "of it.", required=True)
    assert (shape.type, shape.default) == (Sequence[int] | int, (2, 3))
    assert shape.help == "two in one, on two lines: with a colon (default: [2, 3])"
    assert (colour.type, colour.help) == (str, "two in one, on two lines: with a colon (default: red)")


def test_what_is_left_out_is_left_out() -> None:
    assert [option.name for option in options_of(Thing, without=["shape"])] == ["size", "colour"]


def test_introduction_ends_where_the_sections_begin() -> None:
    assert introduction(Thing).endswith("and a formula.")


def test_no_docstring_no_text() -> None:
    assert descriptions(lambda x: x) == {}


@pytest.mark.parametrize(
    ("hint", "kept"),
    [
        (int | None, int | None),
        (str | torch.device | None, str | None),
        (dict[str, Any], dict[str, Any]),
        (tuple[int, ...] | torch.Tensor, tuple[int, ...]),
        (list[torch.Tensor], None),
        (Callable[..., Any], None),
        (torch.nn.Module, None),
        (Literal["a", "b"], Literal["a", "b"]),
    ],
)
def test_plain_types(hint: Any, kept: Any) -> None:
    assert plain(hint) == kept


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int | None, "int"),
        (float, "float"),
        (str | Path | None, "path"),
        (dict[str, Any] | None, "{...}"),
        (Sequence[int] | int, "[int, ...]|int"),
        (Literal["a", "b"], "a|b"),
        (Any, "value"),
    ],
)
def test_readable_types(hint: Any, text: str) -> None:
    assert readable(hint) == text


def test_flags_and_parts() -> None:
    assert Option("x", bool | None).is_flag
    assert not Option("x", bool | str).is_flag
    assert Option("x", str | dict[str, Any] | None).is_part
    assert not Option("x", str | None).is_part


@pytest.mark.parametrize("name", models())
def test_every_option_of_every_model_is_explained(name: str) -> None:
    missing = [option.name for option in options_of(models()[name], without=["data_shape"]) if not option.text]
    assert not missing, f"the docstring of {name} says nothing of these arguments"
