"""The semi-supervised VAE, M2 of Kingma et al. 2014 (arXiv 1406.5298): unknown labels are summed out in the guide."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from benchmarks.programs.program import Pair, Program, location_and_scale, mlp, pictures, seeded


class SemiSupervisedVAE(nn.Module):
    """p(x | y, z), q(z | x, y) and the classifier q(y | x), which labelled pictures train directly too (eq. 9)."""

    def __init__(self, pixels: int, labels: int, hidden: int, latent: int, weight: float = 10.0) -> None:
        super().__init__()
        self.labels, self.latent, self.weight = labels, latent, weight
        self.classifier = mlp(pixels, hidden, labels)
        self.encoder = mlp(pixels + labels, hidden, 2 * latent)
        self.decoder = mlp(latent + labels, hidden, pixels)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("semi_supervised_vae", self)
        with pyro.plate("data", len(x)):
            if y is not None:
                with poutine.scale(scale=self.weight):
                    pyro.sample("classified", dist.OneHotCategorical(logits=self.classifier(x)), obs=y)
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(len(x), self.labels)), obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), self.latent), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(joined(z, y))).to_event(1), obs=x)

    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("semi_supervised_vae", self)
        with pyro.plate("data", len(x)):
            if y is None:
                label = dist.OneHotCategorical(logits=self.classifier(x))
                y = pyro.sample("y", label, infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal(*location_and_scale(self.encoder(joined(x, y)))).to_event(1))


def joined(*parts: Tensor) -> Tensor:
    """The parts side by side in the last dimension, the others broadcast: enumeration puts new ones in front."""
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*shape, -1) for part in parts], -1)


def program(pixels: int, labels: int, hidden: int, latent: int, batch_size: int, steps: int, every: int) -> Program:
    """The semi-supervised VAE in one size; the first of `every` batches has labels."""

    def make(seed: int, dtype: torch.dtype = torch.float32) -> Pair:
        vae = seeded(seed, lambda: SemiSupervisedVAE(pixels, labels, hidden, latent), dtype)
        return Pair(vae.model, vae.guide)

    def data(seed: int, dtype: torch.dtype = torch.float32) -> list[tuple[Any, ...]]:
        x, kinds = pictures(seed, batch_size * steps, pixels, labels)
        y = torch.nn.functional.one_hot(kinds, labels).to(dtype)
        batches = zip(x.to(dtype).split(batch_size), y.split(batch_size), strict=True)
        return [(batch, None if step % every else known) for step, (batch, known) in enumerate(batches)]

    elbo = partial(TraceEnum_ELBO, max_plate_nesting=1, strict_enumeration_warning=False)  # labelled: none
    return Program(make, data, elbo, 1e-3, batch_size, batch_size, enumerates=True)


def labelled(both: Program) -> Program:
    """The same with the labelled batches alone."""
    return replace(both, data=lambda *how: [batch for batch in both.data(*how) if batch[1] is not None])


def unlabelled(both: Program) -> Program:
    """The same with the unlabelled batches alone, without the argument."""
    return replace(both, data=lambda *how: [batch[:1] for batch in both.data(*how) if batch[1] is None])


FULL = program(pixels=784, labels=10, hidden=256, latent=50, batch_size=128, steps=40, every=4)
SMALL = program(pixels=12, labels=3, hidden=6, latent=2, batch_size=8, steps=10, every=2)
