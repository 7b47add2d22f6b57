"""A vector field is drawn where it was taken, in its directions, in lengths that are said."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver

import probae as pb
from probae.errors import ArgumentError
from probae.plots import density, vector_field

LIMITS = ((-3.0, 5.0), (-1.0, 3.0))


def swirl(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([-x[:, 1] + 0.5, 2 * x[:, 0]], 1)


def arrows(ax: plt.Axes) -> Quiver:
    (found,) = [part for part in ax.collections if isinstance(part, Quiver)]
    return found


def starts(ax: plt.Axes) -> torch.Tensor:
    return torch.tensor(np.asarray(arrows(ax).XY))


def vectors(ax: plt.Axes) -> torch.Tensor:
    return torch.tensor(np.stack([arrows(ax).U, arrows(ax).V], 1))


def test_arrows_are_the_vectors_at_their_starts() -> None:
    ax = vector_field(swirl, limits=LIMITS)
    torch.testing.assert_close(vectors(ax), swirl(starts(ax)), rtol=1e-6, atol=1e-6)
    assert arrows(ax).pivot == "tail"
    assert arrows(ax).angles == arrows(ax).scale_units == "xy"


def test_the_grid_is_square_and_fills_the_limits() -> None:
    places = starts(vector_field(swirl, limits=LIMITS, steps=8))
    torch.testing.assert_close(places[:, 0].unique(), torch.arange(-2.5, 5.0, 1.0).double())
    torch.testing.assert_close(places[:, 1].unique(), torch.arange(-0.5, 3.0, 1.0).double())
    assert len(places) == 8 * 4
    assert len(starts(vector_field(swirl, limits=((0, 100), (0, 1)), steps=4))) == 4  # never none


def test_the_longest_reaches_over_a_step_unless_told_otherwise() -> None:
    ax = vector_field(swirl, limits=LIMITS, steps=8)
    longest = vectors(ax).norm(dim=1).max().item()
    assert longest / arrows(ax).scale == pytest.approx(1.0)  # a step of this grid; Quiver divides by its scale
    assert ax.get_xlabel().endswith(f"longest vector {longest:.2g}")
    assert arrows(vector_field(swirl, limits=LIMITS, scale=0.25)).scale == 4.0
    large = vector_field(lambda x: torch.full_like(x, 1414.0), limits=LIMITS, scale=1e-3).get_xlabel()
    assert large == "lengths times 0.001, longest vector 2000"
    assert arrows(vector_field(torch.zeros_like, limits=LIMITS)).scale == 1.0


def test_data_lie_below_and_give_the_limits_and_the_precision() -> None:
    seen = []

    def field(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.dtype)
        return -x

    x = torch.randn(200, 2, dtype=torch.float64).requires_grad_()
    ax = vector_field(field, x, ax=plt.subplots()[1])
    vector_field(field, x.float())
    vector_field(field, limits=LIMITS)
    assert seen == [torch.float64, torch.float32, torch.float32]
    points, found = ax.collections
    np.testing.assert_allclose(points.get_offsets(), x.detach(), rtol=1e-6)
    assert points.get_zorder() < found.get_zorder()
    assert ax.get_xlim()[0] < x[:, 0].min() < x[:, 0].max() < ax.get_xlim()[1]
    assert ax.get_aspect() == 1.0


def test_it_draws_on_top_of_a_density() -> None:
    ax = density(lambda x: -x.square().sum(1) / 2, limits=LIMITS)
    below = [part.get_zorder() for part in (*ax.images, *ax.collections)]
    assert vector_field(swirl, limits=LIMITS, ax=ax) is ax
    assert arrows(ax).get_zorder() > max(below)
    assert len(ax.images) == 1
    assert ax.get_title(loc="right").startswith("lines enclose")


def test_the_score_of_a_denoising_autoencoder_is_a_field() -> None:
    model = pb.DenoisingAutoencoder(2, 4, 8, "gaussian")
    ax = vector_field(model.score, torch.randn(50, 2), steps=5)
    torch.testing.assert_close(vectors(ax).float(), model.score(starts(ax).float()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "options", "name"),
    [
        (swirl, {}, "limits"),
        (swirl, {"limits": (0, 1)}, "limits"),
        (swirl, {"limits": ((0, 1), (1, 0))}, "limits"),
        (swirl, {"x": torch.randn(5, 3)}, "x"),
        (swirl, {"x": torch.full((5, 2), torch.nan)}, "x"),
        (swirl, {"limits": LIMITS, "steps": 1}, "steps"),
        (swirl, {"limits": LIMITS, "scale": 0}, "scale"),
        (swirl, {"limits": LIMITS, "scale": -1.0}, "scale"),
        (torch.zeros(5, 2), {"limits": LIMITS}, "field"),
        (lambda x: x[:, 0], {"limits": LIMITS}, "field"),
        (lambda x: 0.0, {"limits": LIMITS}, "field"),
        (lambda x: x.log(), {"limits": LIMITS}, "field"),
        (swirl, {"limits": LIMITS, "ax": 3}, "ax"),
    ],
)
def test_errors_name_the_argument(field: object, options: dict[str, object], name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        vector_field(field, **options)
    assert error.value.argument == name
