"""What counts as rounding, and what as a disagreement."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from probae.engine.agreement import HALF_TOLERANCE, deviation, same_random_state

NAN, INF = float("nan"), float("inf")
SINGLE, DOUBLE, HALF = torch.float32, torch.float64, torch.bfloat16


def tensor(*values: float, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(SINGLE, 1e-4), (DOUBLE, 1e-9), (HALF, HALF_TOLERANCE)])
def test_the_bound_is_relative_to_the_largest_number_of_a_tensor(dtype: torch.dtype, tolerance: float) -> None:
    for size in (1e-3, 1.0, 1e6):
        ours = size * tensor(0.01, 1.0, dtype=dtype)
        shift = size * tensor(tolerance, 0.0, dtype=dtype)
        assert deviation([ours], [ours + 0.9 * shift]) is None
        assert deviation([ours], [ours + 1.2 * shift]) == "tensor 0 of shape (2,) differs"
        assert deviation([ours], [ours + 1.2 * shift], tolerance=2 * tolerance) is None
        assert deviation([ours], [ours + 0.9 * shift], tolerance=0.5 * tolerance) is not None


def test_what_is_small_beside_the_other_tensors_may_be_rounding() -> None:
    """A gradient that is zero in exact arithmetic is 1e-17 once and 1e-18 then."""
    large = tensor(1.0, 2.0)
    assert deviation([large, tensor(1e-17)], [large, tensor(-1e-17)]) is None
    assert deviation([tensor(1e-17)], [tensor(-1e-17)]) is not None
    assert deviation([large, tensor(1e-6)], [large, tensor(1e-6 + 1e-11)]) is not None


DIFFERENT: dict[str, tuple[Tensor | None, Tensor | None]] = {
    "missing": (tensor(1.0), None),
    "there": (None, tensor(1.0)),
    "shape": (tensor(1.0), tensor(1.0, 1.0)),
    "broadcast": (tensor(1.0), torch.tensor(1.0, dtype=DOUBLE)),
    "dtype": (tensor(1.0), tensor(1.0, dtype=SINGLE)),
    "integer": (torch.tensor([10**6]), torch.tensor([10**6 + 1])),
    "boolean": (torch.tensor([True, False]), torch.tensor([True, True])),
    "nan": (tensor(1.0, NAN), tensor(1.0, 1.0)),
    "nan then": (tensor(1.0, 1.0), tensor(1.0, NAN)),
    "infinite": (tensor(1.0, INF), tensor(1.0, 1.0)),
    "infinite then": (tensor(1.0, 1.0), tensor(1.0, INF)),
    "sign of infinity": (tensor(1.0, INF), tensor(1.0, -INF)),
    "beside an infinity": (tensor(1.0, INF), tensor(1.1, INF)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_named(name: str) -> None:
    ours, theirs = DIFFERENT[name]
    same = tensor(3.0)
    assert str(deviation([same, ours], [same, theirs])).startswith("tensor 1 ")
    for either in (ours, theirs):
        copy = None if either is None else either.clone()
        assert deviation([same, either], [same, copy]) is None


def test_an_infinity_elsewhere_hides_nothing() -> None:
    assert deviation([tensor(INF), tensor(1.0)], [tensor(INF), tensor(1.1)]) == "tensor 1 of shape (1,) differs"
    assert deviation([tensor(NAN), tensor(1.0)], [tensor(NAN), tensor(1.1)]) == "tensor 1 of shape (1,) differs"


def test_nothing_is_equal_to_nothing() -> None:
    assert deviation([None, torch.zeros(0)], [None, torch.zeros(0)]) is None


def test_the_random_state_is_that_of_the_cpu() -> None:
    torch.manual_seed(0)
    before = {"cpu": torch.get_rng_state()}
    assert same_random_state(before, {"cpu": torch.get_rng_state(), "cuda": torch.zeros(1)})
    torch.rand(1)
    assert not same_random_state(before, {"cpu": torch.get_rng_state()})
