"""Networks taken apart: what their layers are, what comes out of them, which networks have none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from probae.errors import ArgumentError
from probae.models.sparse import BoundedLinear
from probae.networks.mlp import ACTIVATIONS, mlp
from probae.networks.tied import tied_decoder
from probae.networks.unrolled import Layer, affine, layers_of


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_layers_in_turn_are_the_network(activation: str) -> None:
    network, x = mlp([5, 4, 3, 2], activation, dropout=0.5).eval(), torch.randn(7, 5)
    layers = layers_of("encoder", nn.Sequential(network, ACTIVATIONS[activation]()))
    assert [layer.nonlinearity for layer in layers] == [activation] * 3
    assert [(layer.num_inputs, layer.num_outputs) for layer in layers] == [(5, 4), (4, 3), (3, 2)]
    found = x
    for layer in layers:
        found = layer(found)
    assert torch.equal(found, ACTIVATIONS[activation]()(network(x)))
    assert [layer.nonlinearity for layer in layers_of("encoder", network)] == [activation, activation, "linear"]


def test_the_first_outputs_alone() -> None:
    whole, x = nn.Linear(3, 6), torch.randn(5, 3)
    part = Layer(whole).ending("tanh", 2)
    assert part.num_outputs == 2
    assert torch.equal(part(x), whole(x)[:, :2].tanh())
    before = whole.weight[2:].clone()
    part.set(Layer(affine(torch.ones(2, 3), torch.full((2,), 5.0))))
    assert torch.equal(whole.weight[:2], torch.ones(2, 3))
    assert torch.equal(whole.bias[:2], torch.full((2,), 5.0))
    assert torch.equal(whole.weight[2:], before)
    assert Layer(whole).ending("relu", 6).first is None


def test_tied_and_bounded_weights_are_set_where_they_are_kept() -> None:
    encoder = mlp([4, 3, 2])
    decoder = layers_of("decoder", tied_decoder(encoder))
    assert torch.equal(decoder[1].weight, encoder[0].weight.T)
    before = encoder[0].weight.clone()
    decoder[1].set(Layer(affine(torch.ones(4, 3), torch.ones(4))))
    assert torch.equal(encoder[0].weight, before)
    assert torch.equal(decoder[1].bias, torch.ones(4))
    bounded: Any = BoundedLinear(nn.Linear(3, 2))
    assert not Layer(bounded).free
    Layer(bounded).set(Layer(affine(torch.full((2, 3), 0.3), torch.zeros(2))))
    assert torch.equal(bounded.weight, torch.full((2, 3), 0.3))


def test_making_a_layer_draws_nothing() -> None:
    before = torch.get_rng_state()
    affine(torch.ones(2, 3), torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.ReLU()),
        nn.Linear(4, 3, bias=False), nn.Sequential(nn.Tanh(), nn.Linear(4, 3)), nn.Conv2d(1, 1, 3), nn.Sequential(),
        nn.Sequential(nn.Linear(4, 3), nn.ELU(2.0)),
    ],
    ids=str,
)  # fmt: skip
def test_other_networks_are_named(network: nn.Module) -> None:
    with pytest.raises(ArgumentError, match=r"^decoder: expected .*linear layer"):
        layers_of("decoder", network)
