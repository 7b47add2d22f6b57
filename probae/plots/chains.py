"""What Markov chains look like: a row of images for each, or all of them as a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probae import checks
from probae.errors import DataError
from probae.plots.film import write_film
from probae.plots.style import axes_or_new, note, picture
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def chain_grid(
    states: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int = 12,
    *,
    padding: float = 0.07,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A row of images for each Markov chain: where it has been, from left to right.

    Args:
        states: (T, M, D), T states of M chains, such as `rbm.chains(every=50).states`.
        data_shape: (H, W) or (C, H, W); may be left out for D = H * H.
        rows: how many chains are shown, the first ones; by default at most 10.
        cols: how many states of each, at equal distances, the first and the last included.
        padding: width of the gaps, as a share of an image's width.
        limits: the values that are black and white; (0, 1) by default.
        ax: where to draw; None makes a new figure.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.chain_grid(pb.RBM(64, 8).chains(4, steps=100).states)
    """
    states = _states(states)
    shown = checks.positive_int("rows", min(10, states.shape[1]) if rows is None else rows)
    times = torch.linspace(0, len(states) - 1, min(checks.positive_int("cols", cols), len(states))).round().long()
    part = states[times, :shown].transpose(0, 1)
    images = enlarge(_images(part.flatten(0, 1), data_shape, limits))
    grid = tile(images, len(times), gap_width(images, padding))
    ax = axes_or_new(ax, *figure_size(grid, len(times), lines=1))
    return picture(ax, paint(grid, images.shape[1]), "each row a chain, from left to right")


def chain_animation(
    path: str | Path,
    states: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    rows: int | None = None,
    cols: int | None = None,
    *,
    padding: float = 0.07,
    limits: tuple[float, float] | None = None,
    every: int = 1,
    seconds: float = 0.1,
    size: float = 4.6,
    dpi: int = 90,
) -> Path:
    """Write a GIF of Markov chains that move, side by side.

    Args:
        path: of the file, which should end in ".gif".
        states: (T, M, D), T states of M chains, such as `rbm.chains().states`.
        data_shape: (H, W) or (C, H, W); may be left out for D = H * H.
        rows, cols: of the grid of chains, a near square by default.
        padding: width of the gaps, as a share of an image's width.
        limits: the values that are black and white; (0, 1) by default.
        every: show every n-th state; the number written above counts all of them.
        seconds: how long each state stays.
        size: width in inches.
        dpi: pixels an inch.

    Returns:
        The path.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pb.plots.chain_animation(f"{folder}/chains.gif", pb.RBM(64, 8).chains(4, steps=40).states).name
        'chains.gif'
    """
    states = _states(states)
    every, width = checks.positive_int("every", every), checks.real("size", size, low=0, open_low=True)
    shown, cols = columns(states.shape[1], rows, cols)
    numbers = list(range(0, len(states), every))
    images = _images(states[::every, :shown].flatten(0, 1), data_shape, limits)
    films = images.unflatten(0, (len(numbers), shown))

    def frame(number: int) -> Any:
        tiles = enlarge(films[number])
        return paint(tile(tiles, cols, gap_width(tiles, padding)), tiles.shape[1])

    def prepare(ax: Axes) -> Any:
        picture(ax, frame(0))

        def draw(number: int) -> None:
            ax.images[0].set_data(frame(number))
            note(ax, f"state {numbers[number] + 1}")

        return draw

    height, across = frame(0).shape[:2]
    return write_film(path, prepare, len(numbers), (width, width * height / across + 0.25), seconds=seconds, dpi=dpi)


def _states(states: Any) -> Tensor:
    if not isinstance(states, Tensor) or states.dim() != 3 or not states.numel():
        got = f"shape {tuple(states.shape)}" if isinstance(states, Tensor) else type(states).__name__
        raise DataError("states", "a tensor of shape (T, M, D): T states of M chains", got)
    return states.detach()


def _images(x: Tensor, data_shape: Any, limits: tuple[float, float] | None) -> Tensor:
    images = as_images("states", x, data_shape)
    low, high = float(images.min()), float(images.max())
    if limits is None and not (low >= 0 and high <= 1):
        raise DataError("states", "values in [0, 1], unless limits=(low, high) are given", f"{low:.3g} to {high:.3g}")
    return shades(images, limits or (0.0, 1.0))
