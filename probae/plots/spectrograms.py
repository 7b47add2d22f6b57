"""Pictures of sound: time to the right, frequency up, the louder the darker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from probae.errors import DataError
from probae.plots.style import axes_or_new, picture
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spectrograms(
    x: Tensor,
    data_shape: tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    padding: float = 0.1,
    ax: Axes | None = None,
) -> Axes:
    """Spectrograms side by side, such as those of `pb.data.load("tones")`: the lowest frequency at the bottom.

    Args:
        x: (N, F * T), (N, F, T) or (N, 1, F, T): F frequencies, the lowest first, at T times.
        data_shape: (F, T) or (1, F, T); may be left out for shaped ones.
        rows, cols: of the grid, a near square by default; when both are given, the first rows * cols are shown.
        limits: the values that are white (silent) and black; those beyond are drawn as these.
        padding: width of the gaps, as a share of a spectrogram's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or several channels.

    Example:
        >>> import probae as pb
        >>> tones = pb.data.load("tones", size=20)
        >>> ax = pb.plots.spectrograms(tones.train.tensor, tones.train.data_shape)
    """
    images = as_images("x", x, data_shape)
    if images.shape[1] != 1:
        raise DataError("x", "spectrograms of one channel", f"{images.shape[1]} channels")
    shown, cols = columns(len(images), rows, cols, aspect=images.shape[2] / images.shape[3])
    ink = enlarge(1 - shades(images[:shown].flip(2), limits))
    tiled = tile(ink, cols, gap_width(ink, padding))
    ax = axes_or_new(ax, *figure_size(tiled, cols, lines=1))
    return picture(ax, paint(tiled, channels=1), "time to the right, frequency up")
