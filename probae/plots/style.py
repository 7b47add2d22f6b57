"""The one look of all plots: colours that colour-blind readers can tell apart, and as little ink as possible."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from probae.errors import ArgumentError

# Ten colours found by maximizing their distances under simulated colour-vision deficiencies: Petroff 2021 (arXiv
# 2107.02270), table 1.
COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
GREY = "0.45"  # of everything that is not data


def axes_or_new(ax: Any, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of this size in inches when it is None."""
    if ax is None:
        return plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ArgumentError("ax", "a matplotlib Axes or None", type(ax).__name__)
    return ax


def inches(ax: Axes) -> tuple[float, float]:
    """Width and height of axes, about: a layout may still move them."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return float(box.width / dpi), float(box.height / dpi)


def area(ax: Axes) -> float:
    """Of axes, about, in square points, the unit of a marker's size."""
    width, height = inches(ax)
    return 72 * 72 * width * height


def name_axes(ax: Axes, across: str, up: str) -> Axes:
    """Labels of both axes, in smaller letters and on more lines where there is little room."""
    size = "medium" if min(inches(ax)) > 2.2 else "small"
    ax.set_xlabel(wrapped(across, inches(ax)[0]), fontsize=size, color="black")
    ax.set_ylabel(wrapped(up, inches(ax)[1]), fontsize=size)
    return ax


def note(ax: Axes, text: str) -> Axes:
    """A remark in small grey letters above the right end."""
    ax.set_title(wrapped(text, inches(ax)[0]), fontsize="small", color=GREY, loc="right")
    return ax


def wrapped(text: str, width: float) -> str:
    """A text in small letters with its lines broken, so that none is longer than `width` inches, about."""
    letters = max(8, round(16 * width))
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in text.split("\n"))


def tidy(ax: Axes) -> Axes:
    """Two spines, a faint grid behind the data, small grey ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set_color(GREY)
    ax.tick_params(color=GREY, labelsize="small")
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def picture(ax: Axes, image: np.ndarray, caption: str = "", **options: Any) -> Axes:
    """An image without spines and ticks; `caption` in small grey letters below it."""
    # Neither uneven pixels where it is enlarged a little, nor vanishing lines where it is made smaller.
    ax.imshow(image, interpolation="antialiased", **options)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(wrapped(caption, inches(ax)[0]), fontsize="small", color=GREY)
    return ax
