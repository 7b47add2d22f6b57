"""The variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) of binary pictures."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from benchmarks.programs.program import Pair, Program, location_and_scale, mlp, pictures, seeded


class VAE(nn.Module):
    """Both networks, and the two programs around them."""

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = mlp(pixels, hidden, hidden, 2 * latent)
        self.decoder = mlp(latent, hidden, hidden, pixels)

    def model(self, x: Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), self.latent), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*location_and_scale(self.encoder(x))).to_event(1))


def program(pixels: int, hidden: int, latent: int, batch_size: int, steps: int) -> Program:
    """The VAE in one size."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        vae = seeded(seed, lambda: VAE(pixels, hidden, latent), dtype)
        return Pair(vae.model, vae.guide)

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        x, _ = pictures(seed, batch_size * steps, pixels)
        return [(batch,) for batch in x.to(dtype).split(batch_size)]

    return Program(make, data, Trace_ELBO, 1e-3, batch_size, batch_size)


FULL = program(pixels=784, hidden=200, latent=50, batch_size=128, steps=40)
SMALL = program(pixels=12, hidden=6, latent=2, batch_size=8, steps=5)
