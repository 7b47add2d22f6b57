"""What every architecture is: a recipe for an encoder and for a decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import nn

from probae.checks import positive_int
from probae.errors import ArgumentError


class Network(ABC):
    """A recipe for encoders and decoders, not itself a module.

    All take and return rows, (N, size), whatever the examples' shape. To write a new one, implement the abstract
    methods and enter it in `NETWORKS`.
    """

    @abstractmethod
    def encoder(
        self, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str, context: int = 0
    ) -> nn.Module:
        """A module from (N, D + context) to (N, num_outputs): behind an example's D values stand `context` others."""

    @abstractmethod
    def decoder(
        self, num_inputs: int, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str
    ) -> nn.Sequential:
        """A module from (N, num_inputs) to (N, num_outputs), whose last layer has a `bias` of shape (num_outputs,)."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it."""


def widths(argument: str, sizes: Any) -> tuple[int, ...]:
    """Sizes of layers, a sequence of positive integers that may be empty, as a tuple.

    Raises:
        ArgumentError: names the argument.
    """
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise ArgumentError(argument, "a sequence of positive integers", repr(sizes))
    return tuple(positive_int(argument, size) for size in sizes)
