"""Convolutional networks: they halve and double any image exactly, see it as an image, and name what is none."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from probae.distributions.named import make
from probae.errors import ArgumentError
from probae.networks import NETWORKS, Conv, Network


def layers_of(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


@given(
    channels=st.integers(1, 3),
    height=st.integers(4, 33),
    width=st.integers(4, 33),
    depth=st.integers(1, 2),
    kernel_size=st.integers(2, 7),
)
def test_any_image_comes_back_at_its_size(
    channels: int, height: int, width: int, depth: int, kernel_size: int
) -> None:
    network, size = Conv((2, 3)[:depth], kernel_size), channels * height * width
    encoder = network.encoder((channels, height, width), 2, hidden=(), activation="relu")
    decoder = network.decoder(2, (channels, height, width), size, hidden=(), activation="relu")
    with torch.no_grad():
        assert encoder(torch.zeros(2, size)).shape == (2, 2)
        assert decoder(torch.zeros(2, 2)).shape == (2, size)


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
def test_maps_shrink_by_halves_and_grow_by_the_same_steps(kernel_size: int) -> None:
    sizes: list[tuple[int, ...]] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        sizes.append(tuple(output.shape[-2:]))

    network = Conv((2, 2, 2), kernel_size)
    encoder = network.encoder((29, 37), 2, hidden=(), activation="relu")
    decoder = network.decoder(2, (29, 37), 29 * 37, hidden=(), activation="relu")
    for layer in layers_of(encoder, nn.Conv2d) + layers_of(decoder, nn.ConvTranspose2d):
        layer.register_forward_hook(note)
    encoder(torch.zeros(1, 29 * 37))
    decoder(torch.zeros(1, 2))
    down = [(29, 37), (15, 19), (8, 10), (4, 5)] if kernel_size % 2 else [(29, 37), (14, 18), (7, 9), (3, 4)]
    assert sizes == [*down[1:], *down[-2::-1]]


def test_layers_are_those_of_the_settings() -> None:
    network = Conv((5, 6, 7), 3)
    encoder = network.encoder((2, 16, 16), 4, hidden=(11, 12), activation="silu", context=3)
    decoder = network.decoder(9, (2, 16, 16), 512, hidden=(11, 12), activation="silu")
    down, up = layers_of(encoder, nn.Conv2d), layers_of(decoder, nn.ConvTranspose2d)
    assert [(layer.in_channels, layer.out_channels) for layer in down] == list(pairwise([2, 5, 6, 7]))
    assert [(layer.in_channels, layer.out_channels) for layer in up] == list(pairwise([7, 6, 5, 2]))
    assert {layer.kernel_size for layer in (*down, *up)} == {(3, 3)}
    for module, widths in ((encoder, [7 * 2 * 2 + 3, 11, 12, 4]), (decoder, [9, 12, 11, 7 * 2 * 2])):
        linear = layers_of(module, nn.Linear)
        assert [(layer.in_features, layer.out_features) for layer in linear] == list(pairwise(widths))
        assert len(layers_of(module, nn.SiLU)) == 5, "between all six layers"
    assert [layer.bias is None for layer in up] == [False, False, True], "the last has the bias of each output"


def test_rows_are_images_with_channels_first() -> None:
    """The first feature map equals the convolution of the image; an inner shift of the image shifts it."""
    encoder: Any = Conv((4,), 4).encoder((3, 12, 12), 2, hidden=(), activation="tanh")
    convolution = layers_of(encoder, nn.Conv2d)[0]
    image = torch.zeros(1, 3, 12, 12)
    image[:, :, 4:8, 4:8] = torch.randn(1, 3, 4, 4)
    features = encoder.features(image.flatten(1)).unflatten(-1, (4, 6, 6))
    torch.testing.assert_close(features, convolution(image).tanh())
    shifted = encoder.features(image.roll((2, 2), (2, 3)).flatten(1)).unflatten(-1, (4, 6, 6))
    torch.testing.assert_close(shifted, features.roll((1, 1), (2, 3)))


def test_the_context_stands_behind_the_image_and_joins_its_features() -> None:
    encoder: Any = Conv((4,), 4).encoder((6, 6), 2, hidden=(5,), activation="tanh", context=3)
    image, context = torch.randn(7, 36), torch.randn(7, 3)
    wanted = encoder.dense(torch.cat([encoder.features(image), context], -1))
    torch.testing.assert_close(encoder(torch.cat([image, context], -1)), wanted)


def test_more_outputs_are_more_channels() -> None:
    """Two outputs a pixel, say: rows of (2, H, W)."""
    decoder = Conv((4,), 3).decoder(2, (5, 6), 60, hidden=(), activation="relu")
    assert decoder(torch.zeros(3, 2)).shape == (3, 60)
    assert layers_of(decoder, nn.ConvTranspose2d)[-1].out_channels == 2
    with pytest.raises(ArgumentError, match=r"^num_outputs: expected a multiple of the image's 30 pixels; got 31"):
        Conv((4,), 3).decoder(2, (5, 6), 31, hidden=(), activation="relu")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_what_tells_examples_from_each_other_does_not_vanish(activation: str, depth: int) -> None:
    """At first, behind up to seven layers: torch's own weights leave 0.0002. Of 20 seeds all were in (0.04, 0.32)."""
    network = Conv((8, 16, 32, 64)[:depth])
    encoder = network.encoder((28, 28), 16, hidden=(256, 256), activation=activation)
    decoder = network.decoder(16, (28, 28), 784, hidden=(256, 256), activation=activation)
    with torch.no_grad():
        for outputs in (encoder(torch.randn(256, 784)), decoder(torch.randn(256, 16))):
            assert 0.02 < outputs.var(0).mean().sqrt() < 0.6
            assert outputs.mean(0).abs().mean() < 0.6


@pytest.mark.parametrize(
    ("data_shape", "got"),
    [((64,), r"\(64,\)"), ((3, 3, 8, 8), r"\(3, 3, 8, 8\)"), ((28, 28, 3), r"\(28, 28, 3\)"), ((3, 9), r"\(3, 9\)"),
     ((1, 8, 2), r"\(1, 8, 2\)")],
)  # fmt: skip
def test_what_is_no_image_is_named(data_shape: tuple[int, ...], got: str) -> None:
    expected = rf"^data_shape: expected \(height, width\) or \(channels, height, width\), .*; got {got}\. Channels come"
    with pytest.raises(ArgumentError, match=expected):
        Conv().encoder(data_shape, 4, hidden=(), activation="relu")
    with pytest.raises(ArgumentError, match=expected):
        Conv().decoder(2, data_shape, torch.Size(data_shape).numel(), hidden=(), activation="relu")


def test_an_image_is_not_halved_to_nothing() -> None:
    """5 x 9, 3 x 5, 2 x 3, 1 x 2 for an odd kernel; 5 x 9, 2 x 4, 1 x 2 for an even one."""
    for kernel_size, most in ((3, 3), (4, 2)):
        Conv((2,) * most, kernel_size).encoder((5, 9), 2, hidden=(), activation="relu")
        for make_network in (
            lambda network: network.encoder((5, 9), 2, hidden=(), activation="relu"),
            lambda network: network.decoder(2, (5, 9), 45, hidden=(), activation="relu"),
        ):
            with pytest.raises(ArgumentError, match=rf"^channels: expected at most {most} layers .* 5 x 9.*; got"):
                make_network(Conv((2,) * (most + 1), kernel_size))


@pytest.mark.parametrize(
    ("settings", "argument"),
    [({"channels": ()}, "channels"), ({"channels": 8}, "channels"), ({"channels": (8, 0)}, "channels"),
     ({"channels": (8, 2.5)}, "channels"), ({"channels": "32"}, "channels"), ({"kernel_size": 1}, "kernel_size"),
     ({"kernel_size": 0}, "kernel_size"), ({"kernel_size": (3, 3)}, "kernel_size"),
     ({"kernel_size": 3.0}, "kernel_size"), ({"stride": 2}, "network")],
)  # fmt: skip
def test_settings_are_checked(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        make("network", {"name": "conv", **settings}, Network, NETWORKS)


def test_settings_are_kept() -> None:
    config = {"name": "conv", "channels": [8, 16, 32], "kernel_size": 5}
    assert make("network", config, Network, NETWORKS).config == config
