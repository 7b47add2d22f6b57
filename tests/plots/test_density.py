"""A density is drawn by the mass of its level sets, whatever its constant."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from probae.errors import ArgumentError
from probae.plots import density

NORMAL = MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.8], [0.8, 1.0]]))
LIMITS = ((-7.0, 9.0), (-8.0, 4.0))


def shades(ax: plt.Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_shades_are_the_mass_that_is_less_dense() -> None:
    """Of a normal, the chi-square tail of the squared distance: exp(-d^2 / 2)."""
    shade = shades(density(NORMAL.log_prob, limits=LIMITS, steps=300))
    across, up = (torch.linspace(*limits, 300) for limits in LIMITS)
    points = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1)
    centred = points - NORMAL.mean
    distance = torch.einsum("ija,ab,ijb->ij", centred, NORMAL.precision_matrix, centred)
    np.testing.assert_allclose(shade, torch.exp(-distance / 2), atol=5e-3)


def test_a_constant_does_not_matter_and_no_density_is_white() -> None:
    def log_prob(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, 0] > 1, NORMAL.log_prob(x), -torch.inf)

    one = shades(density(log_prob, limits=LIMITS))
    other = shades(density(lambda x: log_prob(x) + 100, limits=LIMITS))
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert (one[:, :90] == 0).all()
    assert one.max() > 0.98


def test_a_uniform_density_has_one_shade() -> None:
    assert np.unique(shades(density(lambda x: torch.zeros(len(x)), limits=LIMITS))) == pytest.approx(0.5)


def test_lines_enclose_half_and_nine_tenths_and_nearly_all() -> None:
    ax = density(NORMAL.log_prob, limits=LIMITS, steps=300)
    (lines,) = ax.collections
    for path, mass in zip(lines.get_paths(), (0.5, 0.9, 0.99), strict=True):
        centred = torch.tensor(path.vertices).float() - NORMAL.mean
        distance = torch.einsum("na,ab,nb->n", centred, NORMAL.precision_matrix, centred)
        torch.testing.assert_close(distance, torch.full_like(distance, -2 * np.log(1 - mass)), rtol=0.03, atol=0.0)


def test_data_lie_on_top_and_give_the_limits() -> None:
    x = NORMAL.sample((200,)).requires_grad_()
    ax = density(NORMAL.log_prob, x, ax=plt.subplots()[1])
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), x.detach(), rtol=1e-6)
    assert ax.get_xlim()[0] < x[:, 0].min() < x[:, 0].max() < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < x[:, 1].min() < x[:, 1].max() < ax.get_ylim()[1]
    left, right, bottom, top = ax.images[0].get_extent()
    step = (right - left) / 200
    assert left + step / 2 == pytest.approx(ax.get_xlim()[0])
    assert (bottom < ax.get_ylim()[0], top > ax.get_ylim()[1]) == (True, True)


def test_points_have_the_precision_of_the_data() -> None:
    seen = []

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.dtype)
        return -x.square().sum(1)

    density(log_prob, torch.randn(5, 2, dtype=torch.float64))
    density(log_prob, torch.randn(5, 2))
    density(log_prob, limits=LIMITS)
    assert seen == [torch.float64, torch.float32, torch.float32]


def test_a_single_point_has_room_around_it() -> None:
    density(lambda x: -x.square().sum(1), torch.ones(1, 2))


@pytest.mark.parametrize(
    ("log_prob", "options", "name"),
    [
        (NORMAL.log_prob, {}, "limits"),
        (NORMAL.log_prob, {"limits": (0, 1)}, "limits"),
        (NORMAL.log_prob, {"limits": ((0, 1), (1, 0))}, "limits"),
        (NORMAL.log_prob, {"limits": ((0, 1), (0, np.inf))}, "limits"),
        (NORMAL.log_prob, {"x": torch.randn(5, 3)}, "x"),
        (NORMAL.log_prob, {"x": torch.full((5, 2), torch.nan)}, "x"),
        (NORMAL.log_prob, {"x": [[0.0, 0.0]]}, "x"),
        (NORMAL.log_prob, {"limits": LIMITS, "steps": 1}, "steps"),
        (NORMAL, {"limits": LIMITS}, "log_prob"),
        (lambda x: x, {"limits": LIMITS}, "log_prob"),
        (lambda x: 0.0, {"limits": LIMITS}, "log_prob"),
        (lambda x: x[:, 0].log(), {"limits": LIMITS}, "log_prob"),
        (lambda x: torch.full((len(x),), -torch.inf), {"limits": LIMITS}, "log_prob"),
        (lambda x: torch.full((len(x),), torch.inf), {"limits": LIMITS}, "log_prob"),
    ],
)
def test_errors_name_the_argument(log_prob: object, options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        density(log_prob, **options)
    assert error.value.argument == name
