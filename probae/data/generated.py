"""Sets that a program draws: each split from a random stream of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from probae import checks
from probae.data.dataset import Dataset
from probae.data.protocol import Protocol
from probae.data.splits import Splits
from probae.data.streams import random_stream

VALID = TEST = 1000

Draw = Callable[[np.random.RandomState, int], dict[str, Any]]
"""Draws so many examples from a stream: the arguments of a `Dataset`."""


def generated(name: str, draw: Draw, size: int, seed: int) -> Splits:
    """`size` examples to train, 1,000 to validate and 1,000 to test, the last two the same whatever the size.

    Args:
        name: of the data set; it names the streams, so that two sets share no noise.
        draw: draws the examples of one split.
        size: training examples.
        seed: names the draw.

    Raises:
        ArgumentError: for a size or a seed that is none.

    Example:
        >>> dice = lambda stream, count: {"tensor": stream.randint(6, size=(count, 1)) + 1.0}
        >>> [split.test.tensor[:5].flatten().tolist() for split in (generated("dice", dice, n, 0) for n in (1, 9))]
        [[4.0, 1.0, 5.0, 6.0, 1.0], [4.0, 1.0, 5.0, 6.0, 1.0]]
    """
    seed = checks.positive_int("seed", seed, minimum=0)
    sizes = {"train": checks.positive_int("size", size), "valid": VALID, "test": TEST}
    drawn = {split: draw(random_stream(name, split, seed), count) for split, count in sizes.items()}
    return Splits(*(Dataset(**part, protocol=Protocol(name, split, "none")) for split, part in drawn.items()))
