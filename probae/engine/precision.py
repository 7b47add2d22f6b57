"""Matrix products in fewer bits than everything around them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from probae.checks import choice
from probae.errors import ArgumentError

aten = torch.ops.aten

DTYPES = {"float32": torch.float32, "float64": torch.float64}
PRODUCTS = ("tf32", "bf16")

_PLAIN = (aten.mm.default, aten.bmm.default, aten.convolution.default, aten.convolution_backward.default)
_ADDED = {aten.addmm.default: aten.mm.default, aten.baddbmm.default: aten.bmm.default}


class BFloat16Products(TorchDispatchMode):
    """Matrix products and convolutions of float32 tensors run in bfloat16; all else, sums of products too, in float32.

    Parameters keep float32, forward and backward products are rounded alike: their factors to 8 bits, and on the way
    out their results. It works below automatic differentiation and is recorded with the rest of a step.

    Example:
        >>> a = torch.full((2, 3), 1.001)
        >>> with BFloat16Products():
        ...     a @ a.T
        tensor([[3., 3.],
                [3., 3.]])
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        kwargs = kwargs or {}
        if func in _PLAIN:
            return _in_bfloat16(func, *args, **kwargs)
        if func in _ADDED and args[1].dtype == torch.float32:
            term, *factors = args
            product = _in_bfloat16(_ADDED[func], *factors)
            alpha, beta = kwargs.get("alpha", 1), kwargs.get("beta", 1)
            product = product if alpha == 1 else alpha * product
            return product if beta == 0 else product + (term if beta == 1 else beta * term)
        return func(*args, **kwargs)


def _in_bfloat16(func: Any, *args: Any, **kwargs: Any) -> Any:
    floats = any(isinstance(x, Tensor) and x.dtype == torch.float32 for x in args)
    if not floats:
        return func(*args, **kwargs)
    low = pytree.tree_map(lambda x: _cast(x, torch.float32, torch.bfloat16), args)
    return pytree.tree_map(lambda x: _cast(x, torch.bfloat16, torch.float32), func(*low, **kwargs))


def _cast(x: Any, old: torch.dtype, new: torch.dtype) -> Any:
    return x.to(new) if isinstance(x, Tensor) and x.dtype == old else x


@contextmanager
def _tf32() -> Generator[None]:
    """CUDA's float32 products with 10 bits, as long as this lasts."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


def check_precision(precision: Any, device: torch.device) -> None:
    """Refuse what is no precision, or none of this device.

    Raises:
        ArgumentError: names `precision`.
    """
    if precision is None:
        return
    choice("precision", precision, (*DTYPES, *PRODUCTS))
    if precision == "tf32" and device.type != "cuda":
        raise ArgumentError("precision", "'tf32' on a CUDA device alone", f"'tf32' on {device}", "'bf16' runs anywhere")


def products(precision: str | None) -> Callable[[], AbstractContextManager[Any]]:
    """A context in which matrix products have this precision; one that does nothing where it is a dtype's."""
    return {"tf32": _tf32, "bf16": BFloat16Products}.get(precision or "", nullcontext)
