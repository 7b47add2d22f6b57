"""The pretend accelerator computes, finds what would fail on a real one, and counts what would wait."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.accelerator import FAR, Far, MixedDevicesError, accelerator


def far(*values: float) -> Tensor:
    return torch.tensor(values, device=FAR)


def test_it_computes() -> None:
    with accelerator():
        x = torch.ones(3, device="meta") + far(0.0, 1.0, 2.0)
        x[1:].mul_(10.0)
        assert x.device == FAR
        assert (x * torch.tensor(2.0)).cpu().tolist() == [2.0, 40.0, 60.0]
        assert x.tolist() == [1.0, 20.0, 30.0]
        assert (x.sum().item(), x.new_tensor([3]).dtype) == (51.0, torch.float32)


def test_it_differentiates_and_trains() -> None:
    near = nn.Linear(2, 1)
    with accelerator():
        there = copy.deepcopy(near).to("meta")
        twin = copy.deepcopy(there)
        parameters = (*there.parameters(), *twin.parameters())
        assert all(isinstance(p, Far) and isinstance(p, nn.Parameter) for p in parameters)
        for layer, x in ((near, torch.ones(4, 2)), (there, torch.ones(4, 2).to("meta"))):
            optimizer = torch.optim.Adam(layer.parameters(), 0.1)
            for _ in range(3):
                optimizer.zero_grad()
                layer(x).square().sum().backward()
                optimizer.step()
        for p, q, start in zip(near.parameters(), there.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(q.cpu(), p)
            assert not torch.equal(q, start)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.cat([x, torch.ones(1)]),
        lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
        lambda x: torch.where(torch.ones(3) > 0, x, 0.0),
        lambda x: torch.ones(2, 3) @ x,
        lambda x: torch.ones(3)[x.long()],
        lambda x: torch.randn(3, generator=torch.Generator(), device=x.device),
        lambda x: nn.Linear(3, 1)(x),
    ],
)
def test_it_does_not_mix(program: Callable[[Tensor], Any]) -> None:
    with accelerator(), pytest.raises(MixedDevicesError):
        program(far(1.0, 2.0, 0.0))


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x[torch.tensor([0, 2])],
        lambda x: x.index_put((torch.tensor([0]),), torch.tensor(1.0)),
        lambda x: torch.where(x > 0, x, torch.tensor(0.0)),
        lambda x: x.copy_(torch.ones(3)),
        lambda x: torch.ones(3).to(x),
    ],
)
def test_it_takes_what_cuda_takes(program: Callable[[Tensor], Any]) -> None:
    with accelerator() as counts:
        assert program(far(1.0, 2.0, 3.0)).device == FAR
        assert not counts.waits


@pytest.mark.parametrize(
    "program",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: x.tolist(),
        lambda x: torch.ones(3).copy_(x),
        lambda x: torch.equal(x, x),
    ],
)
def test_it_counts_what_waits(program: Callable[[Tensor], Any]) -> None:
    with accelerator() as counts:
        x = far(1.0, 2.0, 3.0)
        assert not counts.waits
        program(x)
        assert counts.waits.total() == 1
