"""Latent codes are drawn where they are, or in the plane in which they vary most."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from probae.errors import ArgumentError, DataError
from probae.plots import latent_scatter
from probae.plots.style import COLOURS


def points(ax: plt.Axes) -> np.ndarray:
    return np.concatenate([collection.get_offsets() for collection in ax.collections])


def test_two_dimensions_are_drawn_as_they_are() -> None:
    z = torch.randn(50, 2)
    ax = latent_scatter(z)
    np.testing.assert_allclose(points(ax), z)
    assert ax.get_xlabel() == "first latent dimension"


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    z = torch.randn(200, 6, dtype=torch.double) @ torch.randn(6, 6, dtype=torch.double) + 5.0
    left, values, _ = np.linalg.svd(z.numpy() - z.numpy().mean(0), full_matrices=False)
    ax = latent_scatter(z)
    np.testing.assert_allclose(np.abs(points(ax)), np.abs(left[:, :2] * values[:2]), rtol=1e-6, atol=1e-9)
    share = values[0] ** 2 / (values**2).sum()
    assert ax.get_xlabel() == f"first principal component ({share:.0%} of the variance)"


def test_the_same_codes_give_the_same_picture_and_leave_the_random_state() -> None:
    z, state = torch.randn(60, 5), torch.get_rng_state()
    first = points(latent_scatter(z))
    np.testing.assert_array_equal(first, points(latent_scatter(z.clone())))
    np.testing.assert_allclose(first, points(latent_scatter(z - 3.0)), atol=1e-5)
    assert torch.equal(state, torch.get_rng_state())


def test_a_class_has_its_colour_and_its_name_and_unknown_ones_lie_below() -> None:
    z, labels = torch.randn(90, 2), torch.arange(90) % 3 - 1
    ax = latent_scatter(z, labels)
    unknown, known = ax.collections
    np.testing.assert_allclose(unknown.get_offsets(), z[labels < 0], rtol=1e-6)
    offsets, colours = known.get_offsets(), known.get_facecolors()[:, :3]
    for label in (0, 1):
        drawn = {tuple(point) for point in offsets[(colours == to_rgb(COLOURS[label])).all(1)]}
        assert drawn == {tuple(point) for point in z[labels == label].double().tolist()}
    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    assert "unknown" in ax.get_title(loc="right")


def test_no_class_hides_another() -> None:
    """Sorted data is drawn in a mixed order."""
    labels = torch.arange(2000) // 1000
    (points,) = latent_scatter(torch.randn(2000, 2), labels).collections
    second = (points.get_facecolors()[:, :3] == to_rgb(COLOURS[1])).all(1)
    assert 400 < second[:1000].sum() < 600


def test_lines_of_a_density_enclose_its_mass() -> None:
    """Of a standard normal, circles of radius sqrt(-2 log(1 - mass))."""
    z = torch.randn(300, 2)
    prior = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1)
    ax = latent_scatter(z, log_density=prior.log_prob)
    lines = ax.collections[0]
    radii = [np.linalg.norm(path.vertices, axis=1) for path in lines.get_paths()]
    for radius, mass in zip(radii, (0.5, 0.9, 0.99), strict=True):
        np.testing.assert_allclose(radius, np.sqrt(-2 * np.log(1 - mass)), rtol=0.02)
    assert ax.get_xlim()[0] < -3
    assert ax.get_xlim()[1] > 3
    assert ax.get_title(loc="right") == "lines enclose 50%, 90% and 99%"


def test_codes_that_do_not_vary_can_be_drawn() -> None:
    assert (points(latent_scatter(torch.ones(4, 3))) == 0).all()


@pytest.mark.parametrize(
    ("z", "labels", "name"),
    [
        (np.zeros((3, 2)), None, "z"),
        (torch.randn(5), None, "z"),
        (torch.randn(5, 1), None, "z"),
        (torch.full((5, 3), torch.inf), None, "z"),
        (torch.randn(5, 2), torch.zeros(4, dtype=torch.long), "labels"),
        (torch.randn(5, 2), torch.zeros(5), "labels"),
        (torch.randn(5, 2), [0, 1, 2, 3, 4], "labels"),
    ],
)
def test_errors_name_the_argument(z: object, labels: object, name: str) -> None:
    with pytest.raises(DataError) as error:
        latent_scatter(z, labels)
    assert error.value.argument == name


@pytest.mark.parametrize(
    ("z", "log_density"),
    [
        (torch.randn(5, 3), lambda z: z.sum(1)),
        (torch.randn(5, 2), "normal"),
        (torch.randn(5, 2), lambda z: z),
        (torch.randn(5, 2), lambda z: z.sum(1) * torch.nan),
    ],
)
def test_densities_that_cannot_be_drawn_are_named(z: torch.Tensor, log_density: object) -> None:
    with pytest.raises(ArgumentError) as error:
        latent_scatter(z, log_density=log_density)
    assert error.value.argument == "log_density"
