"""Latent codes are drawn where they are, or in the plane in which they vary most."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from probae.errors import DataError
from probae.plots import latent_scatter


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


def test_a_class_has_its_points_and_its_name_and_unknown_ones_lie_below() -> None:
    z, labels = torch.randn(90, 2), torch.arange(90) % 3 - 1
    ax = latent_scatter(z, labels)
    for label, collection in zip((-1, 0, 1), ax.collections, strict=True):
        np.testing.assert_allclose(collection.get_offsets(), z[labels == label], rtol=1e-6)
    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    assert "unknown" in ax.get_title(loc="right")


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
