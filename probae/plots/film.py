"""How a film is written: frames drawn one after the other into the same axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes

from probae import checks
from probae.errors import DataError

_HOLD = 1.5  # seconds, of the last frame


def write_film(
    path: str | Path,
    prepare: Callable[[Axes], Callable[[int], None]],
    count: int,
    inches: tuple[float, float],
    *,
    seconds: float,
    dpi: int,
) -> Path:
    """Write a GIF of so many frames, whose last one stays a while.

    Args:
        path: of the file.
        prepare: makes axes ready for all frames, and returns what draws one, by its number.
        count: of the frames.
        inches: width and height.
        seconds: how long each frame stays.
        dpi: pixels an inch.

    Raises:
        DataError: for a path that is none, of another kind, or in a folder that does not exist.
    """
    pause, dots = checks.real("seconds", seconds, low=0, open_low=True), checks.positive_int("dpi", dpi)
    path = _gif(path)
    figure, ax = plt.subplots(figsize=inches, layout="constrained")
    try:
        frames = [*range(count), *[count - 1] * round(_HOLD / pause)]
        rate: Any = 1 / pause  # declared an int, and divided by
        film = FuncAnimation(figure, prepare(ax), frames=frames)
        film.save(path, writer=PillowWriter(fps=rate), dpi=dots)
    finally:
        plt.close(figure)
    return path


def _gif(path: Any) -> Path:
    if not isinstance(path, (str, Path)) or Path(path).suffix.lower() != ".gif":
        raise DataError("path", "a name that ends in .gif", repr(path))
    if not Path(path).parent.is_dir():
        raise DataError("path", "a file in a folder that exists", repr(str(path)))
    return Path(path)
