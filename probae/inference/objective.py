"""What every objective shares: it is a module, it is called like Pyro's losses, it returns one tensor."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from probae.checks import positive_int
from probae.errors import ArgumentError
from probae.inference import stepping
from probae.inference.traces import Structure, probe

_names = itertools.count()


class Objective(nn.Module, ABC):
    """A loss over any Pyro pair: `loss = objective(model, guide, *batch)`.

    The value is Pyro's: the negative bound, summed over the examples with the scales of the plates. It is a tensor
    and stays on its device: nothing here waits for it. Parameters and buffers of an objective (a baseline's, a
    penalty's) train and are saved like a model's. Hand it to `pb.fit(objective=)` or to Pyro: `SVI(..., loss=objective)`.

    To write a new one, implement `loss(model, guide, args, kwargs, structure)`; `structure` holds the plates that a
    first run of the pair showed. Allocate buffers that need it in `allocate(structure)`.

    Args:
        num_particles: samples from the guide for each example.
        vectorize: draw them at once along one more plate; False for programs that do not broadcast.
    """

    def __init__(self, num_particles: int = 1, vectorize: bool = True) -> None:
        super().__init__()
        self.num_particles = positive_int("num_particles", num_particles)
        self.vectorize = bool(vectorize)
        self.structure: Structure | None = None
        self._pyro_name = f"probae.objective.{next(_names)}"

    @abstractmethod
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        """The scalar loss of one batch."""

    def allocate(self, structure: Structure) -> None:
        """Make the buffers that depend on the pair's sites; called once, before the first loss."""
        return None

    def prepare(self, structure: Structure) -> None:
        """Take the pair's structure from a caller that has already run it."""
        if self.structure is None:
            self.allocate(structure)
        self.structure = structure

    def forward(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        if self.structure is None:
            self.prepare(probe(model, guide, args, kwargs)[0])
        assert self.structure is not None
        if not stepping.in_engine() and next(self.parameters(), None) is not None:
            pyro.module(self._pyro_name, self)
        return self.loss(model, guide, args, kwargs, self.structure)


class Warmup(nn.Module):
    """A weight that rises linearly to its final value over the first training steps, as a tensor.

    Args:
        value: the final weight.
        steps: training steps until it is reached; 0 for none.

    Example:
        >>> warmup = Warmup(1.0, steps=4)
        >>> warmup()
        tensor(0.2500)
    """

    steps_taken: Tensor

    def __init__(self, value: float, steps: int) -> None:
        super().__init__()
        self.value, self.steps = value, steps
        self._seen: int | None = None
        self.register_buffer("steps_taken", torch.zeros(()), persistent=steps > 0)

    def forward(self) -> Tensor | float:
        """The weight of the current training step; in eval mode the final one."""
        if not self.steps or not self.training:
            return self.value
        if self._seen != stepping.now():
            self._seen = stepping.now()
            self.steps_taken += 1
        return self.value * (self.steps_taken / self.steps).clamp(max=1.0)


def check_penalties(penalties: Any) -> tuple[Callable[..., Any], ...]:
    """`penalties` as a tuple of callables `(batch, guide_trace) -> (N,) or scalar`."""
    found = (penalties,) if callable(penalties) else tuple(penalties)
    if not all(callable(penalty) for penalty in found):
        raise ArgumentError("penalties", "callables (batch, guide_trace) -> tensor", repr(penalties))
    return found
