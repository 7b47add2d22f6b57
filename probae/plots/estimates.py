"""Estimates beside each other, each with its errors, its direction and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from probae.errors import DataError
from probae.plots.style import COLOURS, axes_or_new, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.evaluation.estimate import Estimate

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
    quantity = _check(results)
    ax = tidy(axes_or_new(ax, 7.5, 0.9 + 0.36 * len(results)))
    for row, estimate in enumerate(results.values()):
        _draw(ax, row, estimate)
    ax.set_yticks(range(len(results)), list(results), fontsize="medium")
    ax.set_ylim(len(results) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    per_example = any(estimate.stderr_data is not None for estimate in results.values())
    ax.set_xlabel(f"{quantity} ({'nats per example' if per_example else 'nats'}; bars: ± 2 standard errors)")
    ax.margins(x=0.1)
    return ax


def error(estimate: Estimate) -> float:
    """Two standard errors, the Monte Carlo one and that of the examples added in quadrature."""
    return 2 * math.hypot(estimate.stderr, estimate.stderr_data or 0.0)


def _check(results: Any) -> str:
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
    beside: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
    ax.annotate(_in_words(estimate), (1, row), (8, 0), **beside, size="small", va="center")


def _in_words(estimate: Estimate) -> str:
    number = f"{estimate.value:.2f}".replace("-", "−") + (f" ± {error(estimate):.2f}" if error(estimate) else "")
    direction = {"exact": "exact", "lower": "lower bound", "upper": "upper bound", "estimate": ""}[estimate.direction]
    return ", ".join(filter(None, [number, direction, "" if estimate.reliable else "not reliable"]))
