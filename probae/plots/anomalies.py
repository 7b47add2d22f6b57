"""Telling normal from strange: what each threshold detects, and where in an example the strangeness lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from probae.errors import DataError
from probae.plots.style import COLOURS, GREY, axes_or_new, name_axes, picture, tidy
from probae.plots.tiling import as_images, columns, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.applications.anomalies import ROC

STRANGE = LinearSegmentedColormap.from_list("strange", ["white", "#f3b8a5", COLOURS[2], "#4d0c00"])


def roc(curves: ROC | Mapping[str, ROC], *, ax: Axes | None = None) -> Axes:
    """Receiver operating characteristics: the share of anomalies detected over that of false alarms.

    Each with the area under it, ± its standard error. The dotted diagonal is chance.

    Args:
        curves: of `pb.applications.roc`: one, or name -> curve.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for no curves, or what is none.

    Example:
        >>> import probae as pb, torch
        >>> curve = pb.applications.roc(torch.randn(500), torch.randn(200) + 1.5)
        >>> ax = pb.plots.roc({"shifted by 1.5": curve})
    """
    named = _named(curves)
    ax = tidy(axes_or_new(ax, 4.4, 4.2))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)))
    for index, (name, curve) in enumerate(named.items()):
        label = f"{name}{': ' if name else 'AUROC '}{curve.auroc:.3f} ± {curve.stderr:.3f}"
        points = curve.false_alarm.numpy(), curve.detection.numpy()
        ax.plot(*points, color=COLOURS[index % len(COLOURS)], linewidth=1.6, label=label)
    name_axes(ax, "false alarms, of normal examples", "detected, of anomalies")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    title = "area under the curve" if list(named) != [""] else None
    ax.legend(frameon=False, fontsize="small", loc="lower right", title=title, title_fontsize="small")
    return ax


def anomaly_maps(
    x: Tensor,
    maps: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    cols: int | None = None,
    *,
    limits: tuple[float, float] | None = None,
    padding: float = 0.2,
    ax: Axes | None = None,
) -> Axes:
    """Examples, each with the strangeness of its pixels below it: the darker, the stranger.

    Args:
        x: (N, D), (N, H, W) or (N, C, H, W). Values outside [0, 1] widen the scale to the range of `x`.
        maps: the same shape, such as `model.anomaly_map(x)`, in nats; those of several channels are added up.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        cols: pairs in a row.
        limits: the values that are white and darkest; by default the smallest of the maps, and what a thousandth of
            their values exceed.
        padding: width of the gaps between pairs, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: if the two are not equally many images of the same shape.

    Example:
        >>> import probae as pb, torch
        >>> x = torch.rand(20, 64).round()
        >>> ax = pb.plots.anomaly_maps(x, pb.RBM(64, 8).anomaly_map(x))
    """
    above, below = as_images("x", x, data_shape), as_images("maps", maps, data_shape)
    if above.shape != below.shape:
        raise DataError("maps", f"images like x, {tuple(above.shape)}", tuple(below.shape))
    low, high = min(0.0, float(above.min())), max(1.0, float(above.max()))
    above = shades(above, (low, high)).expand(-1, 3, -1, -1)
    below = below.double().sum(1, keepdim=True)
    limits = _limits(below) if limits is None else limits
    coloured = torch.from_numpy(STRANGE(shades(below, limits)[:, 0].numpy())[..., :3]).permute(0, 3, 1, 2)
    above, below = enlarge(above), enlarge(coloured.to(above))
    line = above.new_full((*above.shape[:2], gap_width(above, 0.04), above.shape[3]), torch.nan)
    pairs = torch.cat([above, line, below], dim=2)
    _, cols = columns(len(pairs), None, cols, aspect=2.0)
    grid = tile(pairs, cols, gap_width(pairs, padding), between=torch.inf)
    ax = axes_or_new(ax, *figure_size(grid, cols, lines=2))
    caption = f"each example above its anomaly map, from {limits[0]:.2g} (white) to {limits[1]:.2g} nats (dark)"
    return picture(ax, paint(grid, channels=1), caption)


def _named(curves: Any) -> dict[str, ROC]:
    named = dict(curves) if isinstance(curves, Mapping) else {"": curves}
    if not named:
        raise DataError("curves", "at least one curve", "none")
    for name, curve in named.items():
        if not hasattr(curve, "auroc"):
            where = f"curves[{name!r}]" if name else "curves"
            raise DataError(where, "what pb.applications.roc returns", type(curve).__name__)
    return named


def _limits(maps: Tensor) -> tuple[float, float]:
    values = maps.flatten()
    low, most = float(values.min()), float(values.kthvalue(max(1, round(0.999 * len(values)))).values)
    return low, most if most > low else low + 1.0
