"""Pictures show the numbers that they were given: tile by tile, each where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from torch import Tensor

from probae.errors import ArgumentError, DataError
from probae.plots import filters, image_grid, reconstructions


def drawn(ax: plt.Axes) -> np.ndarray:
    """The picture in the axes as it was handed to imshow, NaN where it is masked."""
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def tile_at(picture: np.ndarray, index: int, cols: int, height: int, width: int, gap: int) -> np.ndarray:
    """The tile number `index` of a picture, in reading order, with tiles of the size in which they were drawn."""
    row, col = divmod(index, cols)
    top, left = row * (height + gap), col * (width + gap)
    return picture[top : top + height, left : left + width]


@given(count=st.integers(1, 30), rows=st.integers(1, 6), cols=st.integers(1, 6), channels=st.sampled_from([1, 3]))
def test_every_image_is_where_it_belongs(count: int, rows: int, cols: int, channels: int) -> None:
    x = torch.rand(count, channels, 28, 14)  # 14 wide: drawn twice as large, with a gap of 2 pixels
    picture = drawn(image_grid(x, rows=rows, cols=cols, padding=2 / 28))
    plt.close("all")
    shown, across = min(count, rows * cols), min(cols, count)
    assert picture.shape == (-(-shown // across) * 58 - 2, across * 30 - 2, 3)
    for index in range(shown):
        tile = tile_at(picture, index, across, height=56, width=28, gap=2)[::2, ::2]
        np.testing.assert_array_equal(tile, x[index].expand(3, -1, -1).permute(1, 2, 0))


@given(count=st.integers(1, 200))
def test_default_grid_holds_all_and_is_nearly_square(count: int) -> None:
    picture = drawn(image_grid(torch.zeros(count, 28 * 28), padding=0))
    plt.close("all")
    rows, cols = picture.shape[0] // 28, picture.shape[1] // 28
    assert rows * cols >= count
    assert rows <= cols <= max(2, 3 * rows)
    assert picture.mean() == pytest.approx(1 - count / (rows * cols), abs=1e-6)  # what is left over is white


@pytest.mark.parametrize("shape", [(5, 64), (5, 8, 8), (5, 1, 8, 8)])
def test_flat_and_shaped_images_give_the_same_picture(shape: tuple[int, ...]) -> None:
    x = torch.rand(5, 64)
    np.testing.assert_array_equal(drawn(image_grid(x.reshape(shape))), drawn(image_grid(x, data_shape=(1, 8, 8))))


def test_lines_between_grey_images_are_no_grey_and_what_is_left_over_is_white() -> None:
    picture = drawn(image_grid(torch.rand(5, 28 * 28).round(), cols=3))
    lines, rest = picture[:, 28], picture[31:, 61:]
    assert lines.shape[0] == 58
    assert np.ptp(lines, axis=1).min() > 0.1
    assert (rest == 1).all()
    colour = drawn(image_grid(torch.rand(6, 3, 28, 28) / 2, cols=3))
    assert (colour[:, 28] == 1).all()
    assert colour[:28, :28].max() <= 0.5


def test_limits_are_black_and_white_and_cut_off_what_lies_beyond() -> None:
    x = torch.linspace(-3, 5, 784)[None]
    picture = drawn(image_grid(x, limits=(-1, 3)))
    np.testing.assert_allclose(picture[..., 0].flatten(), ((x[0] + 1) / 4).clamp(0, 1), atol=1e-6)


def test_scale_stretches_each_image_by_itself() -> None:
    x = torch.stack([torch.linspace(-3, 5, 784), torch.linspace(0.4, 0.5, 784)])
    picture = drawn(image_grid(x, scale=True, rows=1, padding=0))
    for index in range(2):
        tile = tile_at(picture, index, 2, 28, 28, 0)
        assert (tile.min(), tile.max()) == pytest.approx((0, 1), abs=1e-3)


def test_reconstruction_is_below_its_original() -> None:
    x, reconstructed = torch.rand(6, 784).round(), torch.rand(6, 784)
    picture = drawn(reconstructions(x, reconstructed, cols=3, padding=0))
    for index in range(6):
        pair = tile_at(picture, index, 3, 57, 28, 0)[..., 0]  # one line between the two
        np.testing.assert_array_equal(pair[:28], x[index].reshape(28, 28))
        np.testing.assert_allclose(pair[29:], reconstructed[index].reshape(28, 28), rtol=1e-6)


def test_reconstructions_share_the_scale_of_the_originals() -> None:
    x = torch.full((1, 784), -1.0)
    x[0, 0] = 3.0
    picture = drawn(reconstructions(x, torch.full((1, 784), 1.0)))
    assert picture[0, 0, 0] == 1
    assert picture[0, 1, 0] == 0
    assert picture[-1, -1, 0] == pytest.approx(0.5)
    assert drawn(reconstructions(x, torch.full((1, 784), 9.0)))[-1, -1, 0] == 1


def test_filters_are_symmetric_about_a_white_zero() -> None:
    weight = torch.randn(6, 784)
    weight[5] = 0.0
    ax = filters(weight, cols=3)
    picture = drawn(ax)
    np.testing.assert_array_equal(picture, -drawn(filters(-weight, cols=3)))
    tiles = [tile_at(picture, index, 3, 28, 28, 2) for index in range(6)]
    assert [np.abs(tile).max() for tile in tiles] == pytest.approx([1, 1, 1, 1, 1, 0])
    image = ax.images[0]
    assert np.isnan(picture[:, 28]).all()  # a gap
    assert ax.images[0].cmap(np.ma.masked)[:3] == pytest.approx(to_rgb("0.75"), abs=0.01)
    left_over = drawn(filters(weight[:5], cols=3))[30:, 60:]
    assert (left_over > 1).all()
    assert ax.images[0].cmap(2.0)[:3] == (1, 1, 1)
    assert image.get_clim() == (-1, 1)
    red, white, blue = (image.cmap(image.norm(value))[:3] for value in (1, 0, -1))
    assert white == pytest.approx(to_rgb("white"), abs=0.05)
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_draws_where_it_is_told() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    x = torch.rand(4, 64, requires_grad=True)
    assert image_grid(x, ax=left) is left
    assert reconstructions(x, x, ax=right) is right
    assert plt.get_fignums() == [figure.number]
    assert filters(x).figure is not figure


@pytest.mark.parametrize(
    ("x", "options", "name"),
    [
        ([[0.0]], {}, "x"),
        (torch.rand(784), {}, "x"),
        (torch.rand(2, 10), {}, "data_shape"),
        (torch.rand(2, 64), {"data_shape": (8, 9)}, "x"),
        (torch.rand(2, 64), {"data_shape": 64}, "data_shape"),
        (torch.rand(2, 2, 4, 4), {}, "x"),
        (torch.rand(2, 8, 8), {"data_shape": (3, 8, 8)}, "x"),
        (torch.rand(0, 64), {}, "x"),
        (torch.zeros(2, 64, dtype=torch.int64), {}, "x"),
        (torch.full((2, 64), torch.nan), {}, "x"),
        (torch.full((2, 64), 1.5), {}, "x"),
        (torch.rand(2, 64), {"cols": 0}, "cols"),
        (torch.rand(2, 64), {"padding": -1}, "padding"),
        (torch.rand(2, 64), {"limits": (1, 0)}, "limits"),
        (torch.rand(2, 64), {"limits": 1}, "limits"),
        (torch.rand(2, 64), {"limits": (0, 1), "scale": True}, "limits"),
        (torch.rand(2, 64), {"ax": "left"}, "ax"),
    ],
)
def test_errors_name_the_argument(x: Tensor, options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        image_grid(x, **options)
    assert error.value.argument == name


def test_other_pictures_name_their_arguments_too() -> None:
    with pytest.raises(DataError, match=r"^reconstructed: "):
        reconstructions(torch.rand(3, 64), torch.rand(4, 64))
    with pytest.raises(DataError, match=r"^weight: .*channel"):
        filters(torch.rand(3, 3, 8, 8))
