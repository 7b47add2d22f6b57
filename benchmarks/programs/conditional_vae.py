"""A conditional VAE (Sohn, Lee and Yan 2015): the rest of a picture, given its first quarter."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from benchmarks.programs.program import Pair, Program, location_and_scale, mlp, pictures, seeded


class ConditionalVAE(nn.Module):
    """The prior network p(z | x), the recognition network q(z | x, y) and the generation network p(y | x, z)."""

    def __init__(self, given: int, missing: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.prior = mlp(given, hidden, 2 * latent)
        self.recognition = mlp(given + missing, hidden, hidden, 2 * latent)
        self.generation = mlp(given + latent, hidden, hidden, missing)

    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        pyro.module("conditional_vae", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(*location_and_scale(self.prior(x))).to_event(1))
            logits = self.generation(torch.cat([x, z], -1))
            pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)
            return logits

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("conditional_vae", self)
        with pyro.plate("data", len(x)):
            output = self.prior(x) if y is None else self.recognition(torch.cat([x, y], -1))
            pyro.sample("z", dist.Normal(*location_and_scale(output)).to_event(1))


def program(pixels: int, hidden: int, latent: int, batch_size: int, steps: int) -> Program:
    """The conditional VAE in one size; a quarter of the pixels is given."""
    given = pixels // 4

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        cvae = seeded(seed, lambda: ConditionalVAE(given, pixels - given, hidden, latent), dtype)
        return Pair(cvae.model, cvae.guide)

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        x, _ = pictures(seed, batch_size * steps, pixels)
        return [tuple(batch.split([given, pixels - given], -1)) for batch in x.to(dtype).split(batch_size)]

    return Program(make, data, Trace_ELBO, 1e-3, batch_size, batch_size)


FULL = program(pixels=784, hidden=500, latent=50, batch_size=128, steps=40)
SMALL = program(pixels=12, hidden=6, latent=2, batch_size=8, steps=5)
