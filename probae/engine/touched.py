"""What a function changes in place beside parameters and buffers: a recording would change it at other times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

_SECRETIVE = (torch.ops.aten.native_batch_norm.default, torch.ops.aten.cudnn_batch_norm.default)
"""Change their fourth and fifth arguments, the running statistics, though their schemas do not say so."""


class Touched(TorchDispatchMode):
    """Watches for changes in place of tensors that were there before, other than those that are known.

    Args:
        known: tensors that may change.

    Attributes:
        found: whether there were others. Their values are put back at the end.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._mine = {_storage(tensor) for tensor in known}
        self._before: list[tuple[Tensor, Tensor]] = []
        self._kept: list[Tensor] = []  # so that no storage is made where another one was

    @property
    def found(self) -> bool:
        return bool(self._before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for argument, value in zip(func._schema.arguments, args, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self._watch(value)
            self._watch(kwargs.get("out"))
        elif func in _SECRETIVE:
            self._watch(args[3:5])
        outputs = func(*args, **kwargs)
        inputs = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        for output in _tensors(outputs):
            if _storage(output) not in inputs and _storage(output) not in self._mine:
                self._mine.add(_storage(output))
                self._kept.append(output)
        return outputs

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        with torch.no_grad():
            for tensor, value in self._before:
                tensor.copy_(value)
        self._kept.clear()

    def _watch(self, value: Any) -> None:
        for tensor in _tensors(value):
            if _storage(tensor) not in self._mine:
                self._mine.add(_storage(tensor))
                self._before.append((tensor, tensor.detach().clone()))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
