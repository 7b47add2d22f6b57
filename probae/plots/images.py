"""Pictures made of small images: samples, reconstructions, filters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib
import torch
from torch import Tensor

from probae.errors import DataError
from probae.plots.style import axes_or_new, picture
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def image_grid(
    x: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.07,
    scale: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Images side by side, such as samples of a model.

    Args:
        x: (N, D), (N, H, W) or (N, C, H, W), one or three channels, values in [0, 1].
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        rows, cols: of the grid, a near square by default; when both are given, the first rows * cols are shown.
        padding: width of the gaps, as a share of an image's width.
        scale: stretch each image from its own minimum to its own maximum, whatever its values.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or values outside [0, 1] without `scale`.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.image_grid(torch.rand(32, 64), rows=4, cols=8)
    """
    images = as_images("x", x, data_shape)
    shown, cols = columns(len(images), rows, cols)
    images = enlarge(images[:shown])
    if not scale and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        got = f"{float(images.min()):.3g} to {float(images.max()):.3g}"
        raise DataError("x", "values in [0, 1]", got, "With scale=True each image is stretched over its own range")
    grid = tile(images, cols, gap_width(images, padding), normalize=scale, scale_each=scale)
    ax = axes_or_new(ax, *figure_size(grid, cols))
    ax.imshow(grid, interpolation="nearest")
    return picture(ax)


def reconstructions(
    x: Tensor,
    reconstructed: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.2,
    ax: Axes | None = None,
) -> Axes:
    """Originals, each with its reconstruction below it, on the originals' grey scale.

    Args:
        x: (N, D), (N, H, W) or (N, C, H, W). Values outside [0, 1] widen the scale to the range of `x`.
        reconstructed: the same shape; values outside the scale are drawn as its ends.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        cols: pairs in a row.
        padding: width of the gaps between pairs, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: if the two are not equally many images of the same shape.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.reconstructions(torch.rand(20, 64).round(), torch.rand(20, 64))
    """
    above, below = as_images("x", x, data_shape), as_images("reconstructed", reconstructed, data_shape)
    if above.shape != below.shape:
        raise DataError("reconstructed", f"images like x, {tuple(above.shape)}", tuple(below.shape))
    low, high = min(0.0, float(above.min())), max(1.0, float(above.max()))
    above, below = (enlarge((images.clamp(low, high) - low) / (high - low)) for images in (above, below))
    line = above.new_ones((*above.shape[:2], gap_width(above, 0.04), above.shape[3]))
    pairs = torch.cat([above, line, below], dim=2)
    _, cols = columns(len(pairs), None, cols, aspect=2.0)
    grid = tile(pairs, cols, gap_width(pairs, padding))
    ax = axes_or_new(ax, *figure_size(grid, cols))
    ax.imshow(grid, interpolation="nearest")
    return picture(ax, "above: original, below: its reconstruction")


def filters(
    weight: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.07,
    ax: Axes | None = None,
) -> Axes:
    """What each unit looks for: its weights as an image, red positive, white zero, blue negative.

    Each filter is divided by its own largest absolute weight, so shapes can be compared and sizes cannot.

    Args:
        weight: (num_units, D), a row a unit: `rbm.weight.T`, or `nn.Linear(...).weight`.
        data_shape: (H, W) or (1, H, W); may be left out for D = H * H.
        rows, cols: of the grid, a near square by default; when both are given, the first rows * cols are shown.
        padding: width of the gaps, as a share of a filter's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN or several channels.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.filters(torch.randn(16, 64))
    """
    images = as_images("weight", weight, data_shape)
    if images.shape[1] != 1:
        hint = "Colour filters can be drawn with image_grid(scale=True)"
        raise DataError("weight", "one channel, whose signs become colours", f"{images.shape[1]} channels", hint)
    shown, cols = columns(len(images), rows, cols)
    largest = images.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled = enlarge(images / torch.where(largest > 0, largest, 1.0))
    grid = tile(scaled[:shown], cols, gap_width(scaled, padding), line=math.nan)[..., 0]
    ax = axes_or_new(ax, *figure_size(grid, cols))
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.75")
    ax.imshow(grid, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    return picture(ax, "red: positive, blue: negative\neach on its own scale")
