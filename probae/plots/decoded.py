"""What a decoder makes of a latent space: along one dimension at a time, or all over a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.distributions import Distribution, Normal

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.plots.style import COLOURS, GREY, axes_or_new, inches, name_axes, picture
from probae.plots.tiling import as_images, enlarge, figure_size, gap_width, paint, shades, tile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Decode = Callable[[Tensor], Any]
"""From (M, L) latent vectors to (M, D) images, or to a distribution over them, of which the means are drawn."""

ROWS = 10


def traversals(
    decode: Decode,
    z: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    dims: Sequence[int] | None = None,
    *,
    span: float = 3.0,
    steps: int = 11,
    codes: Tensor | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    padding: float = 0.07,
    ax: Axes | None = None,
) -> Axes:
    """A row for each latent dimension, which runs through a range while the others stay what they are in one code.

        row d, column j:    the mean of p(x given z with z[d] = centre[d] + s[j] unit[d]),  s from -span to span

    Centre and unit are 0 and 1, those of a standard normal prior; with `codes`, their mean and standard deviation,
    which stands beside each row. A mark below a row shows where the code itself lies.

    Args:
        decode: `vae.decode`, or any function of (M, L) codes; with labels, `lambda z: vae.decode(z, y)`.
        z: (L,), the code to start from.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        dims: which dimensions, from 0; by default the first ten, or with `codes` the ten that vary most, in that order.
        span: how far to go on either side.
        steps: images in a row.
        codes: (N, L) codes of data.
        limits: the values that are black and white; those beyond are drawn as these.
        padding: width of the gaps, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb, torch
        >>> vae = pb.VAE((8, 8), latent_dim=3, hidden=16)
        >>> ax = pb.plots.traversals(vae.decode, torch.zeros(3), (8, 8), dims=[2, 0])
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['z[2]', 'z[0]']
    """
    z = _codes("z", z[None] if isinstance(z, Tensor) and z.dim() == 1 else z, rows=1)[0]
    centre, unit = torch.zeros_like(z), torch.ones_like(z)
    if codes is not None:
        codes = _codes("codes", codes, length=len(z)).to(z)
        centre, unit = codes.mean(0), codes.std(0, correction=0)
    rows = _dims(dims, unit if codes is not None else z.new_ones(len(z)))
    span, steps = checks.real("span", span, low=0, open_low=True), checks.positive_int("steps", steps, minimum=2)
    grid = z.repeat(len(rows), steps, 1)
    for row, d in enumerate(rows):
        grid[row, :, d] = centre[d] + unit[d] * torch.linspace(-span, span, steps).to(z)
    images = _images(decode, grid.flatten(0, 1), data_shape, limits)
    gap, space = gap_width(images, padding), round(0.22 * images.shape[3])
    image = _strips(images, steps, gap, space)
    ax = axes_or_new(ax, *figure_size(image, steps, lines=2, beside=0.6))
    what = "in standard deviations of the codes" if codes is not None else "the others as they are"
    picture(ax, paint(image, images.shape[1]), f"one latent dimension, {what}")
    points = 72 * inches(ax)[0] / image.shape[1]  # of a pixel, about
    width, height = images.shape[3] + gap, images.shape[2] + space
    middle, bottom = (images.shape[3] - 1) / 2, images.shape[2] - 0.5
    for row, place in enumerate(((z - centre) / unit)[rows].tolist()):
        if abs(place) <= span:
            across = (place / span + 1) / 2 * (steps - 1) * width + middle
            looks = {"marker": 6, "markersize": min(5.0, space * points), "color": COLOURS[6]}
            ax.plot(across, row * height + bottom, clip_on=False, **looks)
    beside = "\n± " if height * points > 25 else " ± "
    names = [f"z[{d}]" + (f"{beside}{unit[d]:.2g}" if codes is not None else "") for d in rows]
    ax.set_yticks([row * height + bottom / 2 for row in range(len(rows))], names)
    ends = {0: -span, steps - 1: span} | ({steps // 2: 0.0} if steps % 2 else {})
    ax.set_xticks([j * width + middle for j in ends], [_signed(value) for value in ends.values()])
    ax.tick_params(length=0, labelsize="small")
    return ax


def interpolations(
    decode: Decode,
    start: Tensor,
    end: Tensor,
    data_shape: int | tuple[int, ...] | None = None,
    *,
    steps: int = 9,
    limits: tuple[float, float] = (0.0, 1.0),
    padding: float = 0.07,
    ax: Axes | None = None,
) -> Axes:
    """A row for each pair of codes, which runs along the straight line from one to the other.

        row i, column j:    the mean of p(x given z = (1 - t) start[i] + t end[i]),  t = j / (steps - 1)

    Args:
        decode: `vae.decode`, or any function of (M, L) codes.
        start, end: (N, L), the codes to go between, such as `vae.embed(x)`.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        steps: images in a row, those of both ends included.
        limits: the values that are black and white; those beyond are drawn as these.
        padding: width of the gaps, as a share of an image's width.
        ax: where to draw; None makes a new figure.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb, torch
        >>> vae = pb.VAE((8, 8), latent_dim=4, hidden=16)
        >>> ax = pb.plots.interpolations(vae.decode, torch.randn(5, 4), torch.randn(5, 4), (8, 8))
    """
    start = _codes("start", start)
    end = _codes("end", end, rows=len(start), length=start.shape[1]).to(start)
    steps = checks.positive_int("steps", steps, minimum=2)
    share = torch.linspace(0, 1, steps).to(start)[:, None]
    z = start[:, None] * (1 - share) + end[:, None] * share
    images = _images(decode, z.flatten(0, 1), data_shape, limits)
    image = tile(images, steps, gap_width(images, padding))
    ax = axes_or_new(ax, *figure_size(image, steps, lines=1))
    return picture(ax, paint(image, images.shape[1]), "from one code to another, in equal steps")


def manifold(
    decode: Decode,
    data_shape: int | tuple[int, ...] | None = None,
    *,
    steps: int = 20,
    codes: Tensor | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """The decoder's means all over a latent plane, in steps of equal probability along either dimension.

        row i, column j:    the mean of p(x given z = (F1^-1((j + 1/2) / steps), F2^-1((i + 1/2) / steps))), i upwards

    F is the distribution function of the standard normal prior, under which each image stands for as much; with
    `codes`, that of each of their two dimensions.

    Args:
        decode: `vae.decode` of a model with two latent dimensions, or any function of (M, 2) codes.
        data_shape: (H, W) or (C, H, W); may be left out for shaped images and for D = H * H.
        steps: images in a row and in a column.
        codes: (N, 2) codes of data, or samples of another prior.
        limits: the values that are black and white; those beyond are drawn as these.
        ax: where to draw; None makes a new figure.

    Raises:
        ArgumentError, DataError: name the argument.

    Source:
        Kingma and Welling 2014 (arXiv 1312.6114), figure 4.

    Example:
        >>> import probae as pb
        >>> vae = pb.VAE((8, 8), latent_dim=2, hidden=16)
        >>> ax = pb.plots.manifold(vae.decode, (8, 8), steps=12)
    """
    steps = checks.positive_int("steps", steps, minimum=2)
    levels = (torch.arange(steps) + 0.5) / steps
    across = up = Normal(0.0, 1.0).icdf(levels)
    if codes is not None:
        codes = _codes("codes", codes, length=2)
        across, up = codes.double().quantile(levels.to(codes.device).double(), dim=0).to(codes).T
    plane = torch.stack(torch.meshgrid(across, up.flip(0), indexing="xy"), dim=-1)
    images = _images(decode, plane.flatten(0, 1), data_shape, limits)
    tiled = tile(images, steps, gap=0)
    ax = picture(axes_or_new(ax, *figure_size(tiled, steps, 0.3, lines=2, beside=0.5)), tiled)
    centres = torch.arange(steps) + 0.5
    ax.set_xticks(*_ticks(across, centres * images.shape[3] - 0.5))
    ax.set_yticks(*_ticks(up, centres.flip(0) * images.shape[2] - 0.5))
    ax.tick_params(length=2, labelsize="small", color=GREY)
    return name_axes(ax, "first latent dimension", "second latent dimension")


def _strips(images: Tensor, steps: int, gap: int, space: int) -> np.ndarray:
    """Rows of `steps` images, with `space` blank pixels below each."""
    strips = [tile(row, steps, gap) for row in images.split(steps)]
    blank = np.full((space, *strips[0].shape[1:]), np.inf, dtype=np.float32)
    return np.concatenate([part for strip in strips for part in (strip, blank)])


def _images(decode: Decode, z: Tensor, data_shape: Any, limits: Any) -> Tensor:
    """The decoded means as enlarged (M, C, H, W) images in [0, 1]."""
    if not callable(decode):
        raise ArgumentError("decode", "a function of latent vectors, such as vae.decode", type(decode).__name__)
    wanted = f"a function from ({len(z)}, {z.shape[1]}) latent vectors to as many images or a distribution over them"
    with torch.no_grad():
        x = decode(z)
    if isinstance(x, Distribution):
        try:
            x = x.mean
        except NotImplementedError as error:
            raise ArgumentError("decode", wanted, f"a {type(x).__name__}, whose mean is not known") from error
    if not isinstance(x, Tensor) or x.shape[:1] != z.shape[:1]:
        raise ArgumentError("decode", wanted, f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__)
    return enlarge(shades(as_images("decode", x, data_shape), limits))


def _codes(argument: str, z: Any, *, rows: int | None = None, length: int | None = None) -> Tensor:
    fits = isinstance(z, Tensor) and z.dim() == 2 and rows in (None, len(z)) and length in (None, z.shape[1])
    if not fits:
        wanted = f"a tensor of shape ({'N' if rows is None else rows}, {'L' if length is None else length})"
        got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
        raise DataError(argument, "a tensor of shape (L,)" if rows == 1 and argument == "z" else wanted, got)
    return checks.examples(argument, z, (z.shape[1],)).detach()


def _dims(dims: Any, spread: Tensor) -> list[int]:
    if dims is None:
        return spread.sort(descending=True, stable=True).indices[:ROWS].tolist()
    if not isinstance(dims, Sequence) or isinstance(dims, str) or not dims:
        raise ArgumentError("dims", "a non-empty list of latent dimensions", repr(dims))
    numbers = [checks.positive_int("dims", d, minimum=0) for d in dims]
    if max(numbers) >= len(spread):
        raise ArgumentError("dims", f"latent dimensions from 0 to {len(spread) - 1}", max(numbers))
    return numbers


def _ticks(values: Tensor, places: Tensor) -> tuple[list[float], list[str]]:
    """Round numbers among the increasing `values`, and where between their `places` they lie."""
    low, high = float(values[0]), float(values[-1])
    numbers = [x for x in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= x <= high]
    return np.interp(numbers, values.cpu().numpy(), places.numpy()).tolist(), [_signed(x) for x in numbers]


def _signed(value: Any) -> str:
    return f"{float(value):.3g}".replace("-", "−")
