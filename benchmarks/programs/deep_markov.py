"""A deep Markov model (Krishnan, Shalit and Sontag 2017, arXiv 1609.09869) of padded sequences."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from benchmarks.programs.program import Pair, Program, location_and_scale, mlp, seeded


class Transition(nn.Module):
    """p(z_t | z_t-1): a gate between a linear and a nonlinear step (the paper's eq. 9 to 11)."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.proposal = mlp(latent, hidden, latent), mlp(latent, hidden, latent)
        self.linear, self.log_scale = nn.Linear(latent, latent), nn.Linear(latent, latent)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        gate, proposal = self.gate(z).sigmoid(), self.proposal(z)
        return (1 - gate) * self.linear(z) + gate * proposal, self.log_scale(proposal.relu()).exp()


class DeepMarkov(nn.Module):
    """A chain of latent vectors, and a recurrent recognition network that reads the sequence from its end."""

    def __init__(self, notes: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.transition = Transition(latent, hidden)
        self.emission = mlp(latent, hidden, hidden, notes)
        self.reader = nn.GRU(notes, hidden, batch_first=True)
        self.combiner, self.posterior = nn.Linear(latent, hidden), nn.Linear(hidden, 2 * latent)
        self.start, self.guide_start = nn.Parameter(torch.zeros(latent)), nn.Parameter(torch.zeros(latent))

    def model(self, x: Tensor, lengths: Tensor) -> None:
        pyro.module("deep_markov", self)
        z = self.start.expand(len(x), -1)
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(x.shape[1])):
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z{t}", dist.Normal(*self.transition(z)).to_event(1))
                    pyro.sample(f"x{t}", dist.Bernoulli(logits=self.emission(z)).to_event(1), obs=x[:, t])

    def guide(self, x: Tensor, lengths: Tensor) -> None:
        pyro.module("deep_markov", self)
        z, future = self.guide_start.expand(len(x), -1), backwards(self.reader(backwards(x, lengths))[0], lengths)
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(x.shape[1])):
                combined = 0.5 * (self.combiner(z).tanh() + future[:, t])
                with poutine.mask(mask=t < lengths):
                    z = pyro.sample(f"z{t}", dist.Normal(*location_and_scale(self.posterior(combined))).to_event(1))


def backwards(x: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence from its last element to its first; what pads it holds copies of the first: (B, T, D)."""
    index = (lengths.unsqueeze(-1) - 1 - torch.arange(x.shape[1], device=x.device)).clamp(min=0)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))


def sequences(seed: int, count: int, length: int, notes: int) -> tuple[Tensor, Tensor]:
    """Chords that move up by one note a step, with mistakes, padded with zeros: (N, T, D), and lengths (N,)."""
    generator = torch.Generator().manual_seed(seed)
    chords = torch.rand(count, 1, notes, generator=generator) < 0.1
    place = (torch.arange(notes) - torch.arange(length).unsqueeze(-1)) % notes
    moving = chords.expand(-1, length, -1).gather(2, place.expand(count, -1, -1))
    moving = moving ^ (torch.rand(moving.shape, generator=generator) < 0.02)
    lengths = torch.randint(length // 2, length + 1, (count,), generator=generator)
    present = torch.arange(length) < lengths.unsqueeze(-1)
    return (moving & present.unsqueeze(-1)).float(), lengths


def program(notes: int, latent: int, hidden: int, length: int, batch_size: int, steps: int) -> Program:
    """The deep Markov model in one size."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        chain = seeded(seed, lambda: DeepMarkov(notes, latent, hidden), dtype)
        return Pair(chain.model, chain.guide)

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        x, lengths = sequences(seed, batch_size * steps, length, notes)
        return list(zip(x.to(dtype).split(batch_size), lengths.split(batch_size), strict=True))

    return Program(make, data, Trace_ELBO, 1e-3, batch_size, batch_size)


FULL = program(notes=88, latent=64, hidden=128, length=40, batch_size=32, steps=10)
SMALL = program(notes=6, latent=2, hidden=4, length=3, batch_size=5, steps=5)
