"""Estimates beside each other, each with its errors, its direction and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from probae.errors import DataError
from probae.plots.style import COLOURS, axes_or_new, inches, tidy, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.evaluation.estimate import Estimate

WIDE = 4.0  # inches
_SIDES = {"lower": 1, "upper": -1}  # where, seen from a bound, the truth lies


def estimates(results: Mapping[str, Estimate], *, ax: Axes | None = None) -> Axes:
    """Estimates as points with error bars of two standard errors, Monte Carlo and data together.

    An arrow shows on which side of a bound the truth lies in expectation; a hollow point is not reliable.

    Args:
        results: name -> estimate, drawn from top to bottom, all of the same quantity.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for no results, different quantities, or a value that is not finite.

    Example:
        >>> import probae as pb
        >>> from probae.evaluation.estimate import Estimate
        >>> ax = pb.plots.estimates({
        ...     "VAE": Estimate(-23.4, stderr=0.05, stderr_data=0.3, direction="lower"),
        ...     "RBM": Estimate(-25.1, stderr=0.4, stderr_data=0.3, direction="upper", reliable=False),
        ... })
    """
    quantity = check(results)
    per_example = any(estimate.stderr_data is not None for estimate in results.values())
    unit = "nats per example" if per_example else "nats"
    ax = axes_or_new(ax, 7.5, 0.9 + 0.36 * len(results))
    return draw(ax, results, f"{quantity} ({unit}; bars: ±\N{NO-BREAK SPACE}2 standard errors)")


def draw(ax: Axes, results: Mapping[str, Estimate], caption: str, sign: str = "") -> Axes:
    """A row for each estimate, with its number beside it."""
    tidy(ax)
    wide = inches(ax)[0] > WIDE
    for row, estimate in enumerate(results.values()):
        _draw(ax, row, estimate)
        beside: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        ax.annotate(_in_words(estimate, wide, sign), (1, row), (8, 0), **beside, size="small", va="center")
    size = "medium" if wide else "small"
    ax.set_yticks(range(len(results)), list(results), fontsize=size)
    ax.set_ylim(len(results) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(wrapped(caption, 0.8 * inches(ax)[0]), fontsize=size)
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    ax.margins(x=0.1 if wide else 0.25)  # room for arrows
    return ax


def error(estimate: Estimate) -> float:
    """Two standard errors, the Monte Carlo one and that of the examples added in quadrature."""
    return 2 * math.hypot(estimate.stderr, estimate.stderr_data or 0.0)


def check(results: Any) -> str:
    """The one quantity of all estimates, which are finite; else an error that names `results`."""
    if not isinstance(results, Mapping) or not results:
        raise DataError("results", "a non-empty mapping from names to estimates", repr(results))
    for name, estimate in results.items():
        if not hasattr(estimate, "direction"):
            raise DataError(f"results[{name!r}]", "an estimate", type(estimate).__name__)
    quantities = {estimate.quantity for estimate in results.values()}
    if len(quantities) > 1:
        raise DataError("results", "estimates of one quantity", ", ".join(sorted(quantities)))
    for name, estimate in results.items():
        if not math.isfinite(estimate.value) or not math.isfinite(error(estimate)):
            raise DataError(f"results[{name!r}]", "a finite estimate", f"{estimate.value} ± {error(estimate) / 2}")
    return quantities.pop()


def _draw(ax: Axes, row: int, estimate: Estimate) -> None:
    colour = COLOURS[0]
    face = colour if estimate.reliable else "white"
    bar = ax.errorbar(estimate.value, row, xerr=error(estimate), fmt="o", color=colour, elinewidth=1.6)
    bar.lines[0].set(markersize=7, markerfacecolor=face)
    if estimate.direction in _SIDES:
        side = _SIDES[estimate.direction]
        end = (estimate.value + side * error(estimate), row)
        style: dict[str, Any] = {"va": "center_baseline", "ha": "center", "size": "x-large", "color": colour}
        ax.annotate("→" if side > 0 else "←", end, (side * 12, 0), textcoords="offset points", **style)


def _in_words(estimate: Estimate, whole: bool, sign: str) -> str:
    """The number and its error; what the arrow and the hollow point say is said again where there is room."""
    bar = error(estimate)
    digits = 2 if bar == 0 else min(8, max(2, 1 - math.floor(math.log10(bar))))  # two of the error, at least
    number = f"{estimate.value:{sign}.{digits}f}".replace("-", "−") + (f" ± {bar:.{digits}f}" if bar else "")
    direction = {"exact": "exact", "lower": "lower bound", "upper": "upper bound", "estimate": ""}[estimate.direction]
    said = [direction, "" if estimate.reliable else "not reliable"] if whole else []
    return ", ".join(filter(None, [number, *said]))
