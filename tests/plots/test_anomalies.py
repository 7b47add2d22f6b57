"""ROC curves go through their points, maps are as dark as their values."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from probae.applications import roc as measure
from probae.errors import DataError
from probae.plots import anomaly_maps, roc
from probae.plots.anomalies import STRANGE
from probae.plots.style import COLOURS

CURVE = measure(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([2.5, 4.0]))


def said(ax: Axes) -> str:
    return ax.get_xlabel().replace("\n", " ")


def test_a_curve_is_drawn_with_its_area() -> None:
    ax = roc(CURVE)
    chance, line = ax.lines
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(line.get_xdata(), CURVE.false_alarm)
    np.testing.assert_array_equal(line.get_ydata(), CURVE.detection)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"AUROC 0.875 ± {CURVE.stderr:.3f}"]


def test_curves_have_their_names_and_colours() -> None:
    ax = roc({"one": CURVE, "other": CURVE})
    assert [line.get_color() for line in ax.lines[1:]] == list(COLOURS[:2])
    names = [text.get_text().partition(":")[0] for text in ax.get_legend().get_texts()]
    assert names == ["one", "other"]


@pytest.mark.parametrize(("curves", "name"), [({}, "curves"), (0.9, "curves"), ({"a": 1}, "curves['a']")])
def test_what_is_no_curve_is_named(curves: object, name: str) -> None:
    with pytest.raises(DataError) as raised:
        roc(curves)  # pyright: ignore[reportArgumentType]
    assert raised.value.argument == name


def test_maps_lie_below_their_examples_on_one_scale() -> None:
    x, maps = torch.zeros(2, 28, 28), torch.zeros(2, 28, 28)
    x[0, 0, 0], maps[0, 0, 0], maps[1, 5, 5] = 1.0, 4.0, 2.0
    ax = anomaly_maps(x, maps, limits=(0.0, 4.0), cols=2, padding=0.0)
    picture = np.asarray(ax.images[0].get_array())
    assert picture.shape == (28 + 1 + 28, 56, 3)
    np.testing.assert_allclose(picture[0, 0], 1.0)
    np.testing.assert_allclose(picture[0, 1], 0.0)
    np.testing.assert_allclose(picture[29, 0], to_rgb(STRANGE(1.0)), atol=1e-6)
    np.testing.assert_allclose(picture[29 + 5, 28 + 5], to_rgb(STRANGE(0.5)), atol=1e-6)
    np.testing.assert_allclose(picture[29 + 5, 5], 1.0)
    assert said(ax) == "each example above its anomaly map, from 0 (white) to 4 nats (dark)"


def test_maps_of_colours_are_added_up() -> None:
    x, maps = torch.rand(3, 3, 28, 28), torch.zeros(3, 3, 28, 28)
    maps[:, :, 0, 0] = 1.0
    x[:, :, 1, 1] = torch.tensor([1.0, 0.0, 0.5])
    picture = np.asarray(anomaly_maps(x, maps, limits=(0.0, 6.0), cols=3, padding=0.0).images[0].get_array())
    np.testing.assert_allclose(picture[29, 0], to_rgb(STRANGE(0.5)), atol=1e-6)
    np.testing.assert_allclose(picture[1, 1], [1.0, 0.0, 0.5])


def test_the_scale_ends_where_a_thousandth_begins() -> None:
    maps = torch.arange(10_000.0).reshape(1, 100, 100)
    assert "from 0 (white) to 1e+04 nats" in said(anomaly_maps(torch.rand(1, 100, 100), maps))
    maps[0, -1, -1] = 1e9  # one pixel does not whiten all others
    assert "to 1e+04 nats" in said(anomaly_maps(torch.rand(1, 100, 100), maps))
    anomaly_maps(torch.rand(1, 8, 8), torch.ones(1, 8, 8))  # nothing is stranger than anything


def test_maps_of_other_images_are_named() -> None:
    with pytest.raises(DataError) as raised:
        anomaly_maps(torch.rand(3, 64), torch.rand(2, 64))
    assert raised.value.argument == "maps"
