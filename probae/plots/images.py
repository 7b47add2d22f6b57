"""Pictures made of small images: samples, reconstructions, filters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import torch
from torch import Tensor

from probae.errors import ArgumentError, DataError
from probae.plots.style import axes_or_new, picture
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, paint, shades, stretched, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def image_grid(
    x: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.07,
    limits: tuple[float, float] | None = None,
    scale: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Images side by side, such as samples of a model.

    Args:
        x: (N, D), (N, H, W) or (N, C, H, W), one or three channels, values in [0, 1] unless told otherwise.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        rows, cols: of the grid, a near square by default; when both are given, the first rows * cols are shown.
        padding: width of the gaps, as a share of an image's width.
        limits: the values that are black and white; those beyond are drawn as these.
        scale: stretch each image from its own minimum to its own maximum, whatever its values.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or values outside [0, 1] without `limits` or `scale`.
        ArgumentError: for both of these.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.image_grid(torch.rand(32, 64), rows=4, cols=8)
    """
    images = as_images("x", x, data_shape)
    shown, cols = columns(len(images), rows, cols)
    images = _toned(enlarge(images[:shown]), limits, scale)
    grid = tile(images, cols, gap_width(images, padding))
    ax = axes_or_new(ax, *figure_size(grid, cols))
    return picture(ax, paint(grid, images.shape[1]))


def _toned(images: Tensor, limits: tuple[float, float] | None, scale: bool) -> Tensor:
    """`images` in [0, 1], as asked for."""
    if scale and limits is not None:
        raise ArgumentError("limits", "None beside scale=True, which stretches each image", repr(limits))
    if scale:
        return stretched(images)
    if limits is not None:
        return shades(images, limits)
    if not (float(images.min()) >= 0 and float(images.max()) <= 1):
        hint = "limits=(0, 1) cuts off what lies beyond; with scale=True each image is stretched over its own range"
        raise DataError("x", "values in [0, 1]", f"{float(images.min()):.3g} to {float(images.max()):.3g}", hint)
    return images


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
    above, below = (enlarge(shades(images, (low, high))) for images in (above, below))
    line = above.new_full((*above.shape[:2], gap_width(above, 0.04), above.shape[3]), math.nan)
    pairs = torch.cat([above, line, below], dim=2)
    _, cols = columns(len(pairs), None, cols, aspect=2.0)
    grid = tile(pairs, cols, gap_width(pairs, padding), between=math.inf)
    ax = axes_or_new(ax, *figure_size(grid, cols, lines=1))
    return picture(ax, paint(grid, pairs.shape[1]), "each original above its reconstruction")


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
    grid = tile(scaled[:shown], cols, gap_width(scaled, padding))[..., 0]
    grid = np.where(np.isinf(grid), 2.0, grid)  # beyond the scale, where the colours have a name for it
    ax = axes_or_new(ax, *figure_size(grid, cols, lines=2))
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.75", over="white")
    caption = "red positive, blue negative; each on its own scale"
    return picture(ax, grid, caption, cmap=colours, vmin=-1, vmax=1, interpolation_stage="rgba")
