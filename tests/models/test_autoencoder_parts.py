"""Tied weights and dropout: what the networks of an autoencoder share, and what they leave out in training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import probae as pb
from probae.distributions.likelihoods import Normal
from probae.errors import ArgumentError

X = pb.data.load("digits", binarize="none").train.tensor[:60]

WIDE = Normal(64)  # as a likelihood of one's own may be: two outputs for each value
WIDE.num_outputs = 128


def test_a_tied_decoder_is_the_encoder_transposed_with_biases_of_its_own() -> None:
    tied: Any = pb.Autoencoder(64, 3, (16, 12), tied=True, activation="tanh")
    assert sum(p.numel() for p in tied.parameters()) == 64 * 16 + 16 * 12 + 12 * 3 + (16 + 12 + 3) + (12 + 16 + 64)
    with torch.no_grad():
        for layer in (tied.decoder[0], tied.decoder[2], tied.decoder[4]):
            layer.bias.normal_()
        z, h = torch.randn(5, 3), tied.encoder
        hidden = torch.tanh(z @ h[4].weight + tied.decoder[0].bias)
        hidden = torch.tanh(hidden @ h[2].weight + tied.decoder[2].bias)
        torch.testing.assert_close(tied.decoder(z), hidden @ h[0].weight + tied.decoder[4].bias)


@pytest.mark.parametrize("way", ["eager", "trace"])
def test_tied_weights_stay_tied(way: str) -> None:
    """Through training, eager or recorded, and in copies: a decoder that kept old weights would not reconstruct."""
    torch.manual_seed(0)
    tied: Any = pb.Autoencoder(64, 8, (), tied=True)
    tied.fit(X, epochs=40, learning_rate=0.01, seed=0, compile=way)
    twin: Any = copy.deepcopy(tied)
    twin.fit(X + 0.1, epochs=5, seed=0, compile=way)
    assert not torch.equal(twin.encoder[0].weight, tied.encoder[0].weight)
    for model in (tied, twin, copy.deepcopy(tied).double()):
        x = X.to(model.dtype)
        wanted = model.embed(x) @ model.encoder[0].weight.detach() + model.decoder[0].bias.detach()
        torch.testing.assert_close(model.reconstruct(x), wanted)
    variance = (X - X.mean(0)).square().sum()
    assert (tied.reconstruct(X) - X).square().sum() < 0.6 * variance


@pytest.mark.parametrize("tied", [False, True])
def test_dropout_silences_hidden_units_in_training_only(tied: bool) -> None:
    model = pb.Autoencoder(64, 3, 400, tied=tied, dropout=0.25)
    kinds = [type(layer) for layer in model.encoder.children()]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in model.decoder.children()][1:3] == [nn.ReLU, nn.Dropout]
    assert torch.equal(model.embed(X), model.embed(X))
    for part in (model.encoder, model.decoder):
        dropout: Any = part[2]  # type: ignore[index]
        silent = (dropout.train()(torch.ones(100, 400)) == 0).double().mean().item()
        assert abs(silent - 0.25) < 6 * (0.25 * 0.75 / 40_000) ** 0.5  # false alarm: 2e-9
    assert model.config["network"] == {"name": "mlp", "dropout": 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tied": True, "network": "conv"}, "tied: expected False beside modules of your own or another network"),
        ({"tied": True, "encoder": nn.Linear(64, 3)}, "tied: expected False beside modules of your own"),
        ({"tied": True, "likelihood": WIDE}, "tied: expected False beside a likelihood of more than one output"),
        ({"dropout": 0.5, "network": "conv"}, "dropout: expected 0 beside modules of your own or another network"),
        ({"dropout": 0.5, "hidden": ()}, "dropout: expected 0 without hidden layers"),
        ({"dropout": 1.0}, "dropout: expected a finite number at least 0 and below 1"),
        ({"dropout": -0.1}, "dropout: expected a finite number at least 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        pb.Autoencoder((8, 8), 3, **{"hidden": 8, **options})
    if "tied" in options:
        with pytest.raises(ArgumentError, match=f"^{message}"):
            pb.ContractiveAutoencoder((8, 8), 3, **{"hidden": 8, **options})
