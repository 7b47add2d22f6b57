"""Two-dimensional toys: points in the plane whose distribution is hard to miss and exactly known; no network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from probae import checks
from probae.data.curves import Curves
from probae.data.generated import generated
from probae.data.splits import Splits

FINEST = 0.02
LONG = 0.3  # standard deviation along a sail of the pinwheel


def two_moons(size: int = 5000, noise: float = 0.1, seed: int = 0) -> Splits:
    """Two half circles of radius 1 that reach into each other; labels 0 and 1.

    As all toys here it has mean 0 and variance 1 on each axis, those of the distribution and so the same for every
    sample, and `true_log_prob`, the exact log-density of each point, whose mean is the ceiling for every model.

    Args:
        size: training points; there are 1,000 each to validate and to test.
        noise: standard deviation about the curves before the scaling, from 0.02 to 1.
        seed: names the draw.

    Returns:
        (N, 2) real values.

    Raises:
        ArgumentError: names the argument.

    Source: scikit-learn's make_moons.

    Example:
        >>> moons = two_moons().test
        >>> moons
        Dataset(two_moons/test, not binarized: 1000 examples of shape (2,) with labels, true_log_prob, float32 on cpu)
        >>> print(f"no model can hope for more than {moons.true_log_prob.mean():.2f} nats on them")
        no model can hope for more than -1.82 nats on them
    """
    return _scattered("two_moons", _moons, size, noise, seed)


def rings(size: int = 5000, noise: float = 0.03, seed: int = 0) -> Splits:
    """Four circles of radius 1/4, 1/2, 3/4 and 1, equally likely; labels 0 to 3. See `two_moons`.

    Source: Grathwohl et al. 2019 (arXiv 1810.01367), its toy data.
    """
    return _scattered("rings", _rings, size, noise, seed)


def spirals(size: int = 5000, noise: float = 0.04, seed: int = 0) -> Splits:
    """Two arms of an Archimedean spiral, a turn and a quarter each; labels 0 and 1. See `two_moons`.

    Source: Grathwohl et al. 2019 (arXiv 1810.01367), its toy data.
    """
    return _scattered("spirals", _spirals, size, noise, seed)


def swiss_roll(size: int = 5000, noise: float = 0.03, seed: int = 0) -> Splits:
    """One arm of a spiral, a turn and a half; no labels. See `two_moons`.

    Source: the cross-section of scikit-learn's make_swiss_roll.
    """
    return _scattered("swiss_roll", _roll, size, noise, seed, labelled=False)


def eight_gaussians(size: int = 5000, noise: float = 0.125, seed: int = 0) -> Splits:
    """A mixture of eight Gaussians about the corners of an octagon; labels 0 to 7. See `two_moons`.

    Source: Grathwohl et al. 2019 (arXiv 1810.01367), its toy data.
    """
    return _scattered("eight_gaussians", _corners, size, noise, seed)


def pinwheel(size: int = 5000, noise: float = 0.05, seed: int = 0) -> Splits:
    """Five long Gaussians, the sails of a wheel, twisted more the farther out they reach; labels 0 to 4.

    `noise` is the standard deviation across a sail (along it, it is 0.3). The twist turns each point by an angle that
    depends on its radius, so it keeps areas and the density is exact; the original's depends on the place along the
    sail, nearly the same. See `two_moons`.

    Source: Johnson et al. 2016 (arXiv 1603.06277), section 5.
    """
    return generated("pinwheel", partial(_pinwheel, _noise(noise)), size, seed)


def checkerboard(size: int = 5000, seed: int = 0) -> Splits:
    """Uniform on the eight black squares of a board of four by four; no labels. See `two_moons`.

    Source: Grathwohl et al. 2019 (arXiv 1810.01367), its toy data.
    """
    return generated("checkerboard", _checkerboard, size, seed)


def _noise(noise: float) -> float:
    return checks.real("noise", noise, low=FINEST, high=1.0)  # finer noise would take long to integrate over


def _scattered(
    name: str, points: Callable[[np.ndarray], np.ndarray], size: int, noise: float, seed: int, *, labelled: bool = True
) -> Splits:
    curves = Curves(points, _noise(noise))

    def draw(stream: np.random.RandomState, count: int) -> dict[str, Any]:
        x, curve = curves.sample(stream, count)
        return {"tensor": x, "labels": curve if labelled else None, "true_log_prob": curves.log_prob(x)}

    return generated(name, draw, size, seed)


def _polar(radius: Any, turns: Any) -> np.ndarray:
    """Points at a radius and an angle, in turns: (..., 2)."""
    return np.stack(np.broadcast_arrays(radius * np.cos(2 * np.pi * turns), radius * np.sin(2 * np.pi * turns)), -1)


def _moons(t: np.ndarray) -> np.ndarray:
    upper = _polar(1.0, t / 2)
    return np.stack([upper, np.array([1.0, 0.5]) - upper])


def _rings(t: np.ndarray) -> np.ndarray:
    return _polar(np.arange(1, 5)[:, None] / 4, t)


def _spirals(t: np.ndarray) -> np.ndarray:
    turns = np.sqrt(0.25**2 + t * (1.5**2 - 0.25**2))  # evenly along the arm, about
    return _polar(turns / 1.5, turns + np.array([[0.0], [0.5]]))


def _roll(t: np.ndarray) -> np.ndarray:
    turns = 0.75 + 1.5 * t
    return _polar(turns / 2.25, turns)[None]


def _corners(t: np.ndarray) -> np.ndarray:
    return _polar(1.0, np.arange(8)[:, None] / 8 + 0 * t)


def _pinwheel(noise: float, stream: np.random.RandomState, count: int) -> dict[str, Any]:
    sail = stream.randint(5, size=count)
    straight = stream.standard_normal((count, 2)) * [LONG, noise] + [1, 0]
    radius = np.hypot(*straight.T)
    x = _polar(radius, np.arctan2(*straight.T[::-1]) / (2 * np.pi) + sail / 5 + _twist(radius))
    scale = np.sqrt((1 + LONG**2 + noise**2) / 2)
    log_prob = _pinwheel_log_prob(x, noise) + 2 * np.log(scale)
    return {"tensor": x / scale, "labels": sail, "true_log_prob": log_prob}


def _pinwheel_log_prob(x: np.ndarray, noise: float) -> np.ndarray:
    """Untwists the points, which changes no area, and sums over the five sails."""
    radius, turns = np.hypot(*x.T), np.arctan2(*x.T[::-1]) / (2 * np.pi)
    straight = _polar(radius, turns - _twist(radius) - np.arange(5)[:, None] / 5)
    distance = ((straight - [1, 0]) / [LONG, noise]) ** 2
    return np.logaddexp.reduce(-distance.sum(-1) / 2, axis=0) - np.log(5 * 2 * np.pi * LONG * noise)


def _twist(radius: np.ndarray) -> np.ndarray:
    return 0.25 * np.exp(radius) / (2 * np.pi)


def _checkerboard(stream: np.random.RandomState, count: int) -> dict[str, Any]:
    column, row = stream.randint(4, size=count), 2 * stream.randint(2, size=count)
    corner = np.stack([column, row + column % 2], axis=1)
    scale = np.sqrt(4**2 / 12)  # each axis alone is uniform on a length of four
    x = (corner + stream.random_sample((count, 2)) - 2) / scale
    return {"tensor": x, "true_log_prob": np.full(count, 2 * np.log(scale) - np.log(8))}
