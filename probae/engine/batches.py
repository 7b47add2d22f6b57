"""Batches: of tensors that lie on the device, or streamed from an iterable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae.checks import unmasked
from probae.data import Dataset

Part = Dataset | Tensor
"""One argument of the model for all examples: a data set of ours, or a tensor."""

_ORDER_SEED = 271_828_183  # keeps the order of the examples apart from the noise of training, which has the seed itself


@dataclass(frozen=True)
class Batch:
    """The arguments of one call of the model: tuples pass by position, mappings by keyword."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def num_examples(self) -> int:
        """Length of the first tensor."""
        tensors = (x for x in (*self.args, *self.kwargs.values()) if isinstance(x, Tensor) and x.dim())
        return next((x.shape[0] for x in tensors), 1)


class Batches(ABC):
    """A source of batches, epoch after epoch.

    Attributes:
        steps: batches an epoch; None where only the end of the stream tells.
    """

    steps: int | None

    @abstractmethod
    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from the `start`-th on; the same ones for the same number.

        What is random about their order is drawn before this returns, what is random in them as they come.
        """


class Resident(Batches):
    """Data that lies on the device and is shuffled, cut and (for dynamic binarization) drawn there.

    Args:
        data: a tuple or mapping of parts of equal length, data sets of ours or tensors; also one data set alone.
        batch_size: examples a batch; None for all at once.
        seed: of the order, which is a function of it and the epoch's number; None keeps the order of the data.
        device: where the batches go.
    """

    def __init__(
        self, data: Part | tuple[Part, ...] | Mapping[str, Part], batch_size: int | None, seed: int | None,
        device: torch.device,
    ) -> None:  # fmt: skip
        named = isinstance(data, Mapping)
        self.args: tuple[Part, ...] = () if named else data if isinstance(data, tuple) else (data,)
        self.kwargs: Mapping[str, Part] = data if named else {}
        self.seed, self.device = seed, device
        parts = (*self.args, *self.kwargs.values())
        self.length, self.home = len(parts[0]), parts[0].device
        self.batch_size = min(batch_size or self.length, self.length)
        self.steps = -(-self.length // self.batch_size)
        self.whole = self.batch_size == self.length
        self.resamples = any(isinstance(part, Dataset) and part.resamples for part in parts)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        if self.whole and not self.resamples:
            return iter([self._batch(_all)][start:])
        return map(self._take, self._order(number).split(self.batch_size)[start:])

    def _order(self, number: int) -> Tensor:
        if self.seed is None or self.whole:
            order = torch.arange(self.length, device="cpu")
        else:
            generator = torch.Generator(device="cpu").manual_seed(
                (self.seed * 1_000_003 + number + _ORDER_SEED) % 2**63
            )
            order = torch.randperm(self.length, generator=generator, device="cpu")
        return moved(order, self.home, None)

    def _take(self, indices: Tensor) -> Batch:
        return self._batch(lambda part: _rows(part, indices))

    def _batch(self, read: Callable[[Part], Tensor]) -> Batch:
        args = tuple(moved(read(part), self.device, None) for part in self.args)
        return Batch(args, {key: moved(read(part), self.device, None) for key, part in self.kwargs.items()})


def _all(part: Part) -> Tensor:
    return part.tensor if isinstance(part, Dataset) else part


def _rows(part: Part, indices: Tensor) -> Tensor:
    indices = indices.to(part.device)  # parts that do not fit the device lie elsewhere
    return part.batch(indices) if isinstance(part, Dataset) else part.index_select(0, indices)


class Stream(Batches):
    """Any iterable of batches, such as a `DataLoader`: each batch moves to the device as it comes."""

    def __init__(self, source: Iterable[Any], device: torch.device, dtype: torch.dtype | None) -> None:
        self.source, self.device, self.dtype = source, device, dtype
        self.steps = length(source)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        source = iter(self.source)
        for _ in range(start):
            next(source, None)
        return map(self._batch, source)

    def _batch(self, item: Any) -> Batch:
        item = self._moved(item)
        if isinstance(item, tuple):
            return Batch(item, {})
        return Batch((), item) if isinstance(item, Mapping) else Batch((item,), {})

    def _moved(self, item: Any) -> Any:
        if isinstance(item, Dataset):
            item = item.tensor
        if isinstance(item, (Tensor, np.ndarray)):
            return moved(as_tensor(item), self.device, self.dtype)
        if isinstance(item, (tuple, list)):
            return tuple(self._moved(x) for x in item)
        if isinstance(item, Mapping):
            return {key: self._moved(x) for key, x in item.items()}
        return item


def length(source: Any) -> int | None:
    """How many items an iterable says it has; None where it does not know."""
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


def as_tensor(x: Any) -> Tensor:
    """A tensor of the same numbers; an array of float64, NumPy's default, becomes torch's default instead."""
    if isinstance(x, Tensor):
        return x
    tensor = torch.as_tensor(np.require(unmasked("data", x), requirements=["C", "W"]))
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def moved(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """The tensor on a device, and in a dtype if it holds floating-point numbers; on a CPU it has arrived by then."""
    dtype = dtype if dtype and tensor.is_floating_point() else None
    return tensor.to(device, dtype, non_blocking=device.type == "cuda")
