"""Units of several kinds on one side: pixels and a label, say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from probae.distributions.units.base import Units
from probae.errors import ArgumentError


@final
class JointUnits(Units):
    """Units of several kinds, one after the other; independent of each other given the other side.

    Args:
        parts: the kinds, at most one of them with a length.

    Example:
        >>> from probae.distributions.units import BernoulliUnits, CategoricalUnits
        >>> pixels_and_label = JointUnits([BernoulliUnits(4), CategoricalUnits(3, 3)])
        >>> pixels_and_label.num_states
        48
    """

    def __init__(self, parts: Sequence[Units]) -> None:
        parts = list(parts)
        if not parts or not all(isinstance(part, Units) for part in parts):
            raise ArgumentError("parts", "one or more Units", repr(parts))
        super().__init__(sum(part.num_units for part in parts))
        self.kinds = nn.ModuleList(parts)
        self.sizes = [part.num_units for part in parts]

    @property
    def linear(self) -> bool:  # type: ignore[override]
        return all(part.linear for part in self.parts)

    @property
    def parts(self) -> list[Units]:
        return list(self.kinds)  # type: ignore[arg-type]

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "joint", "parts": [{**part.config, "num_units": part.num_units} for part in self.parts]}

    def check(self, argument: str, u: Tensor) -> None:
        for part, values in self._split(u):
            part.check(argument, values)

    def check_mask(self, argument: str, mask: Tensor) -> None:
        for part, masks in self._split(mask):
            part.check_mask(argument, masks)

    def check_means(self, argument: str, mean: Tensor) -> None:
        for part, means in self._split(mean):
            part.check_means(argument, means)

    def start(self, u: Tensor) -> None:
        for part, values in self._split(u):
            part.start(values)

    def statistic(self, u: Tensor) -> Tensor:
        return torch.cat([part.statistic(values) for part, values in self._split(u)], -1)

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        biases = bias.split(self.sizes, -1)
        return sum(part.energy(values, b) for (part, values), b in zip(self._split(u), biases, strict=True))  # type: ignore[return-value]

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        biases = bias.split(self.sizes, -1)
        return sum(part.cumulant(m, b, length) for (part, m), b in zip(self._split(input), biases, strict=True))  # type: ignore[return-value]

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return torch.cat([part.mean(m, length) for part, m in self._split(input)], -1)

    def log_orders(self, u: Tensor) -> Tensor | float:
        return sum(part.log_orders(values) for part, values in self._split(u))

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return torch.cat([part.sample(m, length) for part, m in self._split(input)], -1)

    def bias_for(self, mean: Tensor) -> Tensor:
        return torch.cat([part.bias_for(m) for part, m in self._split(mean)], -1)

    @property
    def num_states(self) -> int | None:
        counts = [part.num_states for part in self.parts]
        return None if None in counts else math.prod(counts)  # type: ignore[arg-type]

    def states(self, numbers: Tensor) -> Tensor:
        columns = []
        for part in self.parts:
            count = part.num_states or 1
            columns.append(part.states(numbers % count))
            numbers = numbers // count
        return torch.cat(columns, -1)

    def _split(self, x: Tensor) -> list[tuple[Units, Tensor]]:
        return list(zip(self.parts, x.split(self.sizes, -1), strict=True))
