"""A budget stops a constructor before it allocates, and no honest one comes near it."""

from collections.abc import Callable

import pytest
import torch

from probae.models.budget import Budget
from tests.contracts.models import CASES


@pytest.mark.parametrize("name", CASES)
def test_every_model_stays_far_below_its_budget(name: str) -> None:
    weights = list(CASES[name].make().state_dict().values())
    with Budget(weights) as budget:
        before = budget.bytes, budget.count
        CASES[name].make()
    assert before[0] - budget.bytes < 0.1 * before[0]
    assert before[1] - budget.count < 0.1 * before[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(2**40),
        lambda: torch.zeros((2**20, 2**20), dtype=torch.bool),
        lambda: torch.randn(2**40, device="cpu", generator=torch.Generator()),
        lambda: torch.randint(5, (2**40,)),
        lambda: torch.arange(2**40),
        lambda: torch.eye(2**20),
        lambda: torch.full([2**40], 0.5),
        lambda: torch.nn.Linear(2**20, 2**20),
        lambda: [torch.empty(1) for _ in range(2000)],
        lambda: [torch.empty(2**25) for _ in range(3)],
    ],
)
def test_what_exceeds_it_is_not_allocated(make: Callable[[], object]) -> None:
    with Budget([torch.zeros(10)]), pytest.raises(MemoryError, match=r"than the 40 bytes of its weights"):
        make()


def test_it_changes_no_value() -> None:
    torch.manual_seed(0)
    free = [torch.rand(3), torch.randperm(5), torch.arange(3.0), torch.full((2,), 1, dtype=torch.int64)]
    torch.manual_seed(0)
    with Budget([]):
        bound = [torch.rand(3), torch.randperm(5), torch.arange(3.0), torch.full((2,), 1, dtype=torch.int64)]
    for one, other in zip(free, bound, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
