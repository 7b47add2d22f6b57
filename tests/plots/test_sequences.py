"""A sequence is drawn cell by cell: time to the right, categories up."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probae.errors import ArgumentError
from probae.plots import sequences
from probae.plots.sequences import PIXELS


def cells(ax: plt.Axes, steps: int, categories: int, index: int, cols: int, gap: int) -> np.ndarray:
    """Ink in each cell of one sequence, (T, K), after a check that cells are of one colour."""
    row, col = divmod(index, cols)
    height, width = categories * PIXELS, steps * PIXELS
    top, left = row * (height + gap), col * (width + gap)
    tile = 1 - ax.images[0].get_array()[top : top + height, left : left + width, 0]
    blocks = tile.reshape(categories, PIXELS, steps, PIXELS)
    assert (blocks == blocks[:, :1, :, :1]).all()
    return blocks[::-1, 0, :, 0].T


@given(
    count=st.integers(1, 12), steps=st.integers(1, 9), categories=st.integers(1, 9), cols=st.integers(1, 5),
    flat=st.booleans(),
)  # fmt: skip
def test_every_cell_is_where_it_belongs(count: int, steps: int, categories: int, cols: int, flat: bool) -> None:
    x = torch.rand(count, steps, categories)
    ax = sequences(x.flatten(1), (steps, categories), cols=cols) if flat else sequences(x, cols=cols)
    for index in range(count):
        drawn = cells(ax, steps, categories, index, min(cols, count), gap=2)
        np.testing.assert_allclose(drawn, x[index], atol=1e-6)
    plt.close("all")


def test_draws_where_it_is_told_and_says_how_to_read_it() -> None:
    ax = plt.subplots(figsize=(6, 4))[1]
    assert sequences(torch.rand(3, 4, 5), ax=ax) is ax
    assert ax.get_xlabel() == "time to the right, categories up"


@pytest.mark.parametrize(
    ("x", "options", "name"),
    [
        ([[0.0]], {"data_shape": (1, 1)}, "x"),
        (torch.rand(3, 20), {}, "data_shape"),
        (torch.rand(3, 20), {"data_shape": 20}, "data_shape"),
        (torch.rand(3, 20), {"data_shape": (1, 4, 5)}, "data_shape"),
        (torch.rand(3, 20), {"data_shape": (4, 6)}, "x"),
        (torch.rand(3, 4, 5) + 1, {}, "x"),
        (torch.full((3, 4, 5), torch.nan), {}, "x"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), {}, "x"),
        (torch.rand(3, 4, 5), {"padding": -1}, "padding"),
        (torch.rand(3, 4, 5), {"rows": 0}, "rows"),
    ],
)
def test_errors_name_the_argument(x: object, options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        sequences(x, **options)
    assert error.value.argument == name
