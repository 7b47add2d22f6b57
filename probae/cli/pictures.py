"""What can be drawn of a run: each picture asks the model for the verbs that it needs, never for its class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from probae import plots
from probae.cli.evaluate import kept
from probae.cli.runs import Finished
from probae.cli.sample import draw
from probae.data import Dataset
from probae.errors import ProbaeError
from probae.plots.style import COLOURS, tidy

_SHOWN = 100  # samples, filters
_PAIRS = 32  # reconstructions
_POINTS = 2000  # of two-dimensional data


class NothingToShow(ProbaeError):
    """The run or the model does not have what a picture shows."""


@dataclass(frozen=True)
class Subject:
    """What is drawn: a run, its model, and data to show beside it."""

    run: Finished
    model: Any
    data: Dataset
    seed: int

    def verb(self, *names: str) -> Any:
        """The first of the model's attributes of these names."""
        for name in names:
            if hasattr(self.model, name):
                return getattr(self.model, name)
        raise NothingToShow(f"{type(self.model).__name__} has no {', no '.join(names)}")

    def images(self, verb: str) -> Tensor:
        """What a verb makes of the data, where the examples are images."""
        found, shape = self.verb(verb)(self.data), self.model.data_shape
        if len(shape) == 2 and _are_categories(self.data.tensor[:_SHOWN], shape):
            raise NothingToShow("the examples are sequences, no images")
        return found

    def decoder(self) -> Callable[[Tensor], Any]:
        """The model's `decode`, with the label of the first example where it takes labels and there are some."""
        decode, labels = self.verb("decode"), self.data.labels
        if labels is None or getattr(self.model, "labels", None) is None:
            return decode
        return lambda z: decode(z, y=int(labels[0]))


@contextmanager
def canvas(path: Path, panels: int = 1, size: tuple[float, float] = (4.5, 4.5)) -> Generator[list[Any]]:
    """Axes to draw into, side by side, each of a size in inches; the figure is saved if nothing goes wrong."""
    figure = Figure(figsize=(size[0] * panels, size[1]), layout="constrained")
    yield list(figure.subplots(1, panels, squeeze=False)[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def show(ax: Any, x: Tensor, data_shape: tuple[int, ...], title: str = "") -> None:
    """Examples (N, D) as images, as sequences (T, K), or as points if they have two dimensions."""
    if data_shape == (2,):
        tidy(ax).scatter(*x.T.cpu().numpy(), s=4, color=COLOURS[0], alpha=0.5, linewidths=0)
        ax.set_aspect("equal", adjustable="datalim")
    elif len(data_shape) == 2 and _are_categories(x, data_shape):
        plots.sequences(x.clamp(0, 1), data_shape, ax=ax)
    else:
        plots.image_grid(x.clamp(0, 1), data_shape, ax=ax)
    ax.set_title(title)


def _are_categories(x: Tensor, data_shape: tuple[int, ...]) -> bool:
    """Whether each step's values sum to one, or to zero beyond a sequence's end: else they are a grey image's."""
    sums = x.reshape(-1, data_shape[-1]).sum(-1)
    return bool(((sums - 1).abs().minimum(sums.abs()) < 1e-3).all())


def learning_curves(subject: Subject, path: Path) -> None:
    """What validation reported, and apart from it what training minimized, which may be no likelihood."""
    history, monitor = subject.run.history(), subject.run.info["monitor"]
    if not history:
        raise NothingToShow("not one epoch was completed")
    columns = {f"valid_{monitor}": "validation", "train_loss": "what training minimizes"}
    with canvas(path, len(columns), (5.5, 3.5)) as axes:
        for ax, (column, title) in zip(axes, columns.items(), strict=True):
            best = subject.run.info["best_epoch"] if column.startswith("valid_") else None
            plots.learning_curves(history, [column], best_epoch=best, ax=ax)
            ax.set_title(title, loc="left")


def samples(subject: Subject, path: Path) -> None:
    """Data, draws from the model and, where images have them, the means behind the draws."""
    points = subject.model.data_shape == (2,)
    count = min(len(subject.data), _POINTS if points else _SHOWN)
    shown = {"data": subject.data.tensor[:count], "samples": draw(subject.model, count, subject.seed, {})}
    if not points and "mean" in inspect.signature(subject.verb("sample")).parameters:
        shown["means of the samples"] = draw(subject.model, count, subject.seed, {"mean": True})
    with canvas(path, len(shown)) as axes:
        for ax, (title, x) in zip(axes, shown.items(), strict=True):
            show(ax, x, subject.model.data_shape, title)


def reconstructions(subject: Subject, path: Path) -> None:
    """Examples, each above its reconstruction."""
    shown = subject.data[:_PAIRS]
    reconstructed = subject.verb("reconstruct")(shown)
    with canvas(path, size=(6.0, 4.5)) as (ax,):
        plots.reconstructions(shown.tensor, reconstructed, subject.model.data_shape, ax=ax)


def latent(subject: Subject, path: Path) -> None:
    """Where the model puts the examples, with their labels where they have some."""
    codes = subject.verb("embed")(subject.data)
    with canvas(path, size=(5.5, 5.0)) as (ax,):
        plots.latent_scatter(codes, subject.data.labels, ax=ax)


def traversals(subject: Subject, path: Path) -> None:
    """What becomes of one example as each latent dimension moves."""
    codes = subject.images("embed")
    with canvas(path, size=(6.5, 6.5)) as (ax,):
        plots.traversals(subject.decoder(), codes[0], subject.model.data_shape, codes=codes, ax=ax)


def manifold(subject: Subject, path: Path) -> None:
    """What the decoder makes of a latent plane."""
    decode, codes = subject.decoder(), subject.images("embed")
    if codes.shape[1] != 2:
        raise NothingToShow(f"there are {codes.shape[1]} latent dimensions, not two")
    with canvas(path, size=(6.5, 6.5)) as (ax,):
        plots.manifold(decode, subject.model.data_shape, codes=codes, ax=ax)


def filters(subject: Subject, path: Path) -> None:
    """What each unit next to the data looks for, or adds to it."""
    weight = subject.verb("dictionary", "weight", "weights")
    if isinstance(weight, (list, tuple)):  # a layer each, the lowest first
        weight = weight[0]
    rows = weight if hasattr(subject.model, "dictionary") else weight.T
    with canvas(path) as (ax,):
        plots.filters(rows[:_SHOWN], subject.model.data_shape, ax=ax)


def estimates(subject: Subject, path: Path) -> None:
    """What `probae evaluate` has found."""
    found = kept(subject.run.folder)
    if not found:
        raise NothingToShow("none was made: probae evaluate")
    names = {name.replace(", ", "\n"): estimate for name, estimate in found.items()}
    with canvas(path, size=(9.0, 1.0 + 0.8 * len(found))) as (ax,):
        plots.estimates(names, ax=ax)


PICTURES: dict[str, Callable[[Subject, Path], None]] = {
    picture.__name__: picture
    for picture in (
        learning_curves, samples, reconstructions, latent, traversals, manifold, filters, estimates,
    )
}  # fmt: skip
