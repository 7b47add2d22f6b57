"""Multilayer perceptrons taken apart: one affine map after the other, and the nonlinearity behind each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from probae.errors import ArgumentError
from probae.networks.mlp import ACTIVATIONS, NONLINEARITIES


@dataclass(frozen=True)
class Layer:
    """One layer of a network: from (N, num_inputs) to (N, num_outputs).

    Attributes:
        affine: a linear layer: a module with a `weight` (outputs, inputs) and a `bias` (outputs,). A weight that is no
            parameter is bounded and made of its `raw_weight`, or tied to that of another layer.
        nonlinearity: name of what stands behind it; "linear" for nothing.
        first: how many of its outputs are meant, from the first on; None for all.

    Example:
        >>> Layer(nn.Linear(4, 3), "relu")(torch.zeros(5, 4)).shape
        torch.Size([5, 3])
    """

    affine: Any
    nonlinearity: str = "linear"
    first: int | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return NONLINEARITIES[self.nonlinearity](self.affine(x)[..., : self.first])

    @property
    def num_inputs(self) -> int:
        """Length of a row that goes in."""
        return self.affine.weight.shape[1]

    @property
    def num_outputs(self) -> int:
        """Length of a row that comes out."""
        return len(self.bias)

    @property
    def free(self) -> bool:
        """Whether it can have any weight: one that is neither bounded nor tied."""
        return isinstance(self.affine.weight, nn.Parameter)

    @property
    def weight(self) -> Tensor:
        """(num_outputs, num_inputs), without gradient."""
        return self.affine.weight.detach()[: self.first]

    @property
    def bias(self) -> Tensor:
        """(num_outputs,), without gradient."""
        return self.affine.bias.detach()[: self.first]

    @torch.no_grad()
    def set(self, other: Layer) -> None:
        """Take the weight and the bias of another layer; a tied weight is its source's to take."""
        weight = self.affine.weight if self.free else getattr(self.affine, "raw_weight", None)
        if weight is not None:
            weight[: self.first] = other.weight
        self.affine.bias[: self.first] = other.bias

    def ending(self, nonlinearity: str, first: int) -> Layer:
        """The same layer, of whose outputs the first ones go through a nonlinearity.

        Raises:
            ArgumentError: names `encoder`, if there is another one already.
        """
        if "linear" not in (self.nonlinearity, nonlinearity):
            raise ArgumentError("encoder", f"nothing behind the last layer but {nonlinearity}", self.nonlinearity)
        name = self.nonlinearity if nonlinearity == "linear" else nonlinearity
        return Layer(self.affine, name, None if first == self.num_outputs else first)


class Unrolled(NamedTuple):
    """A model's way from its data to its codes and back, as plain layers.

    Attributes:
        encoder: from data to codes, in that order.
        decoder: from codes to the parameters of the data's distribution.
    """

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]

    @property
    def sizes(self) -> list[int]:
        """Of the data and of what comes out of each layer of the encoder."""
        return [self.encoder[0].num_inputs, *(layer.num_outputs for layer in self.encoder)]


@torch.no_grad()
def affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with copies of a weight (outputs, inputs) and a bias (outputs,); nothing random is drawn.

    Example:
        >>> affine(torch.ones(2, 3), torch.zeros(2))(torch.ones(1, 3)).tolist()
        [[3.0, 3.0]]
    """
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])  # type: ignore[assignment]
    weight = weight.clone(memory_format=torch.contiguous_format)  # as it will be when it is read back from a file
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.clone())
    return layer


def layers_of(argument: str, network: nn.Module) -> tuple[Layer, ...]:
    """The layers of a multilayer perceptron, in their order; dropout is passed over.

    Args:
        argument: what an error calls the network.
        network: an `nn.Linear`, or `nn.Sequential`s of them with the activations of `probae.networks.mlp` between.

    Raises:
        ArgumentError: names the argument, for a network that is anything else.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> [layer.nonlinearity for layer in layers_of("encoder", network)]
        ['tanh', 'linear']
    """
    layers: list[Layer] = []
    for module in _flat(network):
        name = next((name for name, kind in ACTIVATIONS.items() if repr(module) == repr(kind())), None)
        if _is_affine(module):
            layers.append(Layer(module))
        elif name is not None and layers and layers[-1].nonlinearity == "linear":
            layers[-1] = Layer(layers[-1].affine, name)
        elif not isinstance(module, nn.Dropout | nn.Identity):
            wanted = "linear layers with biases and a nonlinearity behind each, as those of network='mlp'"
            raise ArgumentError(argument, wanted, type(module).__name__)
    if not layers:
        raise ArgumentError(argument, "at least one linear layer", type(network).__name__)
    return tuple(layers)


def _is_affine(module: nn.Module) -> bool:
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    return isinstance(weight, Tensor) and isinstance(bias, Tensor) and weight.dim() == 2 and len(bias) == len(weight)


def _flat(network: nn.Module) -> Iterator[nn.Module]:
    for module in network if isinstance(network, nn.Sequential) else (network,):
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        else:
            yield module
