"""A pretend accelerator: tensors that hold their values on the CPU, say that they are elsewhere, and do not mix.

What fails on a GPU because a tensor was made on the wrong device fails here too, and what would make the host wait is
counted, with real values and through whole runs. Its name is "meta", the one device beside the CPU that every build of
torch has. The contract laws in `contracts/test_devices.py` run every model on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from tests.no_sync import WAITING

FAR, NEAR = torch.device("meta"), torch.device("cpu")
_COPIES = ("aten::_to_copy", "aten::copy_")
_INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")


class MixedDevicesError(AssertionError):
    """An operation got tensors of both devices."""


class Far(Tensor):
    """A tensor on the pretend accelerator.

    Attributes:
        near: its values.
    """

    near: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        far = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            layout=near.layout, device=FAR, requires_grad=near.requires_grad,
        )  # fmt: skip
        far.near = near
        return far

    def data_ptr(self) -> int:
        return self.near.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy = self.detach().clone()
            kept = nn.Parameter(copy, self.requires_grad) if isinstance(self, nn.Parameter) else copy
            memo[id(self)] = kept.requires_grad_(self.requires_grad)
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Accelerator:
    """What happened on it.

    Attributes:
        waits: how often the host waited for a result, by operation.
        graphs: what was captured.
    """

    def __init__(self) -> None:
        self.waits = Counter[str]()
        self.graphs: list[Graph] = []
        self.capturing: Graph | None = None

    def captured(self, step: Callable[[], Any], device: torch.device) -> tuple[Callable[[], None], Any]:
        """In place of `probae.engine.capture.captured`."""
        step()
        graph = Graph()
        state, self.capturing = torch.get_rng_state(), graph
        try:
            outputs = step()
        finally:
            self.capturing = None
            torch.set_rng_state(state)
            graph.restore()
        self.graphs.append(graph)
        return graph.replay, outputs


class Graph:
    """Operations with their memory, as CUDA's graphs hold them.

    Nothing is done when it is captured; numbers and tensors of the CPU are frozen in it; whoever would wait fails.

    Attributes:
        replays: how often it ran.
    """

    def __init__(self) -> None:
        self.replays = 0
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Any, Any]] = {}

    def add(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Capture an operation. (What it changes is put back in `restore`.)"""
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in pytree.tree_leaves(value):
                    storage = tensor.untyped_storage()
                    self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = func(*args, **kwargs)
        self._calls.append(pytree.tree_map_only(Tensor, torch.detach, (func, args, kwargs, result)))
        return result

    def restore(self) -> None:
        for storage, before in self._before.values():
            storage.copy_(before)
        self._before = {}

    def replay(self) -> None:
        self.replays += 1
        with _disable_current_modes(), torch.no_grad():
            for func, args, kwargs, result in self._calls:
                again = func(*args, **kwargs)
                for old, new in zip(pytree.tree_leaves(result), pytree.tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@contextmanager
def accelerator() -> Generator[Accelerator]:
    """Within, the device "meta" computes."""
    counts = Accelerator()
    with _Numbers(), _Operations(counts):
        yield counts


class _Numbers(TorchFunctionMode):
    """Tensors of Python's numbers, which torch would make there without values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or NEAR) == FAR:
            return func(*args, **{**kwargs, "device": NEAR}).to(FAR)
        if func is Tensor.new_tensor and isinstance(args[0], Far):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(FAR)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __init__(self, counts: Accelerator) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func, args, kwargs or {}):
            self.counts.waits[func._schema.name] += 1
            if self.counts.capturing is not None:
                raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        return _run(func, args, kwargs or {}, self.counts.capturing)


def _waits(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    name, far = func._schema.name, [isinstance(item, Far) for item in pytree.tree_leaves(args)]
    if name in _COPIES:
        comes_back = not far[0] if name == "aten::copy_" else torch.device(kwargs.get("device") or FAR) != FAR
        return any(far) and comes_back
    masked = name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1])
    return any(far) and (masked or name in WAITING or f"{name}.{func._overloadname}" in WAITING)


def _run(func: Any, args: Any, kwargs: dict[str, Any], graph: Graph | None = None) -> Any:
    """Do it on the CPU, and put the result where it belongs; capture it in a graph."""
    name, leaves = func._schema.name, pytree.tree_leaves((args, kwargs))
    fars = {id(item.near): item for item in leaves if isinstance(item, Far)}
    there = bool(fars)
    if kwargs.get("device") is not None:
        there, kwargs = torch.device(kwargs["device"]) == FAR, {**kwargs, "device": NEAR}
    elif name == "aten::copy_":
        there = isinstance(args[0], Far)
    _check(func, args, kwargs, leaves, there)
    if graph is not None and there:
        if name in _COPIES and any(isinstance(item, Tensor) and not isinstance(item, Far) for item in leaves):
            raise RuntimeError("operation not permitted when stream is capturing: a copy from the CPU")
        args, kwargs = pytree.tree_map_only(Tensor, _frozen, (args, kwargs))
    args, kwargs = pytree.tree_map_only(Far, lambda item: item.near, (args, kwargs))
    with _disable_current_modes():
        result = func(*args, **kwargs) if graph is None or not there else graph.add(func, args, kwargs)
        if name == "aten::_to_copy" and result is args[0]:
            result = result.clone()
    if not there:
        return result
    return pytree.tree_map_only(Tensor, lambda item: fars[id(item)] if id(item) in fars else Far(item), result)


def _frozen(tensor: Tensor) -> Tensor:
    return tensor if isinstance(tensor, Far) else tensor.clone()


def _check(func: Any, args: Any, kwargs: dict[str, Any], leaves: list[Any], there: bool) -> None:
    """As CUDA does it: numbers may be on the CPU in what goes element by element, indices wherever they are used."""
    name = func._schema.name
    near = [item for item in leaves if isinstance(item, Tensor) and not isinstance(item, Far)]
    if not any(isinstance(item, Far) for item in leaves):
        near = []
    elif name in _INDEXED and isinstance(args[0], Far):
        near = [item for item in near if item.dim() and not any(item is index for index in args[1])]
    elif torch.Tag.pointwise in func.tags:
        near = [item for item in near if item.dim()]
    if near and name not in _COPIES:
        raise MixedDevicesError(f"{func} got tensors of both devices; on the CPU: {[tuple(t.shape) for t in near]}")
    if there and kwargs.get("generator") is not None:
        raise MixedDevicesError(f"{func} got a generator of the CPU")
