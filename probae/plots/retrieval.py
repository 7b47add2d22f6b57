"""What a search finds: queries beside their neighbours, and how many of these are right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from probae.errors import DataError
from probae.plots.style import COLOURS, axes_or_new, name_axes, picture, tidy
from probae.plots.tiling import as_images, enlarge, figure_size, gap_width, paint, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.applications.retrieval import Precision

WRONG = COLOURS[2]


def retrieved(
    queries: Tensor,
    found: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    *,
    relevant: Tensor | None = None,
    padding: float = 0.12,
    ax: Axes | None = None,
) -> Axes:
    """A row for each query: the query, and what was retrieved for it, nearest first.

    Args:
        queries: (Q, D), (Q, H, W) or (Q, C, H, W). Values outside [0, 1] widen the grey scale to all that is shown.
        found: the examples retrieved, (Q, k) of the same shape: `database.tensor[neighbours.indices]`.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        relevant: (Q, k) bool, such as of `pb.applications.same_label`; what is not is framed in red.
        padding: width of the gaps, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: if the shapes do not fit each other.

    Example:
        >>> import probae as pb, torch
        >>> x = pb.data.load("digits", binarize="none")
        >>> indices = pb.applications.euclidean_search(x.test[:4], x.train, k=8).indices
        >>> right = pb.applications.same_label(indices, x.test.labels[:4], x.train.labels)
        >>> ax = pb.plots.retrieved(x.test.tensor[:4], x.train.tensor[indices], relevant=right)
    """
    first = as_images("queries", queries, data_shape)
    if not isinstance(found, Tensor) or found.dim() < 3 or len(found) != len(first) or found.shape[1] == 0:
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise DataError("found", f"examples for {len(first)} queries, ({len(first)}, k, ...)", got)
    others = as_images("found", found.flatten(0, 1), tuple(first.shape[1:]))
    right = _right(relevant, tuple(found.shape[:2]))
    low, high = (float(x) for x in torch.cat([first.flatten(), others.flatten()]).aminmax())
    limits = min(0.0, low), max(1.0, high)
    first, others = (enlarge(shades(x, limits)).expand(-1, 3, -1, -1).double() for x in (first, others))
    gap = gap_width(first, padding)
    frame = max(1, gap // 2)
    framed = _framed(others, right.flatten(), frame).unflatten(0, right.shape)
    rows = [_row(one, list(more), gap) for one, more in zip(_framed(first, None, frame), framed, strict=True)]
    grid = torch.cat(rows, dim=1)[:, : -gap or None].permute(1, 2, 0).numpy()
    ax = axes_or_new(ax, *figure_size(grid, right.shape[1] + 2, lines=2))
    caption = "each query (left) and what was retrieved for it, nearest first"
    caption += "" if relevant is None else "; framed: not relevant"
    return picture(ax, paint(grid, channels=3), caption)


def precision_curves(results: Precision | Mapping[str, Precision], *, ax: Axes | None = None) -> Axes:
    """Precision over how many are retrieved, each in a band of two standard errors.

    Args:
        results: of `pb.applications.precision_at_k`: one, or name -> precision.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for no results, or what is none.

    Example:
        >>> import probae as pb, torch
        >>> relevant = torch.rand(200, 50) < torch.linspace(0.9, 0.4, 50)
        >>> ax = pb.plots.precision_curves({"a search": pb.applications.precision_at_k(relevant)})
    """
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if not named:
        raise DataError("results", "at least one precision", "none")
    ax = tidy(axes_or_new(ax, 6.6, 3.6))
    for index, (name, result) in enumerate(named.items()):
        if not hasattr(result, "values") or not hasattr(result, "stderr"):
            raise DataError("results", "what pb.applications.precision_at_k returns", type(result).__name__)
        _curve(ax, name, result, COLOURS[index % len(COLOURS)])
    name_axes(ax, "retrieved, k", "precision: share of them that is relevant")
    ax.set_xscale("log")
    ax.set_ylim(top=1.02)
    ax.xaxis.set_major_formatter("{x:g}")
    if list(named) != [""]:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))  # curves fill the axes
    return ax


def _curve(ax: Axes, name: str, result: Precision, colour: str) -> None:
    k, values, errors = torch.arange(1, len(result.values) + 1), result.values, 2 * result.stderr.nan_to_num()
    ax.plot(k, values, color=colour, linewidth=1.6, label=name, marker="o" if len(k) == 1 else "")
    ax.fill_between(k, values - errors, values + errors, color=colour, alpha=0.2, linewidth=0)


def _right(relevant: Any, shape: tuple[int, ...]) -> Tensor:
    if relevant is None:
        return torch.ones(shape, dtype=torch.bool)
    if not isinstance(relevant, Tensor) or relevant.dtype != torch.bool or tuple(relevant.shape) != shape:
        got = f"{relevant.dtype}, shape {tuple(relevant.shape)}" if isinstance(relevant, Tensor) else repr(relevant)
        raise DataError("relevant", f"booleans of shape {shape}", got)
    return relevant.cpu()


def _framed(images: Tensor, right: Tensor | None, width: int) -> Tensor:
    """(N, 3, H, W) images in frames, white where they are right, red where not."""
    count, _, high, wide = images.shape
    frames = torch.full((count, 3, high + 2 * width, wide + 2 * width), math.inf, dtype=images.dtype)
    if right is not None:
        frames[~right] = torch.tensor(to_rgb(WRONG), dtype=images.dtype)[:, None, None]
    frames[:, :, width:-width, width:-width] = images
    return frames


def _row(query: Tensor, others: list[Tensor], gap: int) -> Tensor:
    """(3, H, W) images from left to right, a wider gap after the first, and one below all."""
    blank = query.new_full((3, query.shape[1], gap), math.inf)
    parts = [query, blank, blank, blank]
    for other in others:
        parts += [other, blank]
    row = torch.cat(parts[:-1], dim=2)
    return torch.cat([row, row.new_full((3, gap, row.shape[2]), math.inf)], dim=1)
