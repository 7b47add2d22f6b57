"""Initial weights: sums keep their size through every kind of layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from probae.networks.initialization import inputs_per_unit, keep_size, mean_square
from probae.networks.mlp import ACTIVATIONS


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mean_squares(activation: str) -> None:
    """Against a million draws: within six standard errors, which a Normal mean leaves at a rate of 2e-9."""
    f = ACTIVATIONS[activation]()
    squares = f(torch.randn(1_000_000)) ** 2
    assert mean_square(f) == pytest.approx(squares.mean().item(), abs=6 * squares.std().item() / 1000)


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "silu", "gelu"])
def test_sums_are_of_unit_size_behind_every_layer(activation: str) -> None:
    """512 units by 500 examples: over twelve layers the size stays within a third."""
    f = ACTIVATIONS[activation]()
    layers: list[nn.Module] = [nn.Linear(512, 512)]
    for _ in range(11):
        layers += [f, nn.Linear(512, 512)]
    network = nn.Sequential(*layers)
    keep_size(network, f)
    x = torch.randn(500, 512)
    with torch.no_grad():
        for layer in network:
            x = layer(x)
            if isinstance(layer, nn.Linear):
                assert 0.67 < x.square().mean().sqrt() < 1.5


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(300, 64), nn.Conv2d(32, 16, 4, 2, 1), nn.Conv2d(32, 16, 3, 2, 1), nn.ConvTranspose2d(64, 16, 4, 2, 1),
     nn.ConvTranspose2d(64, 16, 3, 2, 1), nn.ConvTranspose2d(64, 16, 5, 2, 2)],
    ids=str,
)  # fmt: skip
def test_the_inputs_of_a_unit_are_counted(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """With unit weights and unit inputs an inner unit, on average over neighbours, sums so many."""
    with torch.no_grad():
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        x = torch.ones(1, 300) if isinstance(layer, nn.Linear) else torch.ones(1, layer.in_channels, 60, 60)
        sums = layer(x) if isinstance(layer, nn.Linear) else layer(x)[..., 4:24, 4:24]
    assert sums.mean().item() == pytest.approx(inputs_per_unit(layer), rel=1e-6)


def test_biases_start_at_zero_and_the_last_layer_as_asked() -> None:
    network = nn.Sequential(nn.Linear(400, 400), nn.Tanh(), nn.Linear(400, 400))
    keep_size(network, nn.Tanh(), last=0.1)
    assert all(not layer.bias.any() for layer in network if isinstance(layer, nn.Linear))
    assert 0.08 < network(torch.randn(500, 400)).std() < 0.12
