"""Checks at the door: what passes, and that errors name the argument, what was expected and what came."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probae import checks
from probae.errors import ArgumentError, DataError


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(2)])
def test_positive_integers_pass(value: Any) -> None:
    checked = checks.positive_int("n", value)
    assert checked == value
    assert type(checked) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, False, "1", None, math.nan, np.float32(1), torch.tensor(1)])
def test_other_things_are_no_positive_integers(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^n: expected a positive integer; got "):
        checks.positive_int("n", value)


def test_minimum() -> None:
    assert checks.positive_int("n", 0, minimum=0) == 0
    with pytest.raises(ArgumentError, match="n: expected an integer of at least 2; got 1"):
        checks.positive_int("n", 1, minimum=2)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)])
def test_real_numbers_pass(value: Any) -> None:
    checked = checks.real("x", value, low=0.0, high=1.0)
    assert checked == value
    assert type(checked) is float


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None, 1j, torch.tensor(0.5)])
def test_other_things_are_no_such_numbers(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^x: expected a finite number at least 0 and at most 1; got "):
        checks.real("x", value, low=0.0, high=1.0)


def test_an_open_bound_is_excluded() -> None:
    assert checks.real("x", 1e-300, low=0.0, open_low=True) == 1e-300
    with pytest.raises(ArgumentError, match=r"x: expected a finite number above 0; got 0.0"):
        checks.real("x", 0.0, low=0.0, open_low=True)


def test_choices_offer_the_nearest() -> None:
    assert checks.choice("method", "ais", ["exact", "ais"]) == "ais"
    with pytest.raises(ArgumentError, match=r"expected one of 'ais', 'exact'; got 'Exat'\. Did you mean 'exact'\?"):
        checks.choice("method", "Exat", ["exact", "ais"])
    with pytest.raises(ArgumentError, match=r"got None$"):
        checks.choice("method", None, ["exact", "ais"])


def test_shapes() -> None:
    assert checks.shape("s", 3) == (3,)
    assert checks.shape("s", np.int64(3)) == (3,)
    assert checks.shape("s", [1, 28, 28]) == checks.shape("s", torch.Size((1, 28, 28))) == (1, 28, 28)
    for bad in (0, (), (3, 0), (3, -1), 2.0, (2.0,), "33", None, True):
        with pytest.raises(ArgumentError, match=r"^s: expected a positive integer"):
            checks.shape("s", bad)


def test_finite() -> None:
    x = torch.tensor([1.0, 2.0])
    assert checks.finite("x", x) is x
    with pytest.raises(DataError, match=r"x: expected finite values; got 2 of 3 that are NaN or infinite"):
        checks.finite("x", torch.tensor([torch.nan, 1.0, -torch.inf]))
    with pytest.raises(DataError, match=r"dtype torch.int64. Convert it with .float\(\)"):
        checks.finite("x", torch.ones(3, dtype=torch.int64))


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(shape=SHAPES, count=st.integers(1, 5))
def test_examples_of_both_shapes_are_the_same_rows(shape: tuple[int, ...], count: int) -> None:
    x = torch.arange(float(count * math.prod(shape))).reshape(count, *shape)
    flat = checks.examples("x", x, shape)
    assert flat.shape == (count, math.prod(shape))
    assert torch.equal(checks.examples("x", flat, shape), x.flatten(1))


@given(shape=SHAPES, other=st.lists(st.integers(0, 4), max_size=4).map(tuple))
def test_examples_of_any_other_shape_are_refused(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    good = other[1:] in (shape, (math.prod(shape),)) and len(other) > 0 and other[0] > 0
    if good:
        checks.examples("x", torch.zeros(other), shape)
    else:
        with pytest.raises(DataError, match=r"^x: expected "):
            checks.examples("x", torch.zeros(other), shape)


def test_examples_are_tensors() -> None:
    with pytest.raises(DataError, match=r"x: expected a torch.Tensor; got list"):
        checks.examples("x", [[1.0]], (1,))
    with pytest.raises(DataError, match="x: expected at least one example; got an empty tensor"):
        checks.examples("x", torch.zeros(0, 3), (3,))
    with pytest.raises(DataError, match=r"x: expected shape \(N, 6\) or \(N, 2, 3\); got shape \(5, 3, 2\)"):
        checks.examples("x", torch.zeros(5, 3, 2), (2, 3))
