"""Three pictures an example: the original, what is observed of it, and how it was filled in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import probae as pb
from probae.errors import ArgumentError, DataError
from probae.plots.restorations import HIDDEN


def cells(ax: object, rows: int, side: int) -> np.ndarray:
    """The centre of each pixel of a single column of images (rows, side, side, 3), whatever their size and gaps."""
    grid = np.asarray(ax.images[0].get_array())  # type: ignore[attr-defined]
    tall, wide = grid.shape[:2]
    image = wide
    gap = (tall - rows * image) // (rows - 1)
    pixel = image // side
    return np.stack([
        grid[row * (image + gap) + pixel // 2 : row * (image + gap) + image : pixel, pixel // 2 :: pixel]
        for row in range(rows)
    ])  # fmt: skip


def test_hidden_pixels_have_a_colour_of_their_own() -> None:
    x, mask = torch.tensor([[0.0, 0.25, 0.5, 1.0]]), torch.tensor([True, False, True, True])
    ax = pb.plots.restorations(x, mask, torch.tensor([[0.0, 0.75, 0.5, 1.0]]))
    original, observed, filled = cells(ax, 3, 2)
    grey = np.array([[0.0, 0.25], [0.5, 1.0]])
    np.testing.assert_allclose(original, np.repeat(grey[..., None], 3, -1), atol=1e-6)
    np.testing.assert_allclose(observed[0, 1], to_rgb(HIDDEN), atol=1e-6)
    np.testing.assert_allclose(observed[[0, 1, 1], [0, 0, 1]], original[[0, 1, 1], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(filled[0, 1], [0.75] * 3, atol=1e-6)


def test_known_channels_are_shown_in_grey() -> None:
    x = torch.tensor([[[[0.2]], [[0.6]], [[1.0]]]]).expand(1, 3, 2, 2)
    mask = torch.tensor([True, True, False]).repeat_interleave(4)
    original, observed, filled = cells(pb.plots.restorations(x, mask, x), 3, 2)
    np.testing.assert_allclose(observed, np.full((2, 2, 3), 0.4), atol=1e-6)
    np.testing.assert_allclose(original, filled, atol=1e-6)


def test_what_is_refused() -> None:
    x = torch.rand(3, 16)
    with pytest.raises(ArgumentError, match=r"^mask: expected a bool tensor"):
        pb.plots.restorations(x, torch.ones(16), x)
    with pytest.raises(DataError, match=r"^filled"):
        pb.plots.restorations(x, torch.ones(16, dtype=torch.bool), x[:2])
