"""What becomes of a gradient: it is clipped, and the optimizer takes a step along it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from probae.engine.recording import Outputs


class Update:
    """The end of a step.

    Args:
        optimizer: torch's.
        clip_norm: largest norm of the gradient.
        trained: the parameters that gradients are of, at present.
    """

    def __init__(
        self, optimizer: Optimizer, clip_norm: float | None, trained: Callable[[], list[Tensor]]
    ) -> None:  # fmt: skip
        self.optimizer, self.clip_norm, self.trained = optimizer, clip_norm, trained
        self._rates: list[Tensor] = []
        self._written: list[Any] = []

    def __call__(self, outputs: Outputs) -> None:
        """Take the step, from the loss and its gradients."""
        for p, gradient in zip(self.trained(), outputs[1:], strict=True):
            p.grad = gradient
        self.step()

    def step(self) -> None:
        """Take the step, from the gradients that the parameters hold."""
        if self.clip_norm is not None:
            clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    # What a capture has to know.

    def state(self) -> list[Tensor]:
        """All tensors of the optimizer's own that a step changes."""
        values = [value for state in self.optimizer.state.values() for value in state.values()]
        return [value for value in values if isinstance(value, Tensor)]

    def frozen(self) -> list[Any]:
        """The settings of the optimizer, but for its learning rates: a capture would keep those of then."""
        groups = self.optimizer.param_groups
        return [value for group in groups for key, value in group.items() if key not in ("params", "lr", "initial_lr")]

    @contextmanager
    def capturing(self) -> Generator[None]:
        """While a step is captured, learning rates are tensors, which `refresh` writes anew."""
        groups = self.optimizer.param_groups
        before = [{key: group[key] for key in ("lr", "capturable") if key in group} for group in groups]
        device = groups[0]["params"][0].device
        self._rates = [torch.tensor(float(group["lr"]), device=device) for group in groups]
        self._written = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group.update({"lr": rate} | ({"capturable": True} if "capturable" in group else {}))
        try:
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)

    def refresh(self) -> None:
        """Tell the captured step of the learning rates of now."""
        for index, group in enumerate(self.optimizer.param_groups):
            if group["lr"] != self._written[index]:
                self._rates[index].fill_(group["lr"])
                self._written[index] = group["lr"]
