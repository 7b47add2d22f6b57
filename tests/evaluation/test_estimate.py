"""The one result type: it reads as a row of a table, and is a number."""

from __future__ import annotations

import math

import pytest
import torch

from probae.data.protocol import Protocol
from probae.evaluation.estimate import Estimate

FULL = Estimate(
    -23.4567, direction="lower", stderr=0.0123, stderr_data=0.31, ess=312.4, khat=0.421, per_example=torch.zeros(3),
    protocol=Protocol("digits", "test", "stochastic", 0).using("importance", 5000),
)  # fmt: skip


def test_it_reads_as_a_row_of_a_table() -> None:
    cells = repr(FULL).split(" | ")
    assert cells == [
        "log-likelihood -23.457 ± 0.012 (Monte Carlo) ± 0.31 (data) nats", "lower bound", "ESS 312", "k-hat 0.42",
        "reliable", "digits/test, stochastic binarization (seed 0), importance with 5000 samples",
    ]  # fmt: skip
    assert "tensor" not in repr(FULL)


def test_what_is_not_there_is_not_shown() -> None:
    assert repr(Estimate(3.0, "log Z", "exact")) == "log Z 3.000 nats | exact | reliable | unknown data"
    doubtful = Estimate(3.0, direction="upper", reliable=False, reason="a mode may be missing")
    assert repr(doubtful) == (
        "log-likelihood 3.000 nats | upper bound | NOT RELIABLE: a mode may be missing | unknown data"
    )
    assert "± nan (Monte Carlo)" in repr(Estimate(3.0, stderr=math.nan))
    assert "-inf nats" in repr(Estimate(-math.inf))


def test_it_is_a_number() -> None:
    assert float(FULL) == -23.4567
    assert f"{float(FULL):.1f}" == "-23.5"
    assert math.exp(Estimate(0.0)) == 1.0


def test_it_is_read_only_and_itself() -> None:
    with pytest.raises(AttributeError):
        FULL.value = 0.0  # type: ignore[misc]
    assert FULL in [FULL]
    twin = Estimate(**vars(FULL))
    assert twin != FULL, "with examples inside, only identity has an answer"
    assert len({FULL, twin}) == 2
