"""Models compared on the same examples: what one gains over another, example by example."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from probae import checks
from probae.errors import DataError
from probae.evaluation.estimate import Direction, Estimate
from probae.plots.estimates import check, draw
from probae.plots.style import GREY, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OPPOSITE: dict[Direction, Direction] = {"lower": "upper", "upper": "lower"}


def differences(results: Mapping[str, Estimate], baseline: str | None = None, *, ax: Axes | None = None) -> Axes:
    """By how much models beat a baseline on the same examples, with error bars of two standard errors.

        mean_n d_n ± 2 s / sqrt(N),    d_n the difference of example n, s their standard deviation

    Examples are hard or easy for all models alike, so these bars are much shorter than those of two separate means, and
    one that does not cross zero is evidence. Monte Carlo errors are added in quadrature, though part of them is in s
    already: the bars are rather too long than too short. An arrow shows on which side the truth lies in expectation,
    where the directions of both estimates say so; a hollow point rests on an estimate that is not reliable.

    Args:
        results: name -> estimate, drawn from top to bottom; all with `per_example`, of the same examples.
        baseline: the name of the one that is subtracted; by default the first.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for fewer than two results, without `per_example`, or of other examples.
        ArgumentError: for a baseline that is not among them.

    Example:
        >>> import probae as pb, torch
        >>> from probae.evaluation.estimate import Estimate
        >>> x = torch.randn(100)
        >>> results = {"RBM": Estimate(float(x.mean()), per_example=x)}
        >>> results["VAE"] = Estimate(float(x.mean()) + 1, per_example=x + 1 + 0.1 * torch.randn(100))
        >>> ax = pb.plots.differences(results)
    """
    quantity = check(results)
    if len(results) < 2:
        raise DataError("results", "at least two estimates", len(results))
    name = checks.choice("baseline", next(iter(results)) if baseline is None else baseline, results)
    paired = {other: minus(f"results[{other!r}]", results[other], results[name]) for other in results if other != name}
    ax = axes_or_new(ax, 7.5, 1.3 + 0.36 * len(paired))
    ax.axvline(0, color=GREY, linewidth=1, zorder=0.9)
    ax.annotate(name, (0, 1), (0, 3), xycoords=ax.get_xaxis_transform(), textcoords="offset points", ha="center",
                size="small", color=GREY)  # fmt: skip
    caption = f"{quantity} minus that of {name} (nats per example; bars: ±\N{NO-BREAK SPACE}2 standard errors)"
    return draw(ax, paired, caption, sign="+")


def minus(argument: str, one: Estimate, other: Estimate) -> Estimate:
    """The mean difference of two estimates of the same examples.

    Raises:
        DataError: names the argument, if they are not of the same examples.
    """
    if one.per_example is None or other.per_example is None:
        raise DataError(argument, "estimates with per_example", "one without")
    if one.per_example.shape != other.per_example.shape or one.per_example.numel() < 2:
        shapes = tuple(one.per_example.shape), tuple(other.per_example.shape)
        raise DataError(argument, "at least two values, of the same examples", f"{shapes[0]} and {shapes[1]} of them")
    mine, theirs = _data(one), _data(other)
    if "unknown" not in (mine[0], theirs[0]) and mine != theirs:
        raise DataError(argument, "estimates of the same data", f"{one.protocol} and {other.protocol}")
    gain = one.per_example.detach().cpu().double() - other.per_example.detach().cpu().double()
    return Estimate(
        float(gain.mean()), one.quantity, _direction(one.direction, other.direction),
        math.hypot(one.stderr, other.stderr), float(gain.std()) / math.sqrt(len(gain)), gain,
        reliable=one.reliable and other.reliable,
    )  # fmt: skip


def _data(estimate: Estimate) -> tuple[object, ...]:
    protocol = estimate.protocol
    return protocol.dataset, protocol.split, protocol.binarization, protocol.seed


def _direction(one: Direction, other: Direction) -> Direction:
    """Of a difference: known if both errors push the same way, or only one of the two has any."""
    pushed = _OPPOSITE.get(other, other)  # by what is subtracted
    if "exact" in (one, pushed):
        return one if pushed == "exact" else pushed
    return one if one == pushed else "estimate"
