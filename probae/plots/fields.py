"""Vector fields in the plane: where each place is sent, with data below."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError
from probae.plots.density import Box, given_or_around, plane_points
from probae.plots.style import COLOURS, GREY, area, axes_or_new, inches, tidy, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Field = Callable[[Tensor], Tensor]
"""From (M, 2) points to the (M, 2) vectors that start there."""


def vector_field(
    field: Field,
    x: Tensor | None = None,
    limits: Box | None = None,
    *,
    steps: int = 20,
    scale: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A vector field in the plane as arrows on a grid, such as the score that a denoising autoencoder learned.

    Each arrow starts where its vector was taken and is `scale` times as long; a dot is a vector that is nearly zero.

    Args:
        field: the vectors at (M, 2) points, (M, 2): `denoising.score`, or `lambda x: model.reconstruct(x) - x`.
        x: (N, 2) points to draw below, such as data.
        limits: ((left, right), (bottom, top)); by default a square that holds `x`, with a margin.
        steps: arrows along the longer side.
        scale: the length of an arrow for a vector of length one: 1 draws each to where it leads. By default the longest
            reaches over one step of the grid. The remark below the picture says what it is; of pictures that are to be
            compared, all need the same.
        ax: where to draw, also on top of `pb.plots.density`; None makes a new figure.

    Raises:
        DataError: for points that are not (N, 2) and finite.
        ArgumentError: for a function whose values are not (M, 2) finite vectors, or neither `x` nor `limits`.

    Source:
        Alain and Bengio 2014 (arXiv 1211.4246), figure 5.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.vector_field(lambda x: -x, torch.randn(300, 2), scale=0.25)
        >>> ax.get_xlabel().partition(",")[0]
        'lengths times 0.25'
    """
    points = None if x is None else plane_points("x", x)
    (left, right), (bottom, top) = box = given_or_around(points, limits)
    steps = checks.positive_int("steps", steps, minimum=2)
    if scale is not None:
        scale = checks.real("scale", scale, low=0.0, open_low=True)
    step = max(right - left, top - bottom) / steps
    starts = torch.cartesian_prod(*(_centres(*side, step) for side in box))
    vectors = _vectors(field, starts.to(x) if x is not None else starts.float())
    longest = float(vectors.norm(dim=1).max())
    scale = scale or (step / longest if longest > 0 else 1.0)
    ax = tidy(axes_or_new(ax, 4.6, 4.4))
    if points is not None:
        size = min(20.0, max(1.0, 0.08 * area(ax) / len(points)))
        ax.scatter(*points.T.numpy(), s=size, color=COLOURS[0], linewidths=0, alpha=0.8, rasterized=True)
    looks: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1 / scale, "color": COLOURS[2]}
    looks["zorder"] = 2.5
    ax.quiver(*starts.T.numpy(), *vectors.T.numpy(), width=0.07 / steps, minlength=0.5, **looks)
    ax.grid(visible=False)
    ax.set(xlim=box[0], ylim=box[1], aspect="equal")
    remark = f"lengths times {_short(scale)}, longest vector {_short(longest)}"
    ax.set_xlabel(wrapped(remark, inches(ax)[0]), fontsize="small", color=GREY)
    return ax


def _centres(low: float, high: float, step: float) -> Tensor:
    """The middles of as many cells of about a step as fit between two limits."""
    count = max(1, round((high - low) / step))
    return low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def _short(value: float) -> str:
    """Two digits of it, such as 0.053 or 140."""
    return f"{float(f'{value:.2g}'):g}"


def _vectors(field: Any, points: Tensor) -> Tensor:
    if not callable(field):
        raise ArgumentError("field", "a function from (M, 2) points to (M, 2) vectors", type(field).__name__)
    with torch.no_grad():
        vectors = field(points)
    if not isinstance(vectors, Tensor) or vectors.shape != points.shape:
        got = f"shape {tuple(vectors.shape)}" if isinstance(vectors, Tensor) else type(vectors).__name__
        raise ArgumentError("field", f"vectors of shape {tuple(points.shape)} for as many points", got)
    vectors = vectors.detach().cpu().double()
    if not bool(vectors.isfinite().all()):
        raise ArgumentError("field", "finite vectors", "others in this picture")
    return vectors
