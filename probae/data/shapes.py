"""Shapes: little landscapes in colour, each with one object, whose factors of variation are known; no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from probae.data.generated import generated
from probae.data.splits import Splits

SIDE = 16
SHAPES = ("disc", "square", "triangle", "cross")
FACTORS = ("x", "y", "radius", "hue", "horizon", "light")
HUES = np.array([[1, 5], [3, 21], [13, 19], [8, 23]]) / 24
JITTER = 1 / 48
SKY, GROUND = np.array([0.5, 0.75, 1.0]), np.array([0.35, 0.45, 0.2])

# Nothing here but + - * / and square roots, which IEEE 754 makes the same on every machine.


def shapes(size: int = 5000, seed: int = 0) -> Splits:
    """Colour images of 16 x 16 pixels: a disc, a square, a triangle or a cross before a sky and a ground.

    The colour of an object is partly bound and partly free: each shape has two hues, between which a fair coin decides
    (a disc is red or lime, a square amber or pink, a triangle azure or violet, a cross green or crimson), and then
    strays from it by up to 1/48 of a turn. Sky and ground have the same colours everywhere, under one light. So a model
    that fills in colour is right about the landscape and must choose, not average, for the object.

    Labels are the shapes, in the order above. `factors` are what drew each image, all of them uniform but the hue, and
    independent but for the hue and the shape:

    - x, y: centre of the object in pixels, from 4.5 to 10.5, from the left and from the top;
    - radius: 2.5 to 4.5 pixels;
    - hue: in turns of the colour wheel, red at 0, green at 1/3, blue at 2/3;
    - horizon: its height in pixels from the top, from 5 to 11;
    - light: 0.45 (dusk) to 1 (noon); multiplies every channel.

    Args:
        size: training images; there are 1,000 each to validate and to test.
        seed: names the draw; images and factors are the same ones on every machine.

    Returns:
        Values in [0, 1] (multiples of 1/255), data shape (3, 16, 16), labels, factors of shape (N, 6).

    Raises:
        ArgumentError: for a size or a seed that is none.

    Example:
        >>> images = shapes(size=100).train
        >>> images
        Dataset(shapes/train, not binarized: 100 examples of shape (3, 16, 16) with labels, factors,
        float32 on cpu)
        >>> {name: round(factor, 2) for name, factor in zip(FACTORS, images.factors[0].tolist())}
        {'x': 10.4, 'y': 9.82, 'radius': 3.19, 'hue': 0.04, 'horizon': 7.35, 'light': 0.71}
    """
    return generated("shapes", _draw, size, seed)


def _draw(stream: np.random.RandomState, count: int) -> dict[str, Any]:
    shape, coin = stream.randint(len(SHAPES), size=count), stream.randint(2, size=count)
    lot = stream.random_sample((len(FACTORS), count))
    hue = HUES[shape, coin] + JITTER * (2 * lot[3] - 1)
    factors = [4.5 + 6 * lot[0], 4.5 + 6 * lot[1], 2.5 + 2 * lot[2], hue, 5 + 6 * lot[4], 0.45 + 0.55 * lot[5]]
    images = np.rint(255 * _images(shape, *factors)) / 255
    return {"tensor": images, "labels": shape, "factors": np.stack(factors, axis=1)}


def _images(shape: np.ndarray, *factors: np.ndarray) -> np.ndarray:
    """(N, 3, 16, 16): the object before the landscape, each pixel mixing what it covers of both."""
    x, y, radius, hue, horizon, light = (factor[:, None, None, None] for factor in factors)
    row, column = np.arange(SIDE)[:, None], np.arange(SIDE)
    outside = np.choose(shape[:, None, None, None], _outlines(np.abs(column - x), row - y, radius))
    covered, ground = np.clip(0.5 - outside, 0, 1), np.clip(0.5 + row - horizon, 0, 1)
    landscape = ground * GROUND[:, None, None] + (1 - ground) * SKY[:, None, None]
    return light * (covered * _colour(hue) + (1 - covered) * landscape)


def _outlines(across: np.ndarray, down: np.ndarray, radius: np.ndarray) -> list[np.ndarray]:
    """How many pixels beyond the outline of each shape a point lies, about, and negative inside."""
    high = np.abs(down)
    disc = np.sqrt(across * across + down * down) - radius
    square = np.maximum(across, high) - 0.875 * radius
    triangle = np.maximum(0.875 * across - 0.5 * down, down) - 0.625 * radius
    arm = 0.375 * radius
    beam, post = np.maximum(across - radius, high - arm), np.maximum(across - arm, high - radius)
    return [disc, square, triangle, np.minimum(beam, post)]


def _colour(hue: np.ndarray) -> np.ndarray:
    """The brightest, most saturated colour of each hue: (N, 1, 1, 1) to (N, 3, 1, 1)."""
    towards = (6 * hue + np.array([0, 4, 2])[:, None, None]) % 6
    return np.clip(np.abs(towards - 3) - 1, 0, 1)
