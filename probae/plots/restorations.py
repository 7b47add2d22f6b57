"""What was hidden of examples, and what was put in its place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from probae.errors import DataError
from probae.models.observed import check_mask
from probae.plots.style import axes_or_new, picture
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN = "#c3a15a"


def restorations(
    x: Tensor,
    mask: Any,
    filled: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.2,
    ax: Axes | None = None,
) -> Axes:
    """Originals; below each what is observed of it, the rest in brown, and below that how it was filled in.

    Of an image in colour of which some channels are hidden, the mean of the others is shown in grey.

    Args:
        x: (N, D), (N, H, W) or (N, C, H, W). Values outside [0, 1] widen the scale to the range of `x`.
        mask: (D,), (N, D) or of an example's or of all examples' shape: True where x was observed.
        filled: like x, such as `model.inpaint(x, mask)`; values outside the scale are drawn as its ends.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        cols: columns of three images.
        padding: width of the gaps between columns, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError, ArgumentError: for images of different shapes; for a mask of another shape or dtype.

    Example:
        >>> import probae as pb, torch
        >>> x, left = torch.rand(12, 64).round(), torch.arange(64) % 8 < 4
        >>> ax = pb.plots.restorations(x, left, pb.RBM(64, 8).inpaint(x, left, steps=10))
    """
    original, restored = as_images("x", x, data_shape), as_images("filled", filled, data_shape)
    if original.shape != restored.shape:
        raise DataError("filled", f"images like x, {tuple(original.shape)}", tuple(restored.shape))
    shown = check_mask(mask, len(original), tuple(original.shape[1:])).reshape(original.shape).cpu()
    low, high = min(0.0, float(original.min())), max(1.0, float(original.max()))
    original, restored = (shades(images, (low, high)) for images in (original, restored))
    parts = [enlarge(part.expand(-1, 3, -1, -1)) for part in (original, _observed(original, shown), restored)]
    line = parts[0].new_full((*parts[0].shape[:2], gap_width(parts[0], 0.04), parts[0].shape[3]), math.nan)
    stacked = torch.cat([parts[0], line, parts[1], line, parts[2]], dim=2)
    _, cols = columns(len(stacked), None, cols, aspect=3.0)
    grid = tile(stacked, cols, gap_width(stacked, padding), between=math.inf)
    ax = axes_or_new(ax, *figure_size(grid, cols, lines=1))
    return picture(ax, paint(grid, original.shape[1]), "original, what is observed of it, filled in")


def _observed(images: Tensor, shown: Tensor) -> Tensor:
    """(N, 3, H, W): grey where only some channels are known, brown where none is."""
    count = shown.sum(1, keepdim=True)
    known = torch.where(shown, images, 0.0)
    grey = (known.sum(1, keepdim=True) / count.clamp(min=1)).expand(-1, 3, -1, -1)
    whole = torch.where(shown.all(1, keepdim=True), images.expand(-1, 3, -1, -1), grey)
    return torch.where(count > 0, whole, images.new_tensor(to_rgb(HIDDEN)).reshape(1, 3, 1, 1))
