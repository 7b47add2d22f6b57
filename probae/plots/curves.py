"""How training went: what was recorded at each epoch, drawn over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.plots.style import COLOURS, GREY, axes_or_new, name_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.engine.run import Run

History = Mapping[str, Sequence[float | None]]


def learning_curves(
    history: History | Run,
    columns: Sequence[str] | None = None,
    *,
    best_epoch: int | None = None,
    ylabel: str = "nats per example",
    ax: Axes | None = None,
) -> Axes:
    """Columns of a training history over its epochs.

    Losses (columns whose names end in "loss") are drawn negated beside others, so that both read higher is better.

    Args:
        history: of a `pb.Run`, or the run itself: column -> its value at each epoch, None or NaN where there is none;
            "epoch" holds the epochs.
        columns: which to draw; by default those that begin with "train_" or "valid_", or else all.
        best_epoch: an epoch to mark.
        ylabel: what the columns are measured in.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for a history without "epoch", without other columns, or with columns of different lengths.
        ArgumentError: for a column that is not in the history, or that holds no number.

    Example:
        >>> import probae as pb
        >>> history = {"epoch": [1, 2, 3], "train_loss": [30.0, 27.0, 25.5], "valid_elbo": [-29.0, None, -26.2]}
        >>> ax = pb.plots.learning_curves(history, best_epoch=3)
    """
    history = _history(history)
    names = _columns(history, columns)
    points = {name: _points(history, name) for name in names}
    losses = {name for name in names if name.endswith("loss")}
    negated = losses if len(losses) < len(names) else set()
    ax = tidy(axes_or_new(ax, 5.5, 3.4))
    for name in names:
        _draw(ax, points[name], name, _colour(history, name), name in negated)
    if best_epoch is not None:
        _mark(ax, checks.positive_int("best_epoch", best_epoch, minimum=0))
    name_axes(ax, "epoch", ylabel)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    ax.legend(frameon=False, fontsize="small")
    return ax


def _history(given: Any) -> History:
    return getattr(given, "history", given)


def _columns(history: History, columns: Sequence[str] | None) -> list[str]:
    if not isinstance(history, Mapping) or "epoch" not in history or len(history) < 2:
        got = sorted(history) if isinstance(history, Mapping) else type(history).__name__
        raise DataError("history", "a mapping with 'epoch' and at least one other column", got)
    others = [name for name in history if name != "epoch"]
    if columns is None:
        return [name for name in others if _is_result(name)] or others
    if isinstance(columns, str) or not columns:
        raise ArgumentError("columns", "a non-empty list of column names", repr(columns))
    return [checks.choice("columns", name, others) for name in columns]


def _points(history: History, name: str) -> list[tuple[Any, Any]]:
    epochs, values = history["epoch"], history[name]
    if len(values) != len(epochs):
        raise DataError("history", f"{len(epochs)} values in {name!r}, as many as epochs", len(values))
    points = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if _is_number(value)]
    if not points:
        raise ArgumentError("columns", f"at least one number in {name!r}", "none")
    return points


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _draw(ax: Axes, points: list[tuple[float, float]], name: str, colour: str, negated: bool) -> None:
    sign, marker = (-1 if negated else 1), ("o" if len(points) <= 15 else "")
    label = ("−" if negated else "") + name.replace("_", " ").replace("elbo", "ELBO")
    xs, ys = zip(*((epoch, sign * value) for epoch, value in points), strict=True)
    ax.plot(xs, ys, color=colour, marker=marker, markersize=3.5, linewidth=1.6, label=label)


def _mark(ax: Axes, epoch: int) -> None:
    ax.axvline(epoch, color=GREY, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    left, right = ax.get_xlim()
    share = (epoch - left) / (right - left)
    side: Any = "left" if share < 0.2 else "right" if share > 0.8 else "center"  # within the axes
    transform = ax.get_xaxis_transform()  # epochs across, shares of the height up
    ax.text(epoch, 1.01, f"best: epoch {epoch}", transform=transform, ha=side, fontsize="small", color=GREY)


def _colour(history: History, name: str) -> str:
    """The same in every picture of one history, whatever else is drawn."""
    columns = sorted((other for other in history if other != "epoch"), key=lambda other: not _is_result(other))
    return COLOURS[columns.index(name) % len(COLOURS)]


def _is_result(name: str) -> bool:
    return name.startswith(("train_", "valid_"))
