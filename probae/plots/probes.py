"""What codes know of labels, model by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter

from probae.errors import DataError
from probae.plots.style import COLOURS, GREY, axes_or_new, inches, tidy, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probae.applications.probes import Probe


def probes(results: Mapping[str, Probe], *, ax: Axes | None = None) -> Axes:
    """Accuracies of linear probes, with error bars of two standard errors; hollow, that on the raw values.

    Args:
        results: name -> what `pb.applications.linear_probe` returned, drawn from top to bottom.
        ax: where to draw; None makes a new figure.

    Raises:
        DataError: for no results, or what is none.

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> models = {f"{q} components": pb.ProbabilisticPCA(64, q).fit_closed_form(digits.train) for q in (2, 16)}
        >>> found = {name: pb.applications.linear_probe(m, digits.train, digits.test) for name, m in models.items()}
        >>> ax = pb.plots.probes(found)
    """
    _check(results)
    ax = tidy(axes_or_new(ax, 6.5, 0.9 + 0.36 * len(results)))
    for row, probe in enumerate(results.values()):
        looks: dict[str, Any] = {"fmt": "o", "elinewidth": 1.6, "markersize": 7}
        below = row + 0.22  # where equal, both are to be seen
        ax.errorbar(probe.raw_accuracy, below, xerr=2 * probe.raw_stderr, color=GREY, markerfacecolor="white", **looks)
        ax.errorbar(probe.accuracy, row, xerr=2 * probe.stderr, color=COLOURS[0], **looks)
        said = f"{probe.accuracy:.1%} ({probe.gain:+.1%} ± {2 * probe.gain_stderr:.1%})".replace("-", "−")
        ax.annotate(said, (1, row), (8, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                    size="small", va="center")  # fmt: skip
    ax.set_yticks(range(len(results)), list(results))
    ax.set_ylim(len(results) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))
    caption = "test accuracy of a linear classifier on the codes (hollow: on the raw values; bars: ± 2 standard errors)"
    ax.set_xlabel(wrapped(caption, 0.8 * inches(ax)[0]), fontsize="small")
    return ax


def _check(results: Any) -> None:
    if not isinstance(results, Mapping) or not results:
        raise DataError("results", "a non-empty mapping from names to probes", repr(results))
    for name, probe in results.items():
        if not hasattr(probe, "raw_accuracy"):
            raise DataError(f"results[{name!r}]", "what pb.applications.linear_probe returns", type(probe).__name__)
