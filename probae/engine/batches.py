"""Batches from whatever a user calls data: resident on the device where it fits, else streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from probae.checks import finite
from probae.data import Dataset
from probae.errors import ArgumentError, DataError


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
        """The batches of one epoch, from the `start`-th on; the same ones for the same number."""


class Resident(Batches):
    """Tensors that lie on the device and are shuffled, cut and (for dynamic binarization) drawn there.

    Args:
        data: a data set of ours, or a tuple or mapping of tensors of equal length.
        batch_size: examples a batch; None for all at once.
        seed: of the order, which is a function of it and the epoch's number; None keeps the order of the data.
        device: where the batches go.
    """

    def __init__(
        self, data: Dataset | tuple[Tensor, ...] | Mapping[str, Tensor], batch_size: int | None, seed: int | None,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.data, self.seed, self.device = data, seed, device
        self.length = len(data) if isinstance(data, Dataset) else len(next(iter(_values(data))))
        self.batch_size = min(batch_size or self.length, self.length)
        self.steps = -(-self.length // self.batch_size)
        self.whole = self.batch_size == self.length

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        if self.whole and not (isinstance(self.data, Dataset) and self.data.resamples):
            if start == 0:
                yield self._all()
            return
        for indices in self._order(number).split(self.batch_size)[start:]:
            yield self._take(indices)

    def _order(self, number: int) -> Tensor:
        if self.seed is None or self.whole:
            order = torch.arange(self.length)
        else:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % 2**63)
            order = torch.randperm(self.length, generator=generator)
        where = self.data.device if isinstance(self.data, Dataset) else next(iter(_values(self.data))).device
        return order.to(where, non_blocking=True)

    def _take(self, indices: Tensor) -> Batch:
        if isinstance(self.data, Dataset):
            return self._send((self.data.batch(indices),), {})
        if isinstance(self.data, tuple):
            return self._send(tuple(x.index_select(0, indices) for x in self.data), {})
        return self._send((), {key: x.index_select(0, indices) for key, x in self.data.items()})

    def _all(self) -> Batch:
        if isinstance(self.data, Dataset):
            return self._send((self.data.tensor,), {})
        return self._send(self.data, {}) if isinstance(self.data, tuple) else self._send((), self.data)

    def _send(self, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Batch:
        return Batch(
            tuple(x.to(self.device, non_blocking=True) for x in args),
            {key: x.to(self.device, non_blocking=True) for key, x in kwargs.items()},
        )


class Stream(Batches):
    """Any iterable of batches, such as a `DataLoader`: each batch moves to the device as it comes."""

    def __init__(self, source: Iterable[Any], device: torch.device, dtype: torch.dtype | None) -> None:
        self.source, self.device, self.dtype = source, device, dtype
        self.steps = len(source) if hasattr(source, "__len__") else None  # type: ignore[arg-type]

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for index, item in enumerate(self.source):
            if index >= start:
                yield _batch(_tree(item, self.device, self.dtype))


def batches(
    argument: str,
    data: Any,
    *,
    batch_size: int | None,
    seed: int | None,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> Batches:
    """A source of batches from `data`: a data set of ours, tensors, arrays, a torch data set, a loader, an iterable.

    Raises:
        DataError: names `argument`; for no examples, unequal lengths, NaN or infinity, or something that is no data.
    """
    if isinstance(data, Dataset):
        return Resident(data.to(_home(data.tensor, device), dtype or data.dtype), batch_size, seed, device)
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (Tensor, np.ndarray)):
        data = (data,)
    if isinstance(data, (tuple, Mapping)):
        return Resident(_resident(argument, data, device, dtype), batch_size, seed, device)
    if isinstance(data, TorchDataset) and not isinstance(data, DataLoader):
        shuffle = seed is not None and hasattr(data, "__getitem__") and hasattr(data, "__len__")
        data = DataLoader(data, batch_size=batch_size, shuffle=shuffle)
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes)):
        raise DataError(argument, "a data set, a tensor, an array, a pair, a DataLoader or an iterable", repr(data)[:80])
    if hasattr(data, "__len__") and len(data) == 0:  # type: ignore[arg-type]
        raise DataError(argument, "at least one example", "an empty iterable")
    if iter(data) is data:
        raise DataError(argument, "an iterable that can be read once an epoch", "an iterator", "Pass a list or a loader")
    return Stream(data, device, dtype)


def _resident(argument: str, data: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    items = data.items() if isinstance(data, Mapping) else enumerate(data)
    found: dict[Any, Tensor] = {}
    for key, value in items:
        name = argument if len(data) == 1 else f"{argument}[{key!r}]"
        if not isinstance(value, (Tensor, np.ndarray)):
            raise DataError(name, "a tensor or an array", type(value).__name__)
        tensor = torch.as_tensor(value)
        if isinstance(value, np.ndarray) and tensor.dtype == torch.float64:
            tensor = tensor.to(torch.get_default_dtype())
        if tensor.dim() == 0 or tensor.shape[0] == 0:
            raise DataError(name, "at least one example", f"shape {tuple(tensor.shape)}")
        if tensor.is_floating_point():
            finite(name, tensor)
        found[key] = _to(tensor, _home(tensor, device), dtype)
    lengths = {len(tensor) for tensor in found.values()}
    if len(lengths) != 1:
        raise DataError(argument, "tensors of equal length", f"lengths {[len(x) for x in found.values()]}")
    return found if isinstance(data, Mapping) else tuple(found.values())


def _home(tensor: Tensor, device: torch.device) -> torch.device:
    """The device if the data fits into half of its free memory, else where the data is."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if tensor.numel() * tensor.element_size() < free / 2 else tensor.device


def _to(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(device, dtype if dtype and tensor.is_floating_point() else None, non_blocking=True)


def _tree(item: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    if isinstance(item, Dataset):
        item = item.tensor
    if isinstance(item, (Tensor, np.ndarray)):
        return _to(torch.as_tensor(item), device, dtype)
    if isinstance(item, (tuple, list)):
        return tuple(_tree(x, device, dtype) for x in item)
    if isinstance(item, Mapping):
        return {key: _tree(x, device, dtype) for key, x in item.items()}
    return item


def _batch(item: Any) -> Batch:
    if isinstance(item, tuple):
        return Batch(item, {})
    return Batch((), item) if isinstance(item, Mapping) else Batch((item,), {})


def _values(data: tuple[Tensor, ...] | Mapping[str, Tensor]) -> Iterable[Tensor]:
    return data.values() if isinstance(data, Mapping) else data


def check_batch_size(batch_size: Any) -> int | None:
    """A positive integer, or None for everything at once."""
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise ArgumentError("batch_size", "a positive integer, or None for all examples at once", repr(batch_size))
    return batch_size
