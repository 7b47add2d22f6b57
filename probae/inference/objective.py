"""What every objective shares: it is a module, it is called like Pyro's losses, it returns one tensor."""

from __future__ import annotations

import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from probae.checks import positive_int
from probae.errors import ArgumentError
from probae.inference import stepping
from probae.inference.traces import Structure, probe

_numbers = itertools.count()
_MOST_PAIRS = 16


class Objective(nn.Module, ABC):
    """A loss over any Pyro pair: `loss = objective(model, guide, *batch)`.

    The value is Pyro's: the negative bound, summed over the examples with the scales of the plates. It is a tensor
    and stays on its device: nothing here waits for it. Parameters and buffers of an objective (a baseline's, a
    penalty's) train and are saved like a model's. Hand it to `pb.fit(objective=)` or to Pyro:
    `SVI(..., loss=objective)`.

    To write a new one, implement `loss(model, guide, args, kwargs, structure)`; `structure` holds the plates that a
    first run of the pair showed. Allocate buffers that need it in `allocate(structure)`.

    Args:
        num_particles: samples from the guide for each example.
        vectorize: draw them at once along one more plate; False for programs that do not broadcast.

    Attributes:
        structure: that of the last call. Each pair, with each kind of arguments, is looked at once.
    """

    def __init__(self, num_particles: int = 1, vectorize: bool = True) -> None:
        super().__init__()
        self.num_particles = positive_int("num_particles", num_particles)
        self.vectorize = bool(vectorize)
        self.structure: Structure | None = None
        self._structures: dict[Any, Structure] = {}
        self._number = next(_numbers)

    def __getstate__(self) -> dict[str, Any]:
        # A copy neither takes the pairs along, nor shares the name under which Pyro keeps the parameters.
        return {**self.__dict__, "_structures": {}, "_number": next(_numbers)}

    @abstractmethod
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        """The scalar loss of one batch."""

    def allocate(self, structure: Structure) -> None:
        """Make the buffers that depend on the pair's sites, unless they are there; called for each new pair."""
        return None

    def prepare(self, structure: Structure) -> None:
        """Take from a caller that has already run it the structure of the pair that comes next."""
        self.allocate(structure)
        self._structures = {None: structure}

    def forward(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        self.structure = structure = self._look(model, guide, args, kwargs)
        if next(self.parameters(), None) is not None:
            stepping.register(f"probae.objective.{self._number}", self)
        return self.loss(model, guide, args, kwargs, structure)

    def _look(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Structure:
        # A label that is given or None changes which sites there are, so the kinds of the arguments belong to the key.
        call = (model, guide, tuple(map(type, args)), tuple((name, type(value)) for name, value in kwargs.items()))
        if call not in self._structures:
            if None in self._structures:
                structure = self._structures.pop(None)
            else:
                structure = probe(model, guide, args, kwargs)[0]
                self.allocate(structure)
            if len(self._structures) == _MOST_PAIRS:
                self._structures.clear()
            self._structures[call] = structure
        return self._structures[call]


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
    found = (penalties,) if callable(penalties) or not isinstance(penalties, Iterable) else tuple(penalties)
    if not all(callable(penalty) for penalty in found):
        raise ArgumentError("penalties", "callables (batch, guide_trace) -> tensor", repr(penalties))
    return found


def batch_of(model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What penalties and the like see of a call: all of it, however its arguments were passed."""
    if not kwargs:
        return args[0] if len(args) == 1 else args
    return {**inspect.signature(model).bind_partial(*args).arguments, **kwargs}
