"""What clusters hold: the examples nearest to the centre of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probae import checks
from probae.errors import DataError
from probae.plots.style import GREY, axes_or_new, picture
from probae.plots.tiling import as_images, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.applications.clusters import Clusters


def clusters(
    found: Clusters,
    x: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    cols: int = 10,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    padding: float = 0.07,
    ax: Axes | None = None,
) -> Axes:
    """A row for each cluster: the examples whose codes are nearest to its centre, the nearest first.

    Beside each stands its size, and where labels are known the commonest one with its share.

    Args:
        found: of `pb.applications.clusters`.
        x: the examples that were clustered: (N, D), (N, H, W) or (N, C, H, W).
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        cols: how many of each cluster; a smaller one leaves its row in part empty.
        limits: the values that are black and white; those beyond are drawn as these.
        padding: width of the gaps, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: names `x`, for other than as many images as were clustered.

    See also:
        `latent_scatter(found.codes, found.assignments)`, the map of the clusters.

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> ppca = pb.ProbabilisticPCA(64, latent_dim=10).fit_closed_form(digits.train)
        >>> found = pb.applications.clusters(ppca, digits.test, num_clusters=10)
        >>> ax = pb.plots.clusters(found, digits.test.tensor)
    """
    images = enlarge(shades(as_images("x", x, data_shape), limits))
    if len(images) != len(found.assignments):
        raise DataError("x", f"the {len(found.assignments)} examples that were clustered", f"{len(images)}")
    cols = checks.positive_int("cols", cols)
    distances = (found.codes - found.centres[found.assignments]).square().sum(1)
    nearest = [_nearest(found.assignments == k, distances)[:cols] for k in range(len(found.sizes))]
    cols = max(map(len, nearest))
    blank = torch.full((1, *images.shape[1:]), torch.inf)
    rows = [torch.cat([images[row], blank.expand(cols - len(row), -1, -1, -1).to(images)]) for row in nearest]
    gap = gap_width(images, padding)
    grid = tile(torch.cat(rows), cols, gap)
    said = [_in_words(found, k) for k in range(len(rows))]
    ax = axes_or_new(ax, *figure_size(grid, cols, beside=0.2 + 0.08 * max(map(len, said))))
    picture(ax, paint(grid, images.shape[1]))
    height = images.shape[2]
    places = [k * (height + gap) + (height - 1) / 2 for k in range(len(rows))]
    ax.set_yticks(places, said, fontsize="small", color=GREY)
    ax.tick_params(length=0)
    return ax


def _nearest(chosen: Tensor, distances: Tensor) -> Tensor:
    members = chosen.nonzero().flatten()
    return members[distances[members].argsort(stable=True)]


def _in_words(found: Clusters, cluster: int) -> str:
    """Its size, and what most of it is."""
    said = f"{int(found.sizes[cluster])}"
    labels: Any = None if found.labels is None else found.labels[found.assignments == cluster]
    if labels is None or not bool((labels >= 0).any()):
        return said
    counts = labels[labels >= 0].bincount()
    return f"{said}: {float(counts.max() / counts.sum()):.0%} are {int(counts.argmax())}"
