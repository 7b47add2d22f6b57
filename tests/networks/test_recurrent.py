"""Recurrent networks: torch's own GRU, sequences that end early, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.errors import ArgumentError
from probae.networks import Recurrent
from probae.networks.recurrent import GatedLayer, RecurrentEncoder


def sequences(count: int, steps: int, width: int) -> Tensor:
    return torch.randn(count, steps, width, generator=torch.Generator().manual_seed(0))


def test_a_gated_layer_is_torchs_own() -> None:
    torch.manual_seed(0)
    layer, peer = GatedLayer(3, 4).double(), nn.GRU(3, 4, batch_first=True).double()
    with torch.no_grad():
        for ours, theirs in zip((layer.input, layer.state), ("ih", "hh"), strict=True):
            ours.weight.copy_(getattr(peer, f"weight_{theirs}_l0"))
            ours.bias.copy_(getattr(peer, f"bias_{theirs}_l0"))
    x, start = sequences(5, 6, 3).double(), torch.randn(5, 4).double()
    torch.testing.assert_close(layer(x, start), peer(x, start.unsqueeze(0))[0])


@pytest.mark.parametrize("data_shape", [(6,), (6, 3), (6, 3, 2)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
def test_what_is_behind_the_end_changes_nothing_but_what_is_before_does(
    data_shape: tuple[int, ...], context: int
) -> None:
    torch.manual_seed(0)
    encoder = Recurrent().encoder(data_shape, 4, hidden=(5, 7), activation="tanh", context=context)
    shorter = Recurrent().encoder((4, *data_shape[1:]), 4, hidden=(5, 7), activation="tanh", context=context)
    shorter.load_state_dict(encoder.state_dict())
    width = torch.Size(data_shape[1:]).numel()
    x, more = torch.randn(8, 6 * width), torch.randn(8, context)
    x[:, 4 * width :] = 0
    codes = encoder(torch.cat([x, more], -1))
    torch.testing.assert_close(codes, shorter(torch.cat([x[:, : 4 * width], more], -1)))
    for step in range(4):
        other = x.clone()
        other[:, step * width] += 1
        assert ((encoder(torch.cat([other, more], -1)) - codes).abs().amax(-1) > 1e-6).all()


def test_each_sequence_has_its_own_end() -> None:
    """In one batch, as alone; one without any step that is not zero counts as one step of zeros."""
    torch.manual_seed(0)
    encoder = Recurrent().encoder((5, 2), 3, hidden=(6,), activation="tanh")
    x = sequences(6, 5, 2)
    for row in range(6):
        x[row, row:] = 0
    together = encoder(x.flatten(1))
    for row in range(6):
        own = Recurrent().encoder((max(row, 1), 2), 3, hidden=(6,), activation="tanh")
        own.load_state_dict(encoder.state_dict())
        torch.testing.assert_close(together[row], own(x[row, : max(row, 1)].flatten().unsqueeze(0))[0])


def test_a_step_of_zeros_inside_is_read() -> None:
    torch.manual_seed(0)
    encoder = Recurrent().encoder((4, 2), 3, hidden=(6,), activation="tanh")
    x = sequences(2, 4, 2)
    x[:, 1] = 0
    without = torch.cat([x[:, :1], x[:, 2:], torch.zeros(2, 1, 2)], 1)
    assert ((encoder(x.flatten(1)) - encoder(without.flatten(1))).abs().amax(-1) > 1e-4).all()


def test_each_step_is_decoded_from_the_steps_before_alone() -> None:
    """A step's outputs hang on the code and on nothing else: the decoder's first steps are those of a shorter one."""
    torch.manual_seed(0)
    decoder = Recurrent().decoder(3, (6, 2), 12, hidden=(5, 4), activation="relu")
    shorter = Recurrent().decoder(3, (4, 2), 8, hidden=(5, 4), activation="relu")
    parts = {name: part for name, part in decoder.state_dict().items() if name != "1.bias"}
    shorter.load_state_dict({**parts, "1.bias": torch.zeros(8)})
    z = torch.randn(7, 3)
    torch.testing.assert_close(decoder(z)[:, :8], shorter(z))


def test_the_widths_are_the_hidden_ones_and_mirrored() -> None:
    encoder = Recurrent().encoder((6, 2), 3, hidden=(5, 4), activation="tanh")
    assert isinstance(encoder, RecurrentEncoder)
    decoder = Recurrent().decoder(3, (6, 2), 12, hidden=(5, 4), activation="tanh")
    assert [layer.num_outputs for layer in encoder.layers] == [5, 4]
    assert [layer.num_outputs for layer in decoder[0].layers] == [4, 5]  # type: ignore[union-attr]


def test_outputs_must_be_those_of_whole_steps() -> None:
    with pytest.raises(ArgumentError, match="num_outputs: expected a multiple of the 4 steps; got 7"):
        Recurrent().decoder(2, (4, 2), 7, hidden=(3,), activation="tanh")


def test_a_recurrent_autoencoder_learns_what_order_its_steps_have() -> None:
    """Two bumps pass through four places, forward or backward: a code of one number must tell how, and where.

    The reconstruction of the best constant is 0.1875 a value; a network blind to the order reaches 0.125.
    """
    torch.manual_seed(0)
    steps = torch.arange(256) % 4
    forward = torch.arange(256) < 128
    places = torch.stack([torch.where(forward, steps + t, steps - t) % 4 for t in range(6)], 1)
    x = nn.functional.one_hot(places, 4).float()
    model = pb.Autoencoder((6, 4), 3, 24, network="recurrent")
    model.fit(x, epochs=60, batch_size=32, learning_rate=1e-2, seed=0, progress=False)
    assert (model.reconstruct(x) - x.flatten(1)).square().mean() < 0.02
