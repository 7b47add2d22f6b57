"""A distribution that can be drawn from, and that is all."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor


class Ring(TorchDistribution):
    """Points on the unit circle, of torch's default dtype."""

    support = constraints.real_vector
    arg_constraints: ClassVar[Any] = {}

    def __init__(self, batch_shape: Any = ()) -> None:
        super().__init__(torch.Size(batch_shape), torch.Size((2,)))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Ring:
        return Ring(batch_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        turn = 6.2832 * torch.rand(torch.Size(sample_shape) + self.batch_shape)
        return torch.stack([turn.cos(), turn.sin()], -1)
