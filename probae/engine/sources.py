"""What a user calls data, as batches: checked at the door, resident on the device where it fits, else streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from probae.checks import finite, positive_int
from probae.data import Dataset
from probae.engine.batches import Batches, Part, Resident, Stream, as_tensor, length, moved
from probae.errors import DataError


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

    Args:
        argument: what errors call the data.
        data: see `pb.fit`.
        batch_size: examples a batch; None for all at once. A loader or an iterable has its own.
        seed: of the order; None keeps the order of the data.
        device, dtype: of the batches; only floating-point numbers change their dtype.

    Raises:
        DataError: names `argument`; for no examples, unequal lengths, NaN or infinity, or something that is no data.
    """
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Dataset) or hasattr(data, "__array__"):  # a tensor, an array, a data frame
        data = (data,)
    if isinstance(data, (tuple, Mapping)):
        return Resident(_resident(argument, data, device, dtype), batch_size, seed, device)
    if isinstance(data, list) and _holds_numbers(data):
        raise DataError(argument, "a tensor or an array of the numbers", "a list of them", "torch.tensor makes one")
    if isinstance(data, Iterator):
        raise DataError(argument, "an iterable that can be read in each epoch", "an iterator", "Pass a list")
    if length(data) == 0:
        raise DataError(argument, "at least one example", "none")
    if isinstance(data, TorchDataset):
        data = _loader(argument, data, batch_size, shuffle=seed is not None)
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes)):
        expected = "a data set, a tensor, an array, a pair, a DataLoader or an iterable of batches"
        raise DataError(argument, expected, repr(data)[:80])
    return Stream(data, device, dtype)


def _holds_numbers(data: Any) -> bool:
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, (int, float))


def check_batch_size(batch_size: Any) -> int | None:
    """A positive integer, or None for everything at once."""
    return None if batch_size is None else positive_int("batch_size", batch_size)


def _loader(argument: str, data: TorchDataset[Any], batch_size: int | None, shuffle: bool) -> DataLoader[Any]:
    if isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=batch_size)
    count = length(data)
    if count is None:
        raise DataError(argument, "a torch Dataset with a length", f"a {type(data).__name__} without one")
    return DataLoader(data, batch_size=batch_size or count, shuffle=shuffle)


def _resident(argument: str, data: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    items = data.items() if isinstance(data, Mapping) else enumerate(data)
    found: dict[Any, Part] = {}
    for key, value in items:
        if isinstance(value, Dataset):
            found[key] = value.to(_home(value.tensor, device), dtype or value.dtype)
            continue
        tensor = _checked(argument if len(data) == 1 else f"{argument}[{key!r}]", value)
        found[key] = moved(tensor, _home(tensor, device), dtype)
    lengths = [len(part) for part in found.values()]
    if len(set(lengths)) != 1:
        raise DataError(argument, "tensors of equal length", f"lengths {lengths}" if lengths else "none at all")
    return found if isinstance(data, Mapping) else tuple(found.values())


def _checked(name: str, value: Any) -> Tensor:
    if not hasattr(value, "__array__"):
        raise DataError(name, "a tensor or an array", f"a {type(value).__name__}")
    try:
        tensor = as_tensor(value)
    except (TypeError, ValueError) as error:
        raise DataError(name, "an array of numbers", str(error)) from error
    if tensor.dim() == 0 or tensor.shape[0] == 0:
        raise DataError(name, "at least one example", f"shape {tuple(tensor.shape)}")
    return finite(name, tensor) if tensor.is_floating_point() else tensor


def _home(tensor: Tensor, device: torch.device) -> torch.device:
    """The device if the data fits into half of its free memory, else where the data is."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if tensor.numel() * tensor.element_size() < free / 2 else tensor.device
