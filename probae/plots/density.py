"""Densities in the plane: shades and lines by how much probability lies where it is denser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.plots.style import COLOURS, area, axes_or_new, note, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LogDensity = Callable[[Tensor], Tensor]
"""From (M, 2) points to their (M,) log-densities, which need not be normalized."""

Box = tuple[tuple[float, float], tuple[float, float]]

REGIONS = (0.5, 0.9, 0.99)
DARK = "#174f86"
SHADES = LinearSegmentedColormap.from_list("probae", ["white", "#d9e9f8", COLOURS[0], DARK])


def density(
    log_prob: LogDensity,
    x: Tensor | None = None,
    limits: Box | None = None,
    *,
    steps: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """A density in the plane: the darker, the more probability lies where it is less dense; with data on top.

    The shade of a place p is 1 - P(places denser than p), so that a density on any scale can be seen at once. Lines
    enclose the smallest regions that hold 50%, 90% and 99% of the probability, all of it that is in the picture.

    Args:
        log_prob: the log-density of (M, 2) points, (M,); a constant may be missing, so minus an energy will do. Of a
            VAE, `lambda x: vae.log_likelihood(x, num_samples=100).per_example`.
        x: (N, 2) points to draw on top.
        limits: ((left, right), (bottom, top)); by default a square that holds `x`, with a margin.
        steps: points of the grid in either direction.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for points that are not (N, 2) and finite.
        ArgumentError: for a function whose values are not (M,) log-densities, or neither `x` nor `limits`.

    Example:
        >>> import probae as pb, torch
        >>> log_prob = lambda x: -x.square().sum(1) / 2
        >>> ax = pb.plots.density(log_prob, torch.randn(300, 2))
        >>> ax.get_title(loc="right")
        'lines enclose 50%, 90% and 99%'
    """
    points = None if x is None else plane_points("x", x)
    box = given_or_around(points, limits)
    steps = checks.positive_int("steps", steps, minimum=2)
    across, up, mass = masses("log_prob", log_prob, box, steps, like=x)
    ax = tidy(axes_or_new(ax, 4.6, 4.4))
    ax.imshow(1 - mass.numpy(), extent=_extent(across, up), origin="lower", cmap=SHADES, vmin=0, vmax=1)
    regions(ax, across, up, mass, colors=DARK, linewidths=0.8)
    if points is not None:
        size = min(20.0, max(1.0, 0.03 * area(ax) / len(points)))
        ax.scatter(*points.T.numpy(), s=size, color=COLOURS[1], linewidths=0, alpha=0.8, rasterized=True)
    ax.grid(visible=False)
    ax.set(xlim=box[0], ylim=box[1], aspect="equal")
    return note(ax, "lines enclose 50%, 90% and 99%")


def plane_points(argument: str, x: Any) -> Tensor:
    """`x` as (N, 2) points in float64 on the CPU.

    Raises:
        DataError: for anything else.
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or x.shape[1] != 2:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise DataError(argument, "a tensor of shape (N, 2)", got)
    return checks.examples(argument, x, (2,)).detach().cpu().double()


def around(points: Tensor, margin: float) -> Box:
    """A square that holds (N, 2) points and a margin, a share of the longer side of what they fill."""
    low, high = points.min(0).values, points.max(0).values
    reach = (0.5 + margin) * max(float((high - low).max()), 1e-6)
    across, up = ((low + high) / 2).tolist()
    return (across - reach, across + reach), (up - reach, up + reach)


def given_or_around(points: Tensor | None, limits: Any) -> Box:
    """The limits of a picture, checked; a square that holds the points, where none are given."""
    if limits is None:
        if points is None:
            raise ArgumentError("limits", "((left, right), (bottom, top)), where no x is given", None)
        return around(points, 0.08)
    try:
        (left, right), (bottom, top) = limits
    except (TypeError, ValueError) as error:
        raise ArgumentError("limits", "((left, right), (bottom, top))", repr(limits)) from error
    left, right, bottom, top = (checks.real("limits", value) for value in (left, right, bottom, top))
    if left >= right or bottom >= top:
        raise ArgumentError("limits", "left below right and bottom below top", repr(limits))
    return (left, right), (bottom, top)


def masses(
    argument: str, log_prob: Any, box: Box, steps: int, like: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The two axes of a grid, and for each of its points how much probability lies where it is denser.

    Args:
        argument: the name of `log_prob` for errors.
        log_prob: from (M, 2) to (M,).
        box: the limits of the grid, whose whole probability counts as 1.
        steps: points in either direction.
        like: whose device and dtype the points get.

    Returns:
        (steps,) across, (steps,) up, and (steps up, steps across) in [0, 1], float64, half of its own share included.
    """
    across, up = (torch.linspace(*limits, steps, dtype=torch.float64) for limits in box)
    points = torch.cartesian_prod(up, across).flip(1)
    points = points.to(like) if like is not None else points.float()
    values = _values(argument, log_prob, points)
    levels, place = values.unique(return_inverse=True)
    shares = levels.new_zeros(len(levels)).index_add(0, place, values.softmax(0))
    return across, up, (1 - shares.cumsum(0) + shares / 2)[place].reshape(steps, steps).clamp(0, 1)


def regions(ax: Axes, across: Tensor, up: Tensor, mass: Tensor, **looks: Any) -> None:
    """Lines around the smallest regions with 50%, 90% and 99% of the probability."""
    levels = [level for level in REGIONS if float(mass.min()) < level < float(mass.max())]
    if levels:
        ax.contour(across.numpy(), up.numpy(), mass.numpy(), levels=levels, **looks)


def _values(argument: str, log_prob: Any, points: Tensor) -> Tensor:
    if not callable(log_prob):
        raise ArgumentError(argument, "a function from (M, 2) points to (M,) log-densities", type(log_prob).__name__)
    with torch.no_grad():
        values = log_prob(points)
    if not isinstance(values, Tensor) or values.shape != points.shape[:1]:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ArgumentError(argument, f"values of shape ({len(points)},) for points of {tuple(points.shape)}", got)
    values = values.detach().cpu().double()
    if bool((values.isnan() | (values == torch.inf)).any()) or not bool(values.isfinite().any()):
        raise ArgumentError(argument, "log-densities, which are finite or minus infinity", "others in this picture")
    return values


def _extent(across: Tensor, up: Tensor) -> tuple[float, float, float, float]:
    """Of an image whose pixels have their centres on the grid."""
    wide, high = float(across[1] - across[0]) / 2, float(up[1] - up[0]) / 2
    return float(across[0]) - wide, float(across[-1]) + wide, float(up[0]) - high, float(up[-1]) + high
