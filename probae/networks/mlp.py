"""Multilayer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, final

from torch import Tensor, nn

from probae.checks import choice, positive_int, real
from probae.errors import ArgumentError
from probae.networks.base import Network, widths

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}

NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda outputs: outputs,
    **{name: kind() for name, kind in ACTIVATIONS.items()},
}
"""What may stand behind a layer: an activation, or nothing."""


def mlp(sizes: Sequence[int], activation: str = "tanh", dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with a nonlinearity between them, none after the last.

    Args:
        sizes: of the layers, input first; at least two.
        activation: "elu", "gelu", "relu", "sigmoid", "silu", "softplus" or "tanh".
        dropout: the rate at which hidden units are silenced in training.

    Returns:
        A module from (..., sizes[0]) to (..., sizes[-1]).

    Raises:
        ArgumentError: names `sizes` or `activation`.

    Example:
        >>> mlp([4, 3, 2])
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): Tanh()
          (2): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    nonlinearity = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
    if len(sizes) < 2:
        raise ArgumentError("sizes", "at least two sizes, of the input and of the output", repr(sizes))
    sizes = [positive_int("sizes", size) for size in sizes]
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [nonlinearity(), *([nn.Dropout(dropout)] if dropout else [])] if index else []
        layers += [nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


@final
class MLP(Network):
    """Multilayer perceptrons: fully connected layers of the `hidden` widths, mirrored in the decoder.

    Args:
        dropout: the rate at which hidden units are silenced in training, below 1.

    Raises:
        ArgumentError: for a rate outside [0, 1).

    Example:
        >>> MLP().decoder(2, (3, 3), 9, hidden=(8,), activation="tanh")[-1].bias.shape
        torch.Size([9])
    """

    def __init__(self, dropout: float = 0.0) -> None:
        self.dropout = real("dropout", dropout, low=0.0, high=1.0, open_high=True)

    def encoder(
        self, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str, context: int = 0
    ) -> nn.Module:
        sizes = [math.prod(data_shape) + context, *widths("hidden", hidden), num_outputs]
        return mlp(sizes, activation, self.dropout)

    def decoder(
        self, num_inputs: int, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str
    ) -> nn.Sequential:
        return mlp([num_inputs, *widths("hidden", hidden)[::-1], num_outputs], activation, self.dropout)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "mlp"} | ({"dropout": self.dropout} if self.dropout else {})
