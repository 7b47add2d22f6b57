"""Initial weights under which signals keep their size from layer to layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


@torch.no_grad()
def keep_size(network: nn.Module, activation: nn.Module, last: float = 1.0) -> None:
    """Draw weights so that all layers' outputs are about as large as the inputs, and set biases to zero.

    A unit that sums n inputs f(a), with a of about unit size, gets weights of variance 1 / (n E[f(a)^2]), so that its
    sum is of unit size again. Inputs of the first layer are taken as they are. With torch's own weights each layer
    shrinks what tells examples from each other; behind seven layers of ReLU a thousandth of it is left.

    Args:
        network: its layers in order; what has no weights is passed over.
        activation: f, between all layers.
        last: size of the outputs of the last layer.

    Source: He et al. 2015 (arXiv 1502.01852), equation 10, for activations other than ReLU, too.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400))
        >>> keep_size(network, nn.ReLU())
        >>> round(network(torch.randn(1000, 400)).std().item(), 1)
        1.0
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Weighted)]
    for index, layer in enumerate(layers):
        power = inputs_per_unit(layer) * (mean_square(activation) if index else 1.0)
        size = last if layer is layers[-1] else 1.0
        nn.init.normal_(layer.weight, std=size / math.sqrt(power))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def inputs_per_unit(layer: Weighted) -> float:
    """How many inputs a unit of the layer sums, away from the borders; of a transposed convolution the average."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    positions = math.prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.in_channels * positions / math.prod(layer.stride)
    return layer.in_channels * positions / layer.groups


def mean_square(activation: nn.Module) -> float:
    """E[f(a)^2] for a standard Normal a.

    Example:
        >>> mean_square(nn.ReLU())
        0.5
    """
    a = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    density: Tensor = torch.exp(-(a**2) / 2)
    return float((density * activation(a) ** 2).sum() / density.sum())
