"""Flat examples to one tiled picture: which shape their images have, and where each goes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError

LINE = "#9ebcd6"


def as_images(argument: str, x: Any, data_shape: Any = None) -> Tensor:
    """`x` as detached (N, C, H, W) images on the CPU.

    Args:
        argument: the name of `x` for errors.
        x: (N, D), or already (N, H, W) or (N, C, H, W).
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.

    Raises:
        DataError: for anything that is not finite grey or colour images of that shape.
    """
    shape = _image_shape(argument, x) if data_shape is None else checks.shape("data_shape", data_shape)
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        name = argument if data_shape is None else "data_shape"
        raise DataError(name, "images (height, width) or (1 or 3 channels, height, width)", f"shape {shape}")
    grey = isinstance(x, Tensor) and x.dim() == 3 and shape[0] == 1
    return checks.examples(argument, x.unsqueeze(1) if grey else x, shape).detach().cpu().reshape(-1, *shape)


def _image_shape(argument: str, x: Any) -> tuple[int, ...]:
    if not isinstance(x, Tensor) or x.dim() not in (2, 3, 4):
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise DataError(argument, "a tensor of shape (N, D), (N, H, W) or (N, C, H, W)", got)
    if x.dim() > 2:
        return tuple(x.shape[1:])
    side = math.isqrt(x.shape[1])
    if side * side != x.shape[1]:
        raise ArgumentError("data_shape", f"an image shape, since {x.shape[1]} is not a perfect square", None)
    return side, side


def columns(count: int, rows: int | None, cols: int | None, aspect: float = 1.0) -> tuple[int, int]:
    """How many tiles to show, and in how many columns: nearly a square, as full as can be, unless told otherwise.

    Args:
        count: how many tiles there are.
        rows, cols: of the grid; when both are given, tiles beyond them are left out.
        aspect: height of a tile over its width.
    """
    rows = rows if rows is None else checks.positive_int("rows", rows)
    cols = cols if cols is None else checks.positive_int("cols", cols)
    if cols is None and rows is None:
        side = math.ceil(math.sqrt(count * aspect))
        cols = min(range(side, side * 3 // 2 + 1), key=lambda number: -count % number)
    elif cols is None:
        cols = math.ceil(count / (rows or 1))
    return (count if rows is None else min(count, rows * cols)), min(cols, count)


def enlarge(images: Tensor) -> Tensor:
    """(N, C, H, W) images at a whole multiple of their size, at least 28 wide, so that gaps can be thin."""
    factor = math.ceil(28 / images.shape[-1])
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def tile(images: Tensor, cols: int, gap: int, between: float = math.nan) -> np.ndarray:
    """(N, C, H, W) images as one (H', W', 3) array in reading order, without a frame.

    The `gap` pixels between tiles are NaN, or as told, and infinite is what the last row leaves free.
    """
    from torchvision.utils import make_grid  # slow to import

    grid = make_grid(images.float(), nrow=cols, padding=gap, pad_value=between)
    if len(images) > 1 and gap:  # a single image comes back without a frame
        grid = grid[:, gap:-gap, gap:-gap]
    if last := len(images) % cols:
        height, width = images.shape[2:]
        grid[:, -height:, last * (width + gap) - gap :] = math.inf
    return grid.permute(1, 2, 0).numpy()


def paint(grid: np.ndarray, channels: int) -> np.ndarray:
    """A tiled picture of images with so many channels: lines where it is NaN, white where it is infinite.

    Lines between colour images are white. Those between grey ones are not, so that they show where white ends.
    """
    line = np.array(to_rgb(LINE if channels == 1 else "white"), dtype=np.float32)
    return np.where(np.isinf(grid), np.float32(1), np.where(np.isnan(grid), line, grid))


def shades(images: Tensor, limits: Any) -> Tensor:
    """`images` from `limits`, the values of black and white, to [0, 1]; what lies beyond is cut off."""
    try:
        low, high = (checks.real("limits", value) for value in limits)
    except (TypeError, ValueError) as error:
        raise ArgumentError("limits", "two numbers (low, high)", repr(limits)) from error
    if low >= high:
        raise ArgumentError("limits", "low below high", repr(limits))
    return (images.clamp(low, high) - low) / (high - low)


def stretched(images: Tensor) -> Tensor:
    """(N, C, H, W) images, each from its own range to [0, 1]; what is constant becomes 0."""
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / torch.where(high > low, high - low, 1.0)


def gap_width(images: Tensor, padding: float) -> int:
    """`padding`, a share of an image's width, in pixels of `images`."""
    return round(checks.real("padding", padding, low=0) * images.shape[-1])


def figure_size(
    picture: np.ndarray, cols: int, tile_width: float = 0.6, lines: int = 0, beside: float = 0.0
) -> tuple[float, float]:
    """Inches for a tiled picture with `lines` of text below and `beside` inches of it beside.

    Each tile is `tile_width` wide, but no picture is narrower than 2.4 or wider than 10.
    """
    height, width = picture.shape[:2]
    inches = min(10.0, max(2.4, cols * tile_width))
    return inches + beside, min(12.0, max(1.0, inches * height / width)) + 0.17 * lines
