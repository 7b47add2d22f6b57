"""A decoder that uses its encoder's weights, transposed."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TransposedLinear(nn.Module):
    """A linear layer by the transposed weights of another, with a bias of its own: y = x W + b, W (outputs', inputs').

    The other's weights are looked up at each call and are no parameters of this one, so that they count, train, move
    and are saved once.

    Args:
        source: the layer whose weights are used; it has to be a part of the same model, or copies would part.

    Example:
        >>> TransposedLinear(nn.Linear(4, 3))(torch.zeros(5, 3)).shape
        torch.Size([5, 4])
    """

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple, so that torch does not take it for a part of this layer
        self.bias = nn.Parameter(torch.zeros(source.in_features, dtype=source.weight.dtype))

    @property
    def weight(self) -> Tensor:
        """(inputs of the source, its outputs): the source's, transposed."""
        return self._source[0].weight.T

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def tied_decoder(encoder: nn.Sequential) -> nn.Sequential:
    """The mirror of a multilayer perceptron: its weights transposed, in reverse order, biases of its own, at zero.

    Args:
        encoder: linear layers with the same layers, such as a nonlinearity and dropout, between any two.

    Example:
        >>> from probae.networks.mlp import mlp
        >>> tied_decoder(mlp([4, 3, 2]))
        Sequential(
          (0): TransposedLinear()
          (1): Tanh()
          (2): TransposedLinear()
        )
    """
    places = [place for place, layer in enumerate(encoder) if isinstance(layer, nn.Linear)]
    between = list(encoder)[places[0] + 1 : places[1]] if len(places) > 1 else []
    layers: list[nn.Module] = []
    for place in reversed(places):
        source: Any = encoder[place]
        layers += [*(copy.deepcopy(between) if layers else ()), TransposedLinear(source)]
    return nn.Sequential(*layers)
