"""The one look of all plots: colours that colour-blind readers can tell apart, and as little ink as possible."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
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


def tidy(ax: Axes) -> Axes:
    """Two spines, a faint grid behind the data, small grey ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set_color(GREY)
    ax.tick_params(color=GREY, labelsize="small")
    ax.grid(color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def picture(ax: Axes, caption: str = "") -> Axes:
    """No spines and no ticks around an image; `caption` in small grey letters below it."""
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(caption, fontsize="small", color=GREY)
    return ax
