"""A context in which whatever would make a program wait for an accelerator is an error, so that a CPU can test it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "aten::_local_scalar_dense": ".item(), float(), bool(), or a branch on a tensor",
    "aten::is_nonzero": "a branch on a tensor",
    "aten::nonzero": "the indices of a mask",
    "aten::masked_select": "indexing by a mask",
    "aten::equal": "torch.equal",
    "aten::_unique2": "torch.unique",
    "aten::unique_dim": "torch.unique",
    "aten::repeat_interleave.Tensor": "repeat_interleave by a tensor",
}
"""Operators that return a number, or a tensor whose shape depends on values: the host must wait for them."""


class SynchronizationError(AssertionError):
    """An operator would have waited for the device."""


class _NoSync(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        full = f"{name}.{func._overloadname}"
        if why := WAITING.get(name) or WAITING.get(full):
            raise SynchronizationError(f"{full} waits for the device ({why})")
        if name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            raise SynchronizationError(f"{full} with a mask waits for the device")
        return func(*args, **(kwargs or {}))


@contextmanager
def no_sync() -> Generator[None]:
    """Raise where a synchronization would be, in forward and backward; validation, which may wait, is off."""
    with pyro.validation_enabled(False), _NoSync():
        yield
