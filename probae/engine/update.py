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

    def __init__(self, optimizer: Optimizer, clip_norm: float | None, trained: Callable[[], list[Tensor]]) -> None:
        self.optimizer, self.clip_norm, self.trained = optimizer, clip_norm, trained
        self._rates: list[Tensor] = []  # of the groups, for as long as a capture may read them
        self._written: list[float] = []  # what stands in them

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
        return [value for _, _, value in self._kept() if isinstance(value, Tensor)]

    def frozen(self) -> list[Any]:
        """What a capture would keep as it is: settings but for the learning rates, and what is counted in Python."""
        groups = self.optimizer.param_groups
        found = [value for group in groups for key, value in group.items() if key not in ("params", "lr", "initial_lr")]
        rates = [id(group["lr"]) for group in groups if _lies_there(group["lr"])]
        return [*found, *rates, *(value for _, _, value in self._kept() if not isinstance(value, Tensor))]

    @contextmanager
    def undone(self) -> Generator[None]:
        """What the optimizer counts in Python is afterwards as it was."""
        before = [kept for kept in self._kept() if not isinstance(kept[2], Tensor)]
        try:
            yield
        finally:
            for values, key, value in before:
                values[key] = value

    @contextmanager
    def capturing(self) -> Generator[None]:
        """While a step is captured, learning rates are tensors, which `refresh` writes anew."""
        groups = self.optimizer.param_groups
        before = [{key: group[key] for key in ("lr", "capturable") if key in group} for group in groups]
        for group in groups[len(self._rates) :]:
            self._written.append(float(group["lr"]))  # fused kernels want float32
            self._rates.append(torch.tensor(self._written[-1], dtype=torch.float32, device=group["params"][0].device))
        self.refresh()
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = group["lr"] if _lies_there(group["lr"]) else rate
            group.update({"capturable": True} if "capturable" in group else {})
        try:
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)

    def refresh(self) -> None:
        """Tell captured steps of the learning rates of now."""
        for index, group in enumerate(self.optimizer.param_groups[: len(self._rates)]):
            if not _lies_there(group["lr"]) and (now := float(group["lr"])) != self._written[index]:
                self._rates[index].fill_(now)
                self._written[index] = now

    def _kept(self) -> list[tuple[dict[str, Any], str, Any]]:
        return [(state, key, value) for state in self.optimizer.state.values() for key, value in state.items()]


def _lies_there(rate: Any) -> bool:
    """Whether a learning rate is a tensor of the device, which a capture reads anew each time."""
    return isinstance(rate, Tensor) and rate.device.type != "cpu"
