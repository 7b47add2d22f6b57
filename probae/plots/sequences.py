"""Pictures of sequences: time to the right, categories up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.plots.style import axes_or_new, picture
from probae.plots.tiling import columns, figure_size, paint, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL = 0.07  # inches
PIXELS = 5  # of a cell, so that gaps can be thinner


def sequences(
    x: Tensor,
    data_shape: tuple[int, int] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.4,
    ax: Axes | None = None,
) -> Axes:
    """Sequences as piano rolls side by side: a dark cell where a category is on, grey for a probability.

    Args:
        x: (N, T * K) or (N, T, K): T steps of K categories, one-hot, several on at once, or probabilities.
        data_shape: (T, K); may be left out for (N, T, K).
        rows, cols: of the grid, a near square by default; when both are given, the first rows * cols are shown.
        padding: width of the gaps, as a share of a cell.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or values outside [0, 1].

    Example:
        >>> import probae as pb, torch
        >>> x = torch.eye(5)[torch.arange(12) % 5].flatten().expand(8, 60)
        >>> ax = pb.plots.sequences(x, (12, 5))
    """
    steps, categories = shape = _shape(x, data_shape)
    values = checks.examples("x", x, shape).detach().cpu().reshape(-1, *shape)
    if not (float(values.min()) >= 0 and float(values.max()) <= 1):
        raise DataError("x", "values in [0, 1]", f"{float(values.min()):.3g} to {float(values.max()):.3g}")
    shown, cols = columns(len(values), rows, cols, aspect=categories / steps)
    ink = (1 - values[:shown].float()).transpose(1, 2).flip(1).unsqueeze(1)
    gap = round(PIXELS * checks.real("padding", padding, low=0))
    tiled = tile(ink.repeat_interleave(PIXELS, dim=2).repeat_interleave(PIXELS, dim=3), cols, gap)
    ax = axes_or_new(ax, *figure_size(tiled, cols, CELL * steps, lines=1))
    return picture(ax, paint(tiled, channels=1), "time to the right, categories up")


def _shape(x: Tensor, data_shape: tuple[int, int] | None) -> tuple[int, int]:
    if data_shape is None and isinstance(x, Tensor) and x.dim() == 3:
        data_shape = (x.shape[1], x.shape[2])
    if data_shape is None:
        raise ArgumentError("data_shape", "(steps, categories)", None)
    shape = checks.shape("data_shape", data_shape)
    if len(shape) != 2:
        raise ArgumentError("data_shape", "(steps, categories)", shape)
    return shape
