"""Where a model puts its examples: latent codes in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from probae import checks
from probae.errors import DataError
from probae.plots.style import COLOURS, GREY, axes_or_new, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNKNOWN: dict[str, Any] = {"marker": "+", "color": "0.75", "linewidths": 0.6}


def latent_scatter(z: Tensor, labels: Tensor | None = None, *, ax: Axes | None = None) -> Axes:
    """Latent codes as points; of more than two dimensions, the plane in which they vary most.

    Args:
        z: (N, L) with L at least two; beyond two, the first two principal components are drawn.
        labels: (N,) integers, -1 for unknown. A class has a colour, and its label stands at its median.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or labels that are not N integers.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.latent_scatter(torch.randn(200, 8), labels=torch.arange(200) % 10)
        >>> ax.get_xlabel().partition(" (")[0]
        'first principal component'
    """
    codes, names = plane(_codes(z))
    classes = torch.zeros(len(codes), dtype=torch.long) if labels is None else _labels(labels, len(codes))
    ax = tidy(axes_or_new(ax, 4.8, 4.4))
    size = min(30.0, max(2.0, 15000 / len(codes)))
    for label in classes.unique().tolist():  # in order, so unknown ones (-1) lie below the others
        looks = UNKNOWN if label < 0 else {"color": COLOURS[label % len(COLOURS)], "alpha": 0.7, "linewidths": 0}
        ax.scatter(*codes[classes == label].T.numpy(), s=size, rasterized=True, **looks)
    if labels is not None:
        _name_classes(ax, codes, classes)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def plane(codes: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """(N, L) codes as (N, 2), and the names of the two axes.

    The principal components are eigenvectors of the covariance, the largest entry of each positive: the same codes give
    the same picture.
    """
    if codes.shape[1] == 2:
        return codes, ("first latent dimension", "second latent dimension")
    centred = codes - codes.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred)
    variances, directions = variances.flip(0), directions.flip(1)[:, :2]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    shares = (variances[:2] / variances.sum().clamp_min(1e-300)).tolist()
    first, second = (f"{share:.0%} of the variance" for share in shares)
    return centred @ (directions * largest.sign()), (
        f"first principal component ({first})",
        f"second principal component ({second})",
    )


def _codes(z: Any) -> Tensor:
    if not isinstance(z, Tensor) or z.dim() != 2 or z.shape[1] < 2:
        got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise DataError("z", "a tensor of shape (N, L) with L at least 2", got)
    return checks.examples("z", z, (z.shape[1],)).detach().cpu().double()


def _labels(labels: Any, count: int) -> Tensor:
    integers = isinstance(labels, Tensor) and not labels.is_floating_point() and not labels.is_complex()
    if not integers or labels.shape != (count,):
        got = f"{labels.dtype}, shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError("labels", f"a tensor of {count} integers", got)
    return labels.detach().cpu().long()


def _name_classes(ax: Axes, codes: Tensor, classes: Tensor) -> None:
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in classes[classes >= 0].unique().tolist():
        x, y = codes[classes == label].median(dim=0).values.tolist()
        ax.text(x, y, str(label), ha="center", va="center", weight="bold", path_effects=halo)
    if (classes < 0).any():
        ax.set_title("+ unknown label", fontsize="small", color=GREY, loc="right")
