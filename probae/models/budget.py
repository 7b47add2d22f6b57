"""What a constructor may allocate: a configuration from elsewhere cannot ask for more than its weights account for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MAKERS = {
    torch.arange, torch.empty, torch.empty_strided, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand,
    torch.randint, torch.randn, torch.randperm, torch.zeros,
}  # fmt: skip


class Budget(TorchFunctionMode):
    """While it is entered, torch's makers of tensors are refused more memory than a model of these weights can need.

    That is eight times the weights' own bytes and 256 MiB, in at most eight times as many tensors and 1,000: honest
    constructors stay far below, since what they make beside the weights is small.

    Args:
        weights: the tensors of the model that is to be built.

    Raises:
        MemoryError: from the function that would exceed it, before it allocates anything.

    Example:
        >>> with Budget([torch.zeros(10)]):
        ...     torch.empty(10**12)
        Traceback (most recent call last):
        ...
        MemoryError: a constructor that wants far more tensors than the 40 bytes of its weights
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        sizes = [x.nbytes for x in weights]
        self.weights = sum(sizes)
        self.bytes, self.count = 8 * self.weights + 2**28, 8 * len(sizes) + 1000

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS:
            shape = {name: value for name, value in kwargs.items() if name not in ("generator", "out", "pin_memory")}
            self.bytes -= func(*args, **{**shape, "device": "meta"}).nbytes  # takes no memory
            self.count -= 1
            if self.bytes < 0 or self.count < 0:
                wanted = f"the {self.weights} bytes of its weights"
                raise MemoryError(f"a constructor that wants far more tensors than {wanted}")
        return func(*args, **kwargs)
