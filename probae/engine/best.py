"""The best epoch by the monitor: its parameters are kept beside those that train."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from probae.engine.programs import Programs


class Best:
    """Remembers the parameters of the epoch with the highest value so far; a value that is NaN never wins.

    Args:
        programs: whose parameters and buffers are copied.

    Attributes:
        epoch: number of the best epoch; None before there is one.
        value: its value.
    """

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.epoch: int | None = None
        self.value = -math.inf
        self._tensors: dict[str, Tensor] | None = None

    def offer(self, epoch: int, value: float) -> None:
        """Keep this epoch if it is better than all before."""
        if value > self.value:
            self.epoch, self.value = epoch, value
            self._tensors = self.programs.snapshot(self._tensors)

    def restore(self) -> None:
        """Put the best epoch's parameters back, if there is one."""
        if self._tensors is not None:
            self.programs.restore(self._tensors)

    def state(self) -> dict[str, Any]:
        """A copy that `load` takes back."""
        tensors = None if self._tensors is None else {name: t.clone() for name, t in self._tensors.items()}
        return {"epoch": self.epoch, "value": self.value, "tensors": tensors}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from a saved state."""
        self.epoch, self.value, tensors = state["epoch"], state["value"], state["tensors"]
        self._tensors = None if tensors is None else {name: t.to(device, copy=True) for name, t in tensors.items()}
