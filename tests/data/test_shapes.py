"""Laws of the shapes: what the factors say is in the image, and nothing else is."""

from __future__ import annotations

import colorsys
import hashlib
import math

import numpy as np
import pytest
import torch

from probae.data import Dataset, load
from probae.data.shapes import FACTORS, GROUND, HUES, SHAPES, _images
from probae.errors import ArgumentError

SPLITS = load("shapes")
TRAIN = SPLITS.train


def images(data: Dataset = TRAIN) -> torch.Tensor:
    return data.tensor.reshape(-1, 3, 16, 16)


def factor(name: str, data: Dataset = TRAIN) -> torch.Tensor:
    assert data.factors is not None
    return data.factors[:, FACTORS.index(name)]


def labels(data: Dataset = TRAIN) -> torch.Tensor:
    assert data.labels is not None
    return data.labels


def test_the_images_are_the_same_bytes_everywhere() -> None:
    """Nothing but exactly rounded operations made them; a change here makes every reported number another one."""
    parts = [(part.tensor * 255).round().to(torch.uint8).numpy().tobytes() for part in SPLITS]
    assert [hashlib.sha256(part).hexdigest()[:12] for part in parts] == ["8c502b09af3d", "0e0c75cd0dd9", "f59f83cafb15"]
    assert [len(part) for part in SPLITS] == [5000, 1000, 1000]


def test_values_are_multiples_of_one_in_255() -> None:
    assert torch.equal((TRAIN.tensor * 255).round() / 255, TRAIN.tensor)
    assert float(TRAIN.tensor.min()) >= 0
    assert float(TRAIN.tensor.max()) <= 1


def test_the_corners_show_the_landscape_under_the_light() -> None:
    """Objects reach 5 pixels from their centre at most, so those right of 6 leave the corners on the left alone."""
    light, away = factor("light")[:, None], factor("x") > 6
    sky, ground = torch.tensor([0.5, 0.75, 1.0]), torch.tensor([0.35, 0.45, 0.2])
    for row, colour in ((0, sky), (15, ground)):
        assert torch.allclose(images()[away][:, :, row, 0], (light * colour)[away], atol=0.51 / 255)


def test_the_horizon_is_where_it_says() -> None:
    away = factor("x") > 6
    left = images()[away][:, :, :, 0]
    ground = left[:, 0] > left[:, 2]  # redder than blue
    below = torch.arange(16) - factor("horizon")[away][:, None]
    assert ((ground == (below > 0)) | (below.abs() < 0.5)).all()


def test_the_middle_of_an_object_has_its_hue_under_the_light() -> None:
    rows, columns = factor("y").round().long(), factor("x").round().long()
    middle = images()[torch.arange(len(TRAIN)), :, rows, columns].double()
    colours = [colorsys.hsv_to_rgb(float(hue), 1.0, 1.0) for hue in factor("hue")]
    expected = torch.tensor(colours).double() * factor("light")[:, None]
    whole = factor("radius") > 8 / 3  # the arms of a cross are thinner than two pixels below it
    assert float((middle - expected)[whole].abs().max()) < 0.51 / 255


def test_each_shape_has_two_hues_and_is_free_between_them() -> None:
    """Each coin is fair: five tests of six standard errors on fixed data, 5 * 2e-9 below 1e-6."""
    near = (factor("hue")[:, None] - torch.from_numpy(HUES)[labels()]).abs()
    assert (near.amin(1) <= 1 / 48 + 1e-6).all()
    for label in range(len(SHAPES)):
        second = (near[labels() == label].argmin(1)).double()
        assert abs(float(second.mean()) - 0.5) < 6 * 0.5 / len(second) ** 0.5


AREAS = {"disc": math.pi, "square": 1.75**2, "triangle": 1.875**2 / 1.75, "cross": 4 * 0.75 - 0.75**2}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("radius", [2.5, 3.5, 4.5])
def test_each_shape_covers_its_area(name: str, radius: float) -> None:
    """Green objects have none of the red of the ground: what is missing of it is their area, wherever they lie."""
    stream = np.random.RandomState(0)
    x, y = 4.5 + 6 * stream.random_sample((2, 50))
    shape = np.full(50, SHAPES.index(name))
    scenes = _images(shape, x, y, *(np.full(50, value) for value in (radius, 1 / 3, -1.0, 1.0)))
    areas = (1 - scenes[:, 0] / GROUND[0]).sum((1, 2))
    assert areas.mean() == pytest.approx(AREAS[name] * radius**2, rel=0.04)
    assert areas.std() < 0.06 * areas.mean()


def test_factors_are_uniform_and_independent() -> None:
    """Correlations of 7,000 independent pairs stray from zero by 1/sqrt(n): six of those, P < 2e-9 each, 15 pairs."""
    data = torch.cat([part.factors for part in SPLITS if part.factors is not None]).double()
    correlations = torch.corrcoef(data.T) - torch.eye(6)
    assert float(correlations.abs().max()) < 6 / len(data) ** 0.5
    ranges = {"x": (4.5, 10.5), "y": (4.5, 10.5), "radius": (2.5, 4.5), "horizon": (5, 11), "light": (0.45, 1)}
    for name, (low, high) in ranges.items():
        found = data[:, FACTORS.index(name)]
        assert low <= float(found.min()) < float(found.max()) <= high
        deviation = (high - low) / 12**0.5
        assert abs(float(found.mean()) - (low + high) / 2) < 6 * deviation / len(data) ** 0.5


def test_size_changes_the_training_set_alone() -> None:
    few = load("shapes", size=30)
    assert [len(part) for part in few] == [30, 1000, 1000]
    assert torch.equal(few.test.tensor, SPLITS.test.tensor)
    assert str(few.test.protocol) == "shapes(size=30)/test, not binarized"


def test_seeds_and_splits_are_different_draws() -> None:
    other = load("shapes", seed=1)
    assert not torch.equal(other.test.tensor, SPLITS.test.tensor)
    assert not torch.equal(SPLITS.valid.tensor, SPLITS.test.tensor)
    assert str(other.test.protocol) == "shapes(seed=1)/test, not binarized"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "^size: expected a positive integer"),
        ({"seed": -1}, "^seed: expected an integer"),
        ({"binarize": "stochastic"}, "^binarize: expected None or 'none', since 'shapes' is in colour"),
        ({"noise": 0.1}, "^noise: expected one of the options of 'shapes', size"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load("shapes", **options)  # pyright: ignore[reportArgumentType]
