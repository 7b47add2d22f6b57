"""The map over the epochs, as a film: where a model puts its examples while it learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from torch import Tensor

from probae import checks
from probae.errors import DataError
from probae.plots.film import write_film
from probae.plots.latent import _labels, plane
from probae.plots.style import COLOURS, name_axes, note, tidy

_INSIDE = 0.995  # of all points of all maps, along each axis


def map_animation(
    path: str | Path,
    codes: Tensor,
    labels: Tensor | None = None,
    *,
    epochs: Sequence[int] | None = None,
    seconds: float = 0.2,
    size: float = 4.6,
    dpi: int = 90,
) -> Path:
    """Write a GIF of latent codes over the epochs, one map after the other.

    Axes, colours and the way from L dimensions to two stay the same throughout, so that nothing moves but the codes: of
    more than two dimensions, it is the plane in which those of the last epoch vary most. A few points that stray far
    from all others may leave the picture.

    Args:
        path: of the file, which should end in ".gif".
        codes: (E, N, L), such as those of a `pb.applications.MapRecorder`.
        labels: (N,) integers, -1 for unknown. A class has a colour, and its label stands at its median.
        epochs: after which epochs they were recorded, to be written above; by default 0, 1, 2, ...
        seconds: how long each map stays.
        size: width and height in inches.
        dpi: pixels an inch.

    Returns:
        The path.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb, tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     codes = torch.randn(1, 50, 3) * torch.tensor([0.1, 1.0])[:, None, None]
        ...     map_animation(f"{folder}/map.gif", codes, torch.arange(50) % 3).name
        'map.gif'
    """
    points, names = _maps(codes)
    known = torch.zeros(points.shape[1], dtype=torch.long) if labels is None else _labels(labels, points.shape[1])
    shown = list(range(len(points))) if epochs is None else list(epochs)
    if len(shown) != len(points):
        raise DataError("epochs", f"{len(points)} epochs, as many as maps", len(shown))
    inches = checks.real("size", size, low=0, open_low=True)

    def prepare(ax: Axes) -> Callable[[int], None]:
        return _film(tidy(ax), points, known, shown, names, named=labels is not None)

    return write_film(path, prepare, len(points), (inches, inches), seconds=seconds, dpi=dpi)


def _maps(codes: Any) -> tuple[Tensor, tuple[str, str]]:
    """The maps, (E, N, 2), all in one plane, and the names of its axes."""
    if not isinstance(codes, Tensor) or codes.dim() != 3 or codes.shape[2] < 2 or not codes.numel():
        got = f"shape {tuple(codes.shape)}" if isinstance(codes, Tensor) else type(codes).__name__
        raise DataError("codes", "a tensor of shape (E, N, L) with L at least 2", got)
    given = checks.finite("codes", codes).detach().cpu().double()
    return plane(given, given[-1])


def _film(ax: Any, points: Tensor, classes: Tensor, epochs: list[int], names: tuple[str, str], *, named: bool) -> Any:
    """What draws one map, by its number, into axes prepared for all of them."""
    colours = ["0.75" if label < 0 else COLOURS[label % len(COLOURS)] for label in classes.tolist()]
    area = min(30.0, max(4.0, 6000 / len(classes)))
    dots = ax.scatter(*points[0].T.numpy(), s=area, c=colours, alpha=0.7, linewidths=0)
    halo = [withStroke(linewidth=3, foreground="white")]
    kinds = classes[classes >= 0].unique().tolist() if named else []
    looks: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "path_effects": halo}
    names_of = {label: ax.text(0, 0, str(label), **looks) for label in kinds}
    low, high = _limits(points)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    name_axes(ax, *names)

    def draw(number: int) -> None:
        dots.set_offsets(points[number].numpy())
        for label, text in names_of.items():
            text.set_position(points[number][classes == label].median(dim=0).values.tolist())
        note(ax, f"epoch {epochs[number]}")

    return draw


def _limits(points: Tensor) -> tuple[list[float], list[float]]:
    """The lower left and the upper right corner, of the same distance in both directions, a margin included."""
    outside = (1 - _INSIDE) / 2
    ends = points.flatten(0, 1).quantile(torch.tensor([outside, 1 - outside], dtype=points.dtype), dim=0)
    middle, half = ends.mean(0), 0.55 * float((ends[1] - ends[0]).max()) or 1.0
    return (middle - half).tolist(), (middle + half).tolist()
