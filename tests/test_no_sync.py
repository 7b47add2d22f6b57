"""The context that finds synchronizations finds them, in forward and backward, and lets the rest pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.no_sync import SynchronizationError, no_sync


class Waits(torch.autograd.Function):
    """The identity, with a backward that looks at a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * gradients[0].sum().item()


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: (x > 0).nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: x[torch.tensor(1)],
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 3])),
        lambda x: torch.autograd.grad(Waits.apply(x.requires_grad_()).sum(), x),
    ],
)
def test_what_waits_is_an_error(program: Callable[[Tensor], Any]) -> None:
    with no_sync(), pytest.raises(SynchronizationError, match="waits for the device"):
        program(torch.ones(3))


@pytest.mark.parametrize(
    "program",
    [
        lambda x: torch.where(x > 0, x, 0.0).sum(),
        lambda x: x.masked_fill(x > 0, 0.0),
        lambda x: x[torch.tensor([0, 2])],
        lambda x: torch.bernoulli(x),
        lambda x: torch.autograd.grad(x.requires_grad_().square().sum(), x),
    ],
)
def test_what_does_not_wait_passes(program: Callable[[Tensor], Any]) -> None:
    with no_sync():
        program(torch.ones(3))
