"""Where a model puts its examples: latent codes in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from matplotlib.patheffects import withStroke
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.plots.density import REGIONS, LogDensity, around, masses, regions
from probae.plots.style import COLOURS, GREY, area, axes_or_new, name_axes, note, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNKNOWN: dict[str, Any] = {"marker": "+", "color": "0.75", "linewidths": 0.6}


def latent_scatter(
    z: Tensor, labels: Tensor | None = None, *, log_density: LogDensity | None = None, ax: Axes | None = None
) -> Axes:
    """Latent codes as points; of more than two dimensions, the plane in which they vary most.

    Args:
        z: (N, L) with L at least two; beyond two, the first two principal components are drawn.
        labels: (N,) integers, -1 for unknown. A class has a colour, and its label stands at its median.
        log_density: of two latent dimensions, (M, 2) to (M,), such as `vae.prior.distribution().log_prob`: lines
            enclose the smallest regions that hold 50%, 90% and 99% of it (of what is within three times the range of
            the codes).
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for another shape, NaN, or labels that are not N integers.
        ArgumentError: for a density of more than two dimensions.

    Example:
        >>> import probae as pb, torch
        >>> ax = pb.plots.latent_scatter(torch.randn(200, 8), labels=torch.arange(200) % 10)
        >>> ax.get_xlabel().partition(" (")[0]
        'first principal component'
    """
    codes, names = plane(_codes(z))
    classes = torch.zeros(len(codes), dtype=torch.long) if labels is None else _labels(labels, len(codes))
    if log_density is not None and z.shape[1] != 2:
        raise ArgumentError("log_density", "none for more than two latent dimensions", f"one beside {z.shape[1]}")
    ax = tidy(axes_or_new(ax, 4.8, 4.4))
    if log_density is not None:
        _draw_regions(ax, codes, log_density, z)
    _draw_points(ax, codes, classes)
    if labels is not None:
        _name_classes(ax, codes, classes)
    name_axes(ax, *names)
    ax.set_aspect("equal", adjustable="datalim")
    remarks = ["+ unknown label"] * bool((classes < 0).any())
    remarks += ["lines enclose 50%, 90% and 99%"] * (log_density is not None)
    return note(ax, ", ".join(remarks))


def plane(codes: Tensor, like: Tensor | None = None) -> tuple[Tensor, tuple[str, str]]:
    """(..., L) codes as (..., 2), and the names of the two axes: the plane in which `like`, or they, (N, L), vary most.

    The principal components are eigenvectors of the covariance, the largest entry of each positive: the same codes give
    the same picture.
    """
    if codes.shape[-1] == 2:
        return codes, ("first latent dimension", "second latent dimension")
    like = codes if like is None else like
    centred = like - like.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred)
    variances, directions = variances.flip(0), directions.flip(1)[:, :2]
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    shares = (variances[:2] / variances.sum().clamp_min(1e-300)).tolist()
    first, second = (f"{share:.0%} of the variance" for share in shares)
    return (codes - like.mean(0)) @ (directions * largest.sign()), (
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


def _draw_points(ax: Axes, codes: Tensor, classes: Tensor) -> None:
    """Unknown classes below; the others mixed, the same way each time, so that no class hides another."""
    size = min(30.0, max(2.0, 0.14 * area(ax) / len(codes)))
    unknown = classes < 0
    if unknown.any():
        ax.scatter(*codes[unknown].T.numpy(), s=size, rasterized=True, **UNKNOWN)
    order = torch.arange(len(codes))
    if (classes != classes[0]).any():
        order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    order = order[~unknown[order]]
    colours = [COLOURS[label % len(COLOURS)] for label in classes[order].tolist()]
    ax.scatter(*codes[order].T.numpy(), s=size, c=colours, alpha=0.7, linewidths=0, rasterized=True)


def _draw_regions(ax: Axes, codes: Tensor, log_density: LogDensity, like: Tensor) -> None:
    across, up, mass = masses("log_density", log_density, around(codes, 1.0), 300, like=like)
    inside = mass < max(REGIONS)
    columns, rows = (inside.any(axis).nonzero().flatten() for axis in (0, 1))
    crop = [slice(max(0, int(at[0]) - 1), int(at[-1]) + 2) for at in (columns, rows)]  # the axes hold what is drawn
    regions(ax, across[crop[0]], up[crop[1]], mass[crop[1], crop[0]], colors=GREY, linewidths=0.8)


def _name_classes(ax: Axes, codes: Tensor, classes: Tensor) -> None:
    halo = [withStroke(linewidth=3, foreground="white")]
    for label in classes[classes >= 0].unique().tolist():
        x, y = codes[classes == label].median(dim=0).values.tolist()
        ax.text(x, y, str(label), ha="center", va="center", weight="bold", path_effects=halo)
