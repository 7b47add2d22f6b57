"""A picture of estimates hides nothing: both errors, the direction of a bound, and what is not reliable."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from probae.errors import DataError
from probae.evaluation.estimate import Estimate
from probae.plots import estimates

RESULTS = {
    "VAE": Estimate(-23.4, stderr=0.3, stderr_data=0.4, direction="lower"),
    "RBM": Estimate(-25.1, stderr=0.1, direction="upper", reliable=False),
    "exact": Estimate(-24.0, direction="exact"),
}


def texts(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_bars_are_two_standard_errors_of_both_kinds() -> None:
    ax = estimates(RESULTS)
    spans = [container.lines[2][0].get_segments()[0] for container in ax.containers]
    halves = [float(segment[1, 0] - segment[0, 0]) / 2 for segment in spans]
    assert halves == pytest.approx([2 * math.hypot(0.3, 0.4), 0.2, 0.0])
    assert [float(segment[:, 0].mean()) for segment in spans] == pytest.approx([-23.4, -25.1, -24.0])


def test_names_run_downwards_in_the_order_given() -> None:
    ax = estimates(RESULTS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["VAE", "RBM", "exact"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    rows = [float(container.lines[0].get_ydata()[0]) for container in ax.containers]
    assert rows == [0, 1, 2]


def test_arrows_point_to_the_truth_and_unreliable_points_are_hollow() -> None:
    ax = estimates(RESULTS)
    assert [text for text in texts(ax) if text in "→←"] == ["→", "←"]
    faces = [container.lines[0].get_markerfacecolor() for container in ax.containers]
    assert [face == "white" for face in faces] == [False, True, False]
    assert "−25.10 ± 0.20, upper bound, not reliable" in texts(ax)
    assert "−24.00, exact" in texts(ax)


def test_arrow_of_a_lower_bound_is_right_of_its_bar() -> None:
    arrow = next(text for text in estimates(RESULTS).texts if text.get_text() == "→")
    assert arrow.xy == pytest.approx((-23.4 + 1.0, 0))
    assert arrow.get_position()[0] > 0


def test_units_follow_the_quantity() -> None:
    assert estimates(RESULTS).get_xlabel().startswith("log-likelihood (nats per example;")
    log_z = {"AIS": Estimate(132.0, quantity="log Z", stderr=0.2, direction="lower")}
    assert estimates(log_z).get_xlabel().startswith("log Z (nats;")


def test_small_errors_keep_two_digits() -> None:
    small = {"a": Estimate(-0.00412, stderr=0.0016), "b": Estimate(-3.0, stderr=2.0), "c": Estimate(1.23456)}
    assert texts(estimates(small)) == ["−0.0041 ± 0.0032", "−3.00 ± 4.00", "1.23"]


def test_words_give_way_in_narrow_axes() -> None:
    ax = estimates(RESULTS, ax=plt.subplots(figsize=(3, 3))[1])
    assert [text for text in texts(ax) if text not in "→←"] == ["−23.40 ± 1.00", "−25.10 ± 0.20", "−24.00"]
    assert "\n" in ax.get_xlabel()


def test_draws_where_it_is_told() -> None:
    ax = plt.subplots()[1]
    assert estimates(RESULTS, ax=ax) is ax


@pytest.mark.parametrize(
    "results",
    [
        {},
        [Estimate(0.0)],
        {"number": -3.0},
        {"a": Estimate(0.0), "b": Estimate(0.0, quantity="log Z")},
        {"a": Estimate(-np.inf)},
        {"a": Estimate(0.0, stderr=np.nan)},
    ],
)
def test_errors_name_the_argument(results: object) -> None:
    with pytest.raises(DataError, match=r"^results(\['\w+'\])?: "):
        estimates(results)
