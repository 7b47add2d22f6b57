"""Each query stands before what was retrieved for it, and what is not relevant has a red frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from probae.applications import precision_at_k
from probae.errors import DataError
from probae.plots import precision_curves, retrieved
from probae.plots.retrieval import WRONG


def drawn(ax: Any) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_where_it_belongs_in_its_frame(channels: int) -> None:
    """28 pixels in frames of 2, gaps of 4: a query, 12 pixels, then an image every 36."""
    queries, found = torch.rand(2, channels, 28, 28), torch.rand(2, 3, channels, 28, 28)
    relevant = torch.tensor([[True, False, True], [False, True, True]])
    picture = drawn(retrieved(queries, found, relevant=relevant, padding=4 / 28))
    assert picture.shape == (2 * 32 + 4, 32 + 12 + 3 * 36 - 4, 3)
    for row in range(2):
        strip = picture[36 * row :][:32]
        inside = strip[2:30]
        np.testing.assert_allclose(inside[:, 2:30], queries[row].expand(3, -1, -1).permute(1, 2, 0), atol=1e-6)
        for place in range(3):
            left = 44 + 36 * place
            wanted = found[row, place].expand(3, -1, -1).permute(1, 2, 0)
            np.testing.assert_allclose(inside[:, left + 2 : left + 30], wanted, atol=1e-6)
            frame = (1.0, 1.0, 1.0) if relevant[row, place] else to_rgb(WRONG)
            np.testing.assert_allclose(strip[0, left : left + 32], np.broadcast_to(frame, (32, 3)))
            np.testing.assert_allclose(strip[:, left + 31], np.broadcast_to(frame, (32, 3)))
    assert (picture[:, 32:44] == 1).all()


def test_all_images_are_on_one_scale() -> None:
    queries, found = torch.full((1, 784), -1.0), torch.full((1, 1, 784), 3.0)
    found[0, 0, :5] = 1.0
    picture = drawn(retrieved(queries, found, padding=0.1))
    assert set(np.unique(picture)) == {0.0, 0.5, 1.0}


def test_flat_examples_of_a_small_shape_and_a_caption() -> None:
    ax = retrieved(torch.rand(3, 64), torch.rand(3, 5, 64))
    assert "not relevant" not in ax.get_xlabel()
    framed = retrieved(torch.rand(1, 64), torch.rand(1, 1, 64), relevant=torch.ones(1, 1).bool())
    assert "not relevant" in framed.get_xlabel()


def test_curves_are_the_precisions_with_their_errors() -> None:
    found = precision_at_k(torch.rand(50, 20) < 0.5)
    ax = precision_curves({"one": found, "other": precision_at_k(torch.rand(50, 20) < 0.9)})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), found.values)
    assert list(ax.lines[0].get_xdata()) == list(range(1, 21))
    edges = ax.collections[0].get_paths()[0].vertices
    low, high = edges[edges[:, 0] == 1][:, 1].min(), edges[edges[:, 0] == 1][:, 1].max()
    assert (high - low) == pytest.approx(4 * float(found.stderr[0]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "other"]
    assert precision_curves(precision_at_k(torch.ones(1, 1).bool())).get_legend() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"found": torch.rand(2, 64)}, "found: expected examples for 2 queries"),
        ({"found": torch.rand(3, 4, 64)}, "found: expected examples for 2 queries"),
        ({"found": torch.rand(2, 4, 36)}, "found: expected shape"),
        ({"relevant": torch.ones(2, 4)}, r"relevant: expected booleans of shape \(2, 4\)"),
        ({"relevant": torch.ones(2, 3).bool()}, r"relevant: expected booleans of shape \(2, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        retrieved(torch.rand(2, 64), **{"found": torch.rand(2, 4, 64), **arguments})


@pytest.mark.parametrize("results", [{}, {"a": torch.rand(3)}])
def test_what_is_no_precision_is_refused(results: Any) -> None:
    with pytest.raises(DataError, match=r"^results: expected"):
        precision_curves(results)
