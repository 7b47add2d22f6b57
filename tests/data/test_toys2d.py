"""Laws of the toys: standardized, and exactly as dense as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from probae.data import load
from probae.data.curves import Curves
from probae.data.toys2d import LONG, _corners, _moons, _pinwheel_log_prob, _rings, _roll, _spirals
from probae.errors import ArgumentError

TOYS = ["checkerboard", "eight_gaussians", "pinwheel", "rings", "spirals", "swiss_roll", "two_moons"]
CURVES = {"eight_gaussians": _corners, "rings": _rings, "spirals": _spirals, "swiss_roll": _roll, "two_moons": _moons}
NOISE = 0.1
CLUSTERS = {"eight_gaussians": 8, "pinwheel": 5, "rings": 4, "spirals": 2, "two_moons": 2}
toys = pytest.mark.parametrize("name", TOYS)


def sample(name: str, count: int) -> np.ndarray:
    if name in CURVES:  # without their densities, which take longer
        return Curves(CURVES[name], NOISE).sample(np.random.RandomState(0), count)[0]
    splits = load(name, size=count) if name == "checkerboard" else load(name, size=count, noise=NOISE)
    return splits.train.tensor.double().numpy()


def log_density(name: str, x: np.ndarray) -> np.ndarray:
    if name == "pinwheel":
        scale = math.sqrt((1 + LONG**2 + NOISE**2) / 2)
        return _pinwheel_log_prob(scale * x, NOISE) + 2 * math.log(scale)
    return Curves(CURVES[name], NOISE).log_prob(x).numpy()


def grid(low: float, high: float, count: int) -> tuple[np.ndarray, float]:
    """Points in the middle of squares, and the area of one."""
    side = (high - low) / count
    line = low + side * (np.arange(count) + 0.5)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2), side**2


@toys
def test_sizes_shapes_and_protocols(name: str) -> None:
    splits = load(name, size=70)
    assert [len(part) for part in splits] == [70, 1000, 1000]
    assert [str(part.protocol) for part in splits] == [
        f"{name}(size=70)/{split}, not binarized" for split in ("train", "valid", "test")
    ]
    assert all(part.data_shape == (2,) and part.true_log_prob is not None for part in splits)
    labels = splits.test.labels
    assert (None if labels is None else len(labels.unique())) == CLUSTERS.get(name)
    assert torch.equal(splits.test.tensor, load(name).test.tensor)


@toys
def test_mean_zero_and_variance_one(name: str) -> None:
    """Six standard errors of 100,000 points for each of four moments of seven toys: 28 * 2e-9; the seed is fixed."""
    x = torch.from_numpy(sample(name, 100_000))
    for power, expected in ((x, 0.0), (x.square(), 1.0)):
        errors = (power.mean(0) - expected).abs() / (power.std(0) / len(x) ** 0.5)
        assert float(errors.max()) < 6


@pytest.mark.parametrize("name", [*CURVES, "pinwheel"])
def test_densities_integrate_to_one(name: str) -> None:
    points, area = grid(-4.5, 4.5, 300)
    assert float(np.exp(log_density(name, points)).sum() * area) == pytest.approx(1, abs=1e-6)


def test_the_checkerboard_is_uniform_on_its_black_squares() -> None:
    data = load("checkerboard").train
    squares = (data.tensor * math.sqrt(4 / 3)).floor().long()
    assert set(squares.unique().tolist()) == {-2, -1, 0, 1}
    assert (squares.sum(1) % 2 == 0).all()
    assert data.true_log_prob is not None
    assert data.true_log_prob.unique().tolist() == pytest.approx([-math.log(8 * 3 / 4)], abs=1e-12)


@pytest.mark.parametrize("name", [*CURVES, "pinwheel"])
def test_points_are_as_frequent_as_their_density_says(name: str) -> None:
    """In each of 36 squares of side 1.5: Bernstein's bound at 1e-9, 2.2e-7 in all six toys, and the seed is fixed."""
    n, (middles, area) = 50_000, grid(-4.5, 4.5, 300)
    p = np.zeros(36)
    np.add.at(p, _square(middles), np.exp(log_density(name, middles)) * area)
    counts, log = np.bincount(_square(sample(name, n)), minlength=36), math.log(2 / 1e-9)
    bound = log / 3 + np.sqrt((log / 3) ** 2 + 2 * n * p * (1 - p) * log)
    assert (np.abs(counts - n * p) <= bound).all()


def _square(x: np.ndarray) -> np.ndarray:
    column, row = ((x.clip(-4.49, 4.49) + 4.5) // 1.5).astype(int).T
    return 6 * row + column


@pytest.mark.parametrize("name", [*CURVES, "pinwheel"])
def test_each_point_brings_its_own_log_density(name: str) -> None:
    test = load(name, noise=NOISE).test
    assert test.true_log_prob is not None
    expected = log_density(name, test.tensor.double().numpy())
    assert np.allclose(test.true_log_prob.numpy(), expected, atol=1e-3), "but for the rounding of x to float32"


def test_the_mixture_of_gaussians_agrees_with_its_formula() -> None:
    test = load("eight_gaussians", noise=0.2).test
    scale = math.sqrt(0.5 + 0.2**2)
    angles = torch.arange(8).double() * math.pi / 4
    means = torch.stack([angles.cos(), angles.sin()], 1) / scale
    normal = torch.distributions.Normal(means, 0.2 / scale)
    expected = normal.log_prob(test.tensor.double()[:, None]).sum(2).logsumexp(1) - math.log(8)
    assert test.true_log_prob is not None
    assert torch.allclose(test.true_log_prob, expected, atol=1e-5)
    assert test.labels is not None
    near = (test.tensor.double()[:, None] - means).norm(dim=2).argmin(1)
    assert float((near == test.labels).double().mean()) > 0.9


@pytest.mark.parametrize("name", list(CURVES))
def test_the_quadrature_is_fine_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = Curves(CURVES[name], 0.02)
    x = curves.sample(np.random.RandomState(2), 300)[0]
    monkeypatch.setattr("probae.data.curves.ORDER", 30)
    monkeypatch.setattr("probae.data.curves.REACH", 2.0)
    finer = Curves(curves.points, curves.noise).log_prob(x)
    assert torch.allclose(curves.log_prob(x), finer, atol=1e-10, rtol=0)


@toys
def test_draws_are_named_by_seed_and_split(name: str) -> None:
    one, again, other = load(name, size=50), load(name, size=50), load(name, size=50, seed=1)
    for a, b, c in zip(one, again, other, strict=True):
        assert torch.equal(a.tensor, b.tensor)
        assert not torch.equal(a.tensor, c.tensor)
    assert not torch.equal(one.valid.tensor, one.test.tensor)
    assert str(other.test.protocol) == f"{name}(size=50, seed=1)/test, not binarized"


def test_the_labels_are_the_same_everywhere() -> None:
    """The points come from sines and logarithms, whose last bits may differ between machines."""
    labels = {name: load(name).train.labels for name in CLUSTERS}
    assert {name: y[:6].tolist() for name, y in labels.items() if y is not None} == {
        "eight_gaussians": [6, 2, 5, 6, 0, 0],
        "pinwheel": [1, 1, 0, 1, 2, 2],
        "rings": [1, 1, 3, 0, 2, 3],
        "spirals": [1, 0, 1, 0, 0, 1],
        "two_moons": [0, 0, 0, 1, 1, 0],
    }
    assert load("two_moons").test.tensor[0].tolist() == pytest.approx([-1.168087, 0.978781], abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.01, -1, 1.5, math.inf, "much"])
@pytest.mark.parametrize("name", [*CURVES, "pinwheel"])
def test_bad_noise_is_named(name: str, noise: object) -> None:
    with pytest.raises(ArgumentError, match=r"^noise: expected a finite number at least 0.02"):
        load(name, noise=noise)


@toys
def test_points_are_not_binarized(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^binarize: expected None or 'none', since '{name}' is real-valued"):
        load(name, binarize="dynamic")
