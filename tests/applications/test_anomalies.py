"""ROC curves against counting pairs, their errors against resampling; thresholds keep their rate exactly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import probae as pb
from probae.applications import roc, threshold
from probae.errors import ArgumentError, DataError

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12).map(torch.tensor)


@given(normal=SCORES, strange=SCORES)
def test_the_area_is_the_share_of_pairs_in_the_right_order(normal: torch.Tensor, strange: torch.Tensor) -> None:
    pairs = (strange[:, None] > normal).double() + 0.5 * (strange[:, None] == normal).double()
    curve = roc(normal, strange)
    assert curve.auroc == pytest.approx(float(pairs.mean()), abs=1e-12)
    assert float(torch.trapezoid(curve.detection, curve.false_alarm)) == pytest.approx(curve.auroc, abs=1e-12)


@given(normal=SCORES, strange=SCORES)
def test_each_point_is_what_its_threshold_does(normal: torch.Tensor, strange: torch.Tensor) -> None:
    curve = roc(normal, strange)
    for false_alarm, detection, limit in zip(curve.false_alarm, curve.detection, curve.thresholds, strict=True):
        assert float(false_alarm) == pytest.approx(float((normal >= limit).double().mean()))
        assert float(detection) == pytest.approx(float((strange >= limit).double().mean()))
    assert (float(curve.false_alarm[0]), float(curve.detection[0])) == (0, 0)
    assert (float(curve.false_alarm[-1]), float(curve.detection[-1])) == (1, 1)


def test_the_error_is_that_of_repeating_it() -> None:
    """The variance of 1,000 areas has a relative error of sqrt(2 / 1000) = 4.5%: six of those; false alarm 2e-9."""
    generator = torch.Generator().manual_seed(0)
    curves = [
        roc(torch.randn(60, generator=generator), 1 + 1.5 * torch.randn(40, generator=generator)) for _ in range(1000)
    ]
    spread = np.var([curve.auroc for curve in curves], ddof=1)
    assert np.mean([curve.stderr**2 for curve in curves]) == pytest.approx(spread, rel=0.27)
    truth = 0.5 * math.erfc(-1 / math.sqrt(1 + 1.5**2) / math.sqrt(2))  # P(1 + 1.5 a > b)
    assert abs(np.mean([curve.auroc for curve in curves]) - truth) < 6 * math.sqrt(spread / 1000)


def test_it_reads_well_and_takes_arrays() -> None:
    curve = roc(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    assert (repr(curve), float(curve)) == ("AUROC 1.000 ± 0 (data)", 1.0)
    assert math.isnan(roc(torch.zeros(1), torch.ones(5)).stderr)


@pytest.mark.parametrize("count", [1, 4, 19, 99, 150])
@pytest.mark.parametrize("percent", range(1, 100, 7))
def test_a_new_normal_example_raises_an_alarm_as_often_as_was_asked(count: int, percent: int) -> None:
    """Each of n + 1 equally likely ranks of the new score in turn: a share of floor((n + 1) a) / (n + 1), exactly."""
    rate = percent / 100
    if (count + 1) * Fraction(percent, 100) < 1:
        with pytest.raises(DataError, match=r"^scores: expected at least \d+, for a false-alarm rate of"):
            threshold(torch.rand(count), rate)
        return
    ranks = torch.arange(count + 1.0)
    alarms = sum(float(new) > threshold(ranks[ranks != new].flip(0), rate) for new in ranks)
    assert alarms == math.floor((count + 1) * Fraction(percent, 100))


@given(scores=st.lists(st.integers(0, 3).map(float), min_size=5, max_size=30), percent=st.integers(20, 99))
def test_ties_raise_fewer_alarms(scores: list[float], percent: int) -> None:
    values = torch.tensor(scores)
    alarms = 0
    for new in range(len(values)):
        others = torch.cat([values[:new], values[new + 1 :]])
        alarms += float(values[new]) > threshold(others, percent / 100)
    assert alarms <= math.floor(len(values) * Fraction(percent, 100))


def test_as_few_scores_as_can_be() -> None:
    assert threshold(torch.arange(99.0), 0.01) == 98.0
    with pytest.raises(DataError, match=r"^scores: expected at least 99, for a false-alarm rate of 0.01; got 98"):
        threshold(torch.arange(98.0), 0.01)


def test_a_model_keeps_the_rate_on_new_data() -> None:
    """PCA's validation scores set the threshold; 1,500 new digits: 10% ± the errors of both sets, six of them; 2e-9."""
    digits = pb.data.load("digits", binarize="none")
    ppca = pb.ProbabilisticPCA(64, 8).fit_closed_form(digits.train[:297])
    held_out = ppca.anomaly_score(torch.cat([digits.train[297:].tensor, digits.valid.tensor, digits.test.tensor]))
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    known, new = held_out[order].split([500, 1000])
    alarms = float((new > threshold(known, 0.1)).double().mean())
    assert abs(alarms - 0.1) < 6 * math.sqrt(0.1 * 0.9 * (1 / 500 + 1 / 1000))


@pytest.mark.parametrize(
    "bad", [torch.zeros(0), torch.zeros(2, 2), torch.tensor([0.0, math.nan]), torch.zeros(3, dtype=torch.long), [1.0]]
)
def test_scores_that_are_none_are_named(bad: object) -> None:
    good = torch.rand(200)
    for name, call in {
        "normal_scores": lambda: roc(bad, good),  # pyright: ignore[reportArgumentType]
        "anomalous_scores": lambda: roc(good, bad),  # pyright: ignore[reportArgumentType]
        "scores": lambda: threshold(bad, 0.5),  # pyright: ignore[reportArgumentType]
    }.items():
        with pytest.raises(DataError) as raised:
            call()
        assert raised.value.argument == name


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, "0.1", math.nan])
def test_rates_that_are_none_are_named(rate: object) -> None:
    with pytest.raises(ArgumentError) as raised:
        threshold(torch.rand(200), rate)  # pyright: ignore[reportArgumentType]
    assert raised.value.argument == "false_alarm"
