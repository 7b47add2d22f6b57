"""Every picture finds room in small axes and in large ones, takes any axes and any tensor, and warns of nothing."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.axes import Axes

from probae import applications, plots
from probae.errors import ArgumentError
from probae.evaluation.estimate import Estimate
from probae.plots.style import inches, wrapped

X, Z, LABELS = torch.rand(12, 64), torch.randn(40, 2), torch.arange(40) % 4 - 1
HISTORY = {"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.5], "valid_elbo": [-3.0, -2.5, -2.0]}
RESULTS = {
    "a model": Estimate(-23.4, direction="lower", stderr_data=0.3, per_example=X[0]),
    "another one": Estimate(-25.1, direction="upper", stderr_data=0.3, per_example=X[1], reliable=False),
}
CURVE = applications.roc(X[0], X[1] + 0.5)
PRECISION = applications.precision_at_k(torch.rand(9, 6) < 0.5)
PROBE = applications.Probe(0.95, 0.01, 0.9, 0.02, 0.05, 0.015, torch.zeros(3), 100)


class Codes:
    """The examples themselves."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return x


FOUND = applications.clusters(Codes(), X, 3)
PICTURES: dict[str, Callable[..., Axes]] = {
    "anomaly_maps": lambda **options: plots.anomaly_maps(X, X, **options),
    "chain_grid": lambda **options: plots.chain_grid(X.reshape(4, 3, 64), **options),
    "clusters": lambda **options: plots.clusters(FOUND, X, cols=5, **options),
    "density": lambda **options: plots.density(lambda x: -x.square().sum(1), Z, **options),
    "differences": lambda **options: plots.differences(RESULTS, **options),
    "estimates": lambda **options: plots.estimates(RESULTS, **options),
    "filters": lambda **options: plots.filters(X - 0.5, **options),
    "image_grid": lambda **options: plots.image_grid(X, **options),
    "interpolations": lambda **options: plots.interpolations(lambda z: (z @ X[:2]).sigmoid(), Z[:4], Z[4:8], **options),
    "latent_scatter": lambda **options: plots.latent_scatter(
        Z, LABELS, log_density=lambda z: -z.square().sum(1), **options
    ),
    "learning_curves": lambda **options: plots.learning_curves(HISTORY, best_epoch=3, **options),
    "manifold": lambda **options: plots.manifold(lambda z: (z @ X[:2]).sigmoid(), steps=5, **options),
    "precision_curves": lambda **options: plots.precision_curves({"codes": PRECISION}, **options),
    "probes": lambda **options: plots.probes({"a model": PROBE, "another one": PROBE}, **options),
    "reconstructions": lambda **options: plots.reconstructions(X, X, **options),
    "restorations": lambda **options: plots.restorations(X, torch.arange(64) < 32, X, **options),
    "retrieved": lambda **options: plots.retrieved(X[:3], X.reshape(3, 4, 64), **options),
    "roc": lambda **options: plots.roc({"a model": CURVE, "another one": CURVE}, **options),
    "sequences": lambda **options: plots.sequences(X, (16, 4), **options),
    "spectrograms": lambda **options: plots.spectrograms(X, (16, 4), **options),
    "traversals": lambda **options: plots.traversals(lambda z: (z @ X[:2]).sigmoid(), Z[0], codes=Z, **options),
    "vector_field": lambda **options: plots.vector_field(lambda x: -x, Z, **options),
}


def test_every_picture_is_here() -> None:
    films = {"chain_animation", "map_animation"}  # which have no axes to be drawn into
    assert PICTURES.keys() == set(plots.__all__) - films


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(("size", "share"), [((2.6, 2.2), 0.3), ((4, 4), 0.4), ((12, 9), 0.6)])
def test_axes_keep_most_of_their_room(name: str, size: tuple[float, float], share: float) -> None:
    """As one of several in a layout; the larger of width and height, since a picture has a shape of its own.

    A layout without room would shrink axes to nothing, with a warning, which is an error here.
    """
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    assert PICTURES[name](ax=ax) is ax
    figure.canvas.draw()
    width, height = inches(ax)
    assert max(width / size[0], height / size[1]) > share


@pytest.mark.parametrize("name", PICTURES)
def test_a_new_figure_is_filled(name: str) -> None:
    """By the axes and what belongs to them; nothing sticks out, and no more than a fifth is blank."""
    ax = PICTURES[name]()
    figure: Any = ax.figure
    figure.canvas.draw()
    box, whole = ax.get_tightbbox(), figure.bbox
    assert box.x0 > -1
    assert box.y0 > -1
    assert box.x1 < whole.width + 1
    assert box.y1 < whole.height + 1
    assert box.width > 0.8 * whole.width
    assert box.height > 0.8 * whole.height


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_disturbs_the_random_numbers_or_asks_for_other_axes(name: str) -> None:
    state = torch.get_rng_state()
    PICTURES[name]()
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ArgumentError, match=r"^ax: expected a matplotlib Axes or None; got str"):
        PICTURES[name](ax="left")


@pytest.mark.parametrize("name", PICTURES)
def test_axes_of_a_part_of_a_figure_will_do(name: str) -> None:
    part = plt.figure(figsize=(8, 4), layout="constrained").subfigures(1, 2)[0]
    PICTURES[name](ax=part.subplots())
    part.figure.canvas.draw()


def test_inches_are_those_of_the_axes_whatever_the_resolution() -> None:
    for dpi in (50, 200):
        ax = plt.figure(figsize=(8, 4), dpi=dpi).add_axes((0.1, 0.1, 0.5, 0.75))
        assert inches(ax) == pytest.approx((4, 3))


def test_long_texts_are_wrapped_and_short_ones_left() -> None:
    assert wrapped("one latent dimension", 3) == "one latent dimension"
    assert wrapped("one latent dimension", 1) == "one latent\ndimension"
    assert wrapped("one\nlatent dimension", 3) == "one\nlatent dimension"
    assert wrapped("", 1) == ""


@pytest.mark.gpu
def test_tensors_of_a_gpu_can_be_drawn() -> None:
    x, z, labels = X.cuda().requires_grad_(), Z.cuda().requires_grad_(), LABELS.cuda()
    results = {"a": Estimate(0.0, per_example=X[0].cuda()), "b": Estimate(0.0, per_example=X[1])}
    weight = X[:2].cuda()
    plots.density(lambda p: -(p * z[0]).sum(1), z)
    plots.differences(results)
    plots.filters(x)
    plots.image_grid(x)
    plots.latent_scatter(z, labels, log_density=lambda p: -(p * z[0]).sum(1))
    plots.manifold(lambda p: (p.cuda() @ weight).sigmoid())
    plots.manifold(lambda p: (p @ weight).sigmoid(), codes=z)
    plots.reconstructions(x, x)
    plots.sequences(x, (16, 4))
    plots.traversals(lambda p: (p @ weight).sigmoid(), z[0], codes=z)
