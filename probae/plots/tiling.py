"""Flat examples to one tiled picture: which shape their images have, and where each goes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError


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


def tile(images: Tensor, cols: int, gap: int, line: float = 1.0, **options: Any) -> np.ndarray:
    """(N, C, H, W) images as one (H', W', 3) array, `gap` pixels of grey value `line` between them and none around."""
    from torchvision.utils import make_grid  # slow to import

    grid = make_grid(images.float(), nrow=cols, padding=gap, pad_value=line, **options)
    if len(images) > 1 and gap:  # a single image comes back without a frame
        grid = grid[:, gap:-gap, gap:-gap]
    return grid.permute(1, 2, 0).numpy()


def gap_width(images: Tensor, padding: float) -> int:
    """`padding`, a share of an image's width, in pixels of `images`."""
    return round(checks.real("padding", padding, low=0) * images.shape[-1])


def figure_size(picture: np.ndarray, cols: int, tile_width: float = 0.6) -> tuple[float, float]:
    """Inches for a tiled picture: `tile_width` a tile, but no figure narrower than 2.4 or wider than 10."""
    height, width = picture.shape[:2]
    inches = min(10.0, max(2.4, cols * tile_width))
    return inches, min(12.0, max(1.0, inches * height / width))
