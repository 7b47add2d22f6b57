"""Which labels stay known when only few may: as many of each class as can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.data.streams import random_stream
from probae.errors import ArgumentError, DataError


def kept(labels: Tensor | None, count: Any, seed: Any) -> Tensor:
    """`labels` with `count` of the known ones kept and the others -1.

    The known ones are shuffled, and then chosen in rounds, each of which takes the next one of every class. So the
    numbers of two classes differ by one at most, but for a class that has no more.

    Raises:
        ArgumentError: for more labels than are known, or a count or a seed that is none.
        DataError: where there are no labels.

    Example:
        >>> kept(torch.tensor([0, 0, 0, 1, 1, 2, -1]), count=3, seed=0).sort().values
        tensor([-1, -1, -1, -1,  0,  1,  2])
    """
    if labels is None:
        raise DataError("labels", "labels, to keep some of them", "a data set without labels")
    count, seed = checks.positive_int("count", count, minimum=0), checks.positive_int("seed", seed, minimum=0)
    known = (labels >= 0).nonzero().flatten()
    if count > len(known):
        raise ArgumentError("count", f"at most {len(known)}, the number of known labels", count)
    shuffled = known[torch.from_numpy(random_stream("labels", seed).permutation(len(known))).to(labels.device)]
    chosen = shuffled[_rounds(labels[shuffled]).argsort(stable=True)[:count]]
    return torch.full_like(labels, -1).index_copy(0, chosen, labels[chosen])


def _rounds(classes: Tensor) -> Tensor:
    """How often the class of each entry occurs before it: the round that takes it."""
    by_class = classes.argsort(stable=True)
    sizes = classes[by_class].unique_consecutive(return_counts=True)[1]
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    place = torch.arange(len(classes), device=classes.device) - starts
    return torch.empty_like(place).index_copy(0, by_class, place)
