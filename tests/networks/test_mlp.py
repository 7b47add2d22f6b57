"""Multilayer perceptrons: their layers, their shapes, their errors."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from probae.errors import ArgumentError
from probae.networks.mlp import ACTIVATIONS, mlp


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), activation=st.sampled_from(sorted(ACTIVATIONS)))
def test_linear_layers_with_nonlinearities_between(sizes: list[int], activation: str) -> None:
    network = mlp(sizes, activation)
    assert network(torch.zeros(2, 3, sizes[0])).shape == (2, 3, sizes[-1])
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == list(pairwise(sizes))
    assert [type(layer) for layer in network][1::2] == [ACTIVATIONS[activation]] * (len(sizes) - 2)
    assert isinstance(network[-1], nn.Linear)


@pytest.mark.parametrize(
    ("sizes", "activation", "argument"),
    [([3, 0], "tanh", "sizes"), ([3, 1.5], "tanh", "sizes"), ([3], "tanh", "sizes"), ([], "tanh", "sizes"),
     ([3, 2], "tanhh", "activation"), ([3, 2], None, "activation")],
)  # fmt: skip
def test_arguments_are_checked(sizes: list[int], activation: str, argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        mlp(sizes, activation)
