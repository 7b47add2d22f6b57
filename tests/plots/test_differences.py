"""Differences are those of the same examples: their mean, their own standard error, and the direction of both."""

import math

import matplotlib.pyplot as plt
import pytest
import torch

from probae.data.protocol import Protocol
from probae.errors import ArgumentError, DataError
from probae.evaluation.estimate import Estimate
from probae.plots import differences
from probae.plots.differences import minus

HARD = torch.linspace(-40, -10, 50)  # of each example, for every model
GAIN = torch.tensor([0.5, 1.5]).repeat(25)
RESULTS = {
    "RBM": Estimate(float(HARD.mean()), direction="exact", stderr_data=1.2, per_example=HARD),
    "VAE": Estimate(float((HARD + GAIN).mean()), direction="lower", per_example=HARD + GAIN, reliable=False),
    "AIS": Estimate(float(HARD.mean()), direction="upper", stderr=0.3, per_example=HARD.clone()),
}


def bars(ax: plt.Axes) -> list[tuple[float, float]]:
    """Value and half the length of each bar."""
    spans = [container.lines[2][0].get_segments()[0][:, 0] for container in ax.containers]
    return [(float(span.mean()), float(span[1] - span[0]) / 2) for span in spans]


def test_bars_are_those_of_paired_differences() -> None:
    """The examples differ by tens of nats, the gains by one; the Monte Carlo error of log Z is common to all."""
    ax = differences(RESULTS)
    stderr = 0.5 * math.sqrt(50 / 49) / math.sqrt(50)
    assert bars(ax) == [pytest.approx((1.0, 2 * stderr), rel=1e-5), pytest.approx((0.0, 0.6))]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["VAE", "AIS"]
    assert ax.get_xlabel().replace("\n", " ").startswith("log-likelihood minus that of RBM (nats per example;")
    words = [text.get_text() for text in ax.texts]
    assert words[0] == "RBM"
    assert f"+1.00 ± {2 * stderr:.2f}, lower bound, not reliable" in words


def test_the_baseline_is_at_zero_and_may_be_any() -> None:
    ax = differences(RESULTS, "VAE")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["RBM", "AIS"]
    assert [value for value, _ in bars(ax)] == pytest.approx([-1, -1])
    assert list(ax.lines[0].get_xdata()) == [0, 0]


@pytest.mark.parametrize(
    ("one", "other", "direction"),
    [
        ("exact", "exact", "exact"),
        ("lower", "exact", "lower"),
        ("exact", "lower", "upper"),
        ("upper", "exact", "upper"),
        ("exact", "upper", "lower"),
        ("lower", "upper", "lower"),
        ("upper", "lower", "upper"),
        ("lower", "lower", "estimate"),
        ("upper", "upper", "estimate"),
        ("estimate", "exact", "estimate"),
        ("exact", "estimate", "estimate"),
        ("estimate", "estimate", "estimate"),
        ("lower", "estimate", "estimate"),
    ],
)
def test_the_direction_of_a_difference(one: str, other: str, direction: str) -> None:
    first, second = (Estimate(0.0, direction=name, per_example=HARD) for name in (one, other))
    assert minus("results", first, second).direction == direction


def test_examples_on_any_device_and_in_any_precision() -> None:
    results = {"a": Estimate(0.0, per_example=HARD.double()), "b": Estimate(0.0, per_example=HARD + 1)}
    assert bars(differences(results)) == [pytest.approx((1.0, 0.0), abs=1e-5)]


def named(dataset: str = "digits", **options: object) -> Estimate:
    return Estimate(0.0, per_example=HARD, protocol=Protocol(dataset, "test", **options))


@pytest.mark.parametrize(
    ("results", "name"),
    [
        ({}, "results"),
        ({"a": RESULTS["RBM"]}, "results"),
        ({"a": RESULTS["RBM"], "b": Estimate(0.0)}, "results['b']"),
        ({"a": Estimate(0.0), "b": RESULTS["RBM"]}, "results['b']"),
        ({"a": RESULTS["RBM"], "b": Estimate(0.0, per_example=HARD[:-1])}, "results['b']"),
        ({"a": Estimate(0.0, per_example=HARD[:1]), "b": Estimate(0.0, per_example=HARD[:1])}, "results['b']"),
        ({"a": named(), "b": named("mnist")}, "results['b']"),
        ({"a": named(binarization="dynamic", seed=0), "b": named(binarization="dynamic", seed=1)}, "results['b']"),
    ],
)
def test_estimates_that_cannot_be_paired_are_named(results: dict[str, Estimate], name: str) -> None:
    with pytest.raises(DataError) as error:
        differences(results)
    assert error.value.argument == name


def test_other_errors_name_the_argument() -> None:
    with pytest.raises(ArgumentError, match=r"^baseline: expected one of 'AIS', 'RBM', 'VAE'; got 'DBM'"):
        differences(RESULTS, "DBM")
    same = {"a": named(), "b": named().__class__(0.0, per_example=HARD)}
    differences(same)  # a bare tensor's protocol is unknown, so nothing speaks against it
