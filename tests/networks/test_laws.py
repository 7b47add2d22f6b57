"""What every architecture obeys: its modules' shapes, a gradient for each parameter, an output bias, its seeds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from probae.distributions.named import make
from probae.errors import ArgumentError
from probae.networks import NETWORKS, Network
from probae.networks.mlp import ACTIVATIONS

SHAPES = [(8, 8), (1, 8, 8), (28, 28), (3, 32, 32), (3, 16, 16), (2, 5, 7), (4, 9)]
every_network = pytest.mark.parametrize("name", NETWORKS)
every_shape = pytest.mark.parametrize("data_shape", SHAPES, ids=str)


def of(name: str) -> Network:
    return NETWORKS[name]()


def size_of(data_shape: tuple[int, ...]) -> int:
    return torch.Size(data_shape).numel()


@every_network
@every_shape
@pytest.mark.parametrize("hidden", [(), (12,), (12, 10)])
@pytest.mark.parametrize("context", [0, 3])
def test_shapes(name: str, data_shape: tuple[int, ...], hidden: tuple[int, ...], context: int) -> None:
    size = size_of(data_shape)
    encoder = of(name).encoder(data_shape, 6, hidden=hidden, activation="tanh", context=context)
    decoder = of(name).decoder(3 + context, data_shape, size, hidden=hidden, activation="tanh")
    assert encoder(torch.randn(5, size + context)).shape == (5, 6)
    assert decoder(torch.randn(5, 3 + context)).shape == (5, size)
    assert decoder(torch.randn(1, 3 + context)).shape == (1, size)


@every_network
@every_shape
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_parameter_gets_a_gradient(name: str, data_shape: tuple[int, ...], activation: str) -> None:
    if name == "recurrent" and data_shape[0] == 1:
        pytest.skip("one step has nothing to recall")
    size = size_of(data_shape)
    encoder = of(name).encoder(data_shape, 4, hidden=(7,), activation=activation, context=2)
    decoder = of(name).decoder(4, data_shape, size, hidden=(7,), activation=activation)
    decoder(encoder(torch.randn(16, size + 2))).square().sum().backward()
    for module in (encoder, decoder):
        for parameter in module.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().max() > 0


@every_network
@every_shape
def test_each_output_depends_on_inputs_and_has_its_bias(name: str, data_shape: tuple[int, ...]) -> None:
    size = size_of(data_shape)
    decoder = of(name).decoder(3, data_shape, size, hidden=(7,), activation="tanh")
    assert isinstance(decoder, nn.Sequential)
    bias = decoder[-1].bias
    assert isinstance(bias, nn.Parameter)
    assert bias.shape == (size,)
    z = torch.randn(8, 3)
    before = decoder(z)
    assert (before.std(0) > 0).all()
    with torch.no_grad():
        bias += torch.arange(size)
    torch.testing.assert_close(decoder(z) - before, torch.arange(size).float().expand(8, size), rtol=1e-4, atol=1e-4)


@every_network
@every_shape
def test_outputs_depend_on_every_input(name: str, data_shape: tuple[int, ...]) -> None:
    """The context included: behind the D values of a row."""
    size = size_of(data_shape)
    encoder = of(name).encoder(data_shape, 4, hidden=(7,), activation="tanh", context=3)
    rows = torch.randn(8, size + 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(rows).sum(), rows)
    assert (gradient.abs().sum(0) > 0).all()


@every_network
def test_rows_do_not_see_each_other(name: str) -> None:
    encoder = of(name).encoder((6, 7), 4, hidden=(7,), activation="relu", context=1).double()
    decoder = of(name).decoder(4, (6, 7), 42, hidden=(7,), activation="relu").double()
    rows = torch.randn(6, 43, dtype=torch.float64)
    whole = decoder(encoder(rows))
    torch.testing.assert_close(torch.cat([decoder(encoder(part)) for part in rows.split([1, 2, 3])]), whole)


@every_network
def test_single_rows_pass_so_that_jacobians_vectorize(name: str) -> None:
    encoder = of(name).encoder((6, 7), 4, hidden=(7,), activation="tanh", context=1).double()
    rows = torch.randn(3, 43, dtype=torch.float64, requires_grad=True)
    jacobians = torch.func.vmap(torch.func.jacrev(encoder))(rows)
    wanted = torch.stack([torch.autograd.grad(encoder(rows)[:, i].sum(), rows)[0] for i in range(4)], 1)
    torch.testing.assert_close(jacobians, wanted)
    decoder = of(name).decoder(4, (6, 7), 42, hidden=(7,), activation="tanh").double()
    z = torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(decoder(z), decoder(z[None])[0])


@every_network
def test_a_seed_gives_the_same_network(name: str) -> None:
    def states(seed: int) -> list[dict[str, torch.Tensor]]:
        torch.manual_seed(seed)
        encoder = of(name).encoder((8, 8), 4, hidden=(7,), activation="relu")
        decoder = of(name).decoder(2, (8, 8), 64, hidden=(7,), activation="relu")
        return [encoder.state_dict(), decoder.state_dict()]

    first, again, other = states(1), states(1), states(2)
    for a, b, c in zip(first, again, other, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert not all(torch.equal(a[key], c[key]) for key in a)


@every_network
def test_its_configuration_rebuilds_it(name: str) -> None:
    config = json.loads(json.dumps(of(name).config))
    assert config["name"] == name
    twin = make("network", config, Network, NETWORKS)
    assert (type(twin), twin.config) == (NETWORKS[name], config)
    assert make("network", name, Network, NETWORKS).config == config
    encoders = [n.encoder((8, 8), 4, hidden=(7,), activation="relu") for n in (of(name), twin)]
    encoders[0].load_state_dict(encoders[1].state_dict())


@every_network
@pytest.mark.parametrize(
    ("argument", "bad"),
    [("hidden", (0,)), ("hidden", (3, 1.5)), ("hidden", 8), ("hidden", "8"), ("hidden", None),
     ("activation", "tanhh"), ("activation", None), ("activation", torch.tanh)],
)  # fmt: skip
def test_arguments_are_checked(name: str, argument: str, bad: Any) -> None:
    settings: dict[str, Any] = {"hidden": (4,), "activation": "tanh", argument: bad}
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        of(name).encoder((8, 8), 4, **settings)
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        of(name).decoder(2, (8, 8), 64, **settings)
