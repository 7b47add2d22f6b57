"""Convolutional networks for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from probae.checks import choice, positive_int
from probae.errors import ArgumentError
from probae.networks.base import Network, widths
from probae.networks.initialization import keep_size
from probae.networks.mlp import ACTIVATIONS, mlp

STRIDE = 2
SMALLEST_SIDE = 4

QUIET = 0.3
"""How large outputs are at first, for inputs of unit size: a start near the output bias trains faster."""

Size = tuple[int, int]
"""Height and width."""


@final
class Conv(Network):
    """Convolutions that halve an image, then dense layers; the decoder mirrors them with transposed convolutions.

    An image is (height, width) or (channels, height, width), in rows of its values in that order: channels come first.
    A layer makes a side n into ceil(n / 2) for an odd kernel, floor(n / 2) for an even one, and its mirror image makes
    exactly n of it again. Kernels that are a multiple of the stride 2 draw no checkerboards.

    Args:
        channels: of the feature maps, that nearest to the image first.
        kernel_size: side of the square kernels, at least 2.

    Raises:
        ArgumentError: for `channels` or a `kernel_size` that are no positive integers; from `encoder` and `decoder`:
            `data_shape` if it is no image of sides of at least 4, `channels` if they are too many to halve it so often.

    Source: Radford et al. 2016 (arXiv 1511.06434), without normalization; Odena et al. 2016, "Deconvolution and
    checkerboard artifacts", on the size of kernels.

    Example:
        >>> decoder = Conv().decoder(2, (1, 7, 9), 63, hidden=(16,), activation="relu")
        >>> decoder(torch.zeros(5, 2)).shape, decoder[-1].bias.shape
        (torch.Size([5, 63]), torch.Size([63]))
    """

    def __init__(self, channels: Sequence[int] = (32, 64), kernel_size: int = 4) -> None:
        self.channels = widths("channels", channels)
        if not self.channels:
            raise ArgumentError("channels", "at least one number of channels", repr(channels))
        self.kernel_size = positive_int("kernel_size", kernel_size, minimum=2)

    def encoder(
        self, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str, context: int = 0
    ) -> nn.Module:
        nonlinearity = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
        image = image_shape(data_shape)
        sizes = self._sizes(image[1:])
        layers: list[nn.Module] = [nn.Unflatten(-1, image)]
        for inputs, outputs in zip((image[0], *self.channels), self.channels, strict=False):
            layers += [nn.Conv2d(inputs, outputs, self.kernel_size, STRIDE, self._padding), nonlinearity()]
        features = self.channels[-1] * math.prod(sizes[-1])
        dense = mlp([features + context, *widths("hidden", hidden), num_outputs], activation)
        network = ConvEncoder(nn.Sequential(*layers, nn.Flatten(-3)), dense, math.prod(image))
        keep_size(network, nonlinearity(), QUIET)
        return network

    def decoder(
        self, num_inputs: int, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str
    ) -> nn.Sequential:
        nonlinearity = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
        image = image_shape(data_shape)
        sizes = self._sizes(image[1:])
        if num_outputs % math.prod(sizes[0]):
            expected = f"a multiple of the image's {math.prod(sizes[0])} pixels"
            raise ArgumentError("num_outputs", expected, num_outputs)
        channels = (num_outputs // math.prod(sizes[0]), *self.channels)
        features = (channels[-1], *sizes[-1])
        layers = list(mlp([num_inputs, *widths("hidden", hidden)[::-1], math.prod(features)], activation))
        layers += [nonlinearity(), nn.Unflatten(-1, features)]
        for level in range(len(self.channels), 0, -1):
            layers += [self._up(channels[level], channels[level - 1], sizes[level], sizes[level - 1], bias=level > 1)]
            layers += [nonlinearity()] if level > 1 else []
        network = nn.Sequential(*layers, nn.Flatten(-3), OutputBias(num_outputs))
        keep_size(network, nonlinearity(), QUIET)
        return network

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "conv", "channels": list(self.channels), "kernel_size": self.kernel_size}

    @property
    def _padding(self) -> int:
        return (self.kernel_size - 1) // 2

    def _sizes(self, size: Size) -> list[Size]:
        """Heights and widths of the image and of all feature maps."""
        sizes = [size]
        for _ in self.channels:
            if min(sizes[-1]) < STRIDE:
                expected = f"at most {len(sizes) - 1} layers for images of {size[0]} x {size[1]}: each halves them"
                raise ArgumentError("channels", expected, f"{len(self.channels)}: {self.channels}")
            height, width = ((n + 2 * self._padding - self.kernel_size) // STRIDE + 1 for n in sizes[-1])
            sizes.append((height, width))
        return sizes

    def _up(self, inputs: int, outputs: int, small: Size, large: Size, *, bias: bool) -> nn.ConvTranspose2d:
        """The mirror image of the convolution that makes `large` maps `small`."""
        height, width = (
            n - (STRIDE * (m - 1) - 2 * self._padding + self.kernel_size) for n, m in zip(large, small, strict=True)
        )
        return nn.ConvTranspose2d(inputs, outputs, self.kernel_size, STRIDE, self._padding, (height, width), bias=bias)


def image_shape(data_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of an image of a data shape.

    Raises:
        ArgumentError: names `data_shape`, if it is no image.
    """
    shape = (1, *data_shape) if len(data_shape) == 2 else data_shape
    if len(shape) != 3 or min(shape[1:]) < SMALLEST_SIDE:
        raise ArgumentError(
            "data_shape", f"(height, width) or (channels, height, width), both sides at least {SMALLEST_SIDE}, "
            "for a convolutional network", repr(data_shape), "Channels come first; for other data use network='mlp'",
        )  # fmt: skip
    return shape[0], shape[1], shape[2]


@final
class ConvEncoder(nn.Module):
    """Convolutions over the image in a row, then dense layers over its features and over what stands behind it.

    Args:
        features: from (N, D) to (N, F).
        dense: from (N, F + context) to (N, num_outputs).
        size: D.
    """

    def __init__(self, features: nn.Sequential, dense: nn.Sequential, size: int) -> None:
        super().__init__()
        self.features, self.dense, self.size = features, dense, size

    def forward(self, rows: Tensor) -> Tensor:
        """From (N, D + context) to (N, num_outputs), or from one row to one."""
        features, context = self.features(rows[..., : self.size]), rows[..., self.size :]
        return self.dense(torch.cat([features, context], -1) if context.shape[-1] else features)


@final
class OutputBias(nn.Module):
    """Adds a number to each output, as the last layer of a decoder: where a model starts it at the data's mean."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, outputs: Tensor) -> Tensor:
        """From (N, num_outputs) to the same."""
        return outputs + self.bias
