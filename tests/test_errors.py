"""The typed errors: one family, caught as what they are, with what a program needs to react."""

from __future__ import annotations

import inspect
import pickle

import pytest

from probae import errors
from probae.errors import ArgumentError, DataError, NonFiniteError, ProbaeError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]


def test_they_are_one_family() -> None:
    assert len(ALL) >= 8
    assert all(issubclass(kind, ProbaeError) for kind in ALL)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [("ArgumentError", ValueError), ("DataError", ArgumentError), ("NotPreparedError", RuntimeError),
     ("NoLikelihoodError", TypeError), ("UnnormalizedError", RuntimeError), ("SiteError", ValueError),
     ("NonFiniteError", ArithmeticError)],
)  # fmt: skip
def test_they_are_also_what_python_calls_them(kind: str, builtin: type) -> None:
    assert issubclass(getattr(errors, kind), builtin)


def test_an_argument_error_says_it_all() -> None:
    error = DataError("x", "bits", "grey values", "Draw bits first")
    assert error.argument == "x"
    assert str(error) == "x: expected bits; got grey values. Draw bits first"
    assert str(ArgumentError("n", "a positive integer", 0)) == "n: expected a positive integer; got 0"


def test_a_non_finite_error_knows_where() -> None:
    error = NonFiniteError("the loss is NaN", site="x", step=3)
    assert (error.site, error.step, error.run, str(error)) == ("x", 3, None, "the loss is NaN")


@pytest.mark.parametrize(
    "error", [ArgumentError("n", "a positive integer", 0, "Try 1"), NonFiniteError("NaN", site="x", step=3)], ids=repr
)
def test_they_cross_processes(error: ProbaeError) -> None:
    """A data loader's worker, or a pool's, sends its exceptions as pickles."""
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))
