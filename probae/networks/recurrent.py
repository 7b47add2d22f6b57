"""Recurrent networks, for sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn

from probae.checks import choice
from probae.errors import ArgumentError
from probae.networks.base import Network, widths
from probae.networks.conv import OutputBias
from probae.networks.mlp import ACTIVATIONS


@final
class Recurrent(Network):
    """Gated recurrent units over the first axis of the data shape, (T,) or (T, ...): a layer for each `hidden` width.

    The encoder reads a sequence step by step and hands on its state after the last step that is not all zero, so that
    zeros behind the end of a shorter sequence, as `lengths=` leaves them, change nothing. It is not told the end: steps
    of zeros that are data, such as a silence, count only if another step follows, so that sequences which differ in the
    length of such a tail have one code. Give them a channel that is one at each step. The decoder starts from a
    state made of the code, reads the code again at each step, and makes each step's outputs of its state there. Without
    hidden layers there is one, as wide as what comes out of the encoder and goes into the decoder.

    Source:
        Cho et al. 2014 (arXiv 1406.1078) for the units; Srivastava, Mansimov and Salakhutdinov 2015 (arXiv
        1502.04681) for such a decoder.

    Example:
        >>> network = Recurrent().encoder((5, 2), 3, hidden=(8,), activation="tanh")
        >>> x = torch.rand(4, 10)
        >>> x[:, 6:] = 0  # three steps of five
        >>> shorter = Recurrent().encoder((3, 2), 3, hidden=(8,), activation="tanh")
        >>> _ = shorter.load_state_dict(network.state_dict())
        >>> torch.allclose(network(x), shorter(x[:, :6]))
        True
    """

    def encoder(
        self, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str, context: int = 0
    ) -> nn.Module:
        choice("activation", activation, ACTIVATIONS)
        return RecurrentEncoder(data_shape, num_outputs, widths("hidden", hidden) or (num_outputs,), context)

    def decoder(
        self, num_inputs: int, data_shape: tuple[int, ...], num_outputs: int, *, hidden: Sequence[int], activation: str
    ) -> nn.Sequential:
        nonlinearity = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
        if num_outputs % data_shape[0]:
            raise ArgumentError("num_outputs", f"a multiple of the {data_shape[0]} steps", num_outputs)
        sizes = widths("hidden", hidden)[::-1] or (num_inputs,)
        network = RecurrentDecoder(num_inputs, data_shape[0], num_outputs, sizes, nonlinearity())
        return nn.Sequential(network, OutputBias(num_outputs))

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "recurrent"}


@final
class GatedLayer(nn.Module):
    """A layer of gated recurrent units, of matrix products and sums alone.

    The function is that of `nn.GRU`, whose kernels `torch.func` cannot vectorize over, nor cuDNN's be differentiated
    twice.

        r, u = sigmoid(a_r + c_r), sigmoid(a_u + c_u),  a = W x_t + b,  c = V h_{t-1} + d
        h_t = (1 - u) tanh(a_n + r c_n) + u h_{t-1}

    Args:
        num_inputs: of each step.
        num_outputs: size of the state.

    Example:
        >>> states = GatedLayer(2, 3)(torch.zeros(4, 5, 2))
        >>> states.shape
        torch.Size([4, 5, 3])
    """

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        self.input, self.state = nn.Linear(num_inputs, 3 * num_outputs), nn.Linear(num_outputs, 3 * num_outputs)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """The states (..., T, num_outputs) after the steps of x, (..., T, num_inputs), from the one before, or zero."""
        state = x.new_zeros(*x.shape[:-2], self.num_outputs) if state is None else state
        states = []
        for given in self.input(x).unbind(-2):
            reset, update, new = self.state(state).chunk(3, -1)
            x_reset, x_update, x_new = given.chunk(3, -1)
            proposed = torch.tanh(x_new + torch.sigmoid(x_reset + reset) * new)
            state = proposed + torch.sigmoid(x_update + update) * (state - proposed)
            states.append(state)
        return torch.stack(states, -2)


@final
class RecurrentEncoder(nn.Module):
    """The last state of stacked recurrent layers, and what stands behind the sequence, through a linear layer.

    Args:
        data_shape: (T, ...).
        num_outputs: how many outputs.
        hidden: width of each layer.
        context: how many values stand behind the sequence in a row.
    """

    def __init__(self, data_shape: tuple[int, ...], num_outputs: int, hidden: tuple[int, ...], context: int) -> None:
        super().__init__()
        self.steps, self.width = data_shape[0], math.prod(data_shape[1:])
        self.layers = _layers((self.width, *hidden))
        self.output = nn.Linear(hidden[-1] + context, num_outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """From (N, D + context) to (N, num_outputs)."""
        x, context = rows[..., : self.steps * self.width], rows[..., self.steps * self.width :]
        states = x.unflatten(-1, (self.steps, self.width))
        last = _last_steps(states)
        for layer in self.layers:
            states = layer(states)
        state = states.gather(-2, last.unsqueeze(-1).unsqueeze(-1).expand(*last.shape, 1, states.shape[-1])).squeeze(-2)
        return self.output(torch.cat([state, context], -1))


@final
class RecurrentDecoder(nn.Module):
    """Recurrent layers started from the code and fed with it at each step; outputs of each step from its state alone.

    Args:
        num_inputs: length of the code.
        steps: T.
        num_outputs: of all steps together.
        hidden: width of each layer.
        activation: what the code goes through, after a linear layer, to be a layer's first state.
    """

    def __init__(
        self, num_inputs: int, steps: int, num_outputs: int, hidden: tuple[int, ...], activation: nn.Module
    ) -> None:
        super().__init__()
        self.steps, self.activation = steps, activation
        self.starts = nn.ModuleList(nn.Linear(num_inputs, width) for width in hidden)
        self.layers = _layers((num_inputs, *hidden))
        self.output = nn.Linear(hidden[-1], num_outputs // steps, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """From (N, num_inputs) to (N, num_outputs)."""
        states = z.unsqueeze(-2).expand(*z.shape[:-1], self.steps, -1)
        for start, layer in zip(self.starts, self.layers, strict=True):
            states = layer(states, self.activation(start(z)))
        return self.output(states).flatten(-2)


def _layers(sizes: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(GatedLayer(inputs, outputs) for inputs, outputs in pairwise(sizes))


def _last_steps(x: Tensor) -> Tensor:
    """The last step of each sequence (..., T, C) that is not all zero; the first where all are: (...)."""
    places = torch.arange(x.shape[-2], device=x.device)
    return ((x != 0).any(-1) * places).amax(-1)
