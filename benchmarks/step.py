"""How long a training step takes: the engine beside Pyro's SVI and hand-written PyTorch, in one run.

The VAE is 784-200-200-50 (tanh), batch 128, float32, Adam at 1e-3, on bits; all train the same network. The RBM is
784-500, PCD-1, 128 chains, SGD. Each competitor goes once over the same resident data in a shuffled order, which it
draws anew. Data are random bits: only time is measured. Run as

    python -m benchmarks.step [--repeats 9] [--steps 390]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import probae as pb
from benchmarks.common import interleave, print_table, write_results
from probae.distributions.bits import random_bits

BATCH = 128


def shuffled(x: Tensor) -> Iterator[Tensor]:
    """Batches of one epoch, as anyone would cut them by hand."""
    for indices in torch.randperm(len(x)).split(BATCH):
        yield x.index_select(0, indices)


def vae() -> pb.VAE:
    """The model of the first row, new and always the same."""
    torch.manual_seed(0)
    return pb.VAE(784, latent_dim=50, hidden=(200, 200))


def engine(model: Any, x: Tensor, **settings: Any) -> Callable[[], None]:
    """One epoch of `fit`; what it does around the loop is timed as well."""

    def train() -> None:
        pb.fit(model.model, model.guide, x, epochs=1, objective=model.objective(), seed=0, progress=False, **settings)

    return train


def svi(x: Tensor) -> Callable[[], None]:
    """Pyro's own loop, as its tutorials write it, with its checks off."""
    model = vae()
    one = pyro.infer.SVI(model.model, model.guide, pyro.optim.Adam({"lr": 1e-3}), loss=pyro.infer.Trace_ELBO())

    def train() -> None:
        with pyro.validation_enabled(False):
            for batch in shuffled(x):
                one.step(batch)

    return train


def by_hand(x: Tensor) -> Callable[[], None]:
    """The same network and loss without Pyro, eager, with the fused optimizer."""
    model = vae()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def loss(x: Tensor) -> Tensor:
        loc, raw = model.encoder(x).chunk(2, -1)
        scale = F.softplus(raw + 0.5) + 1e-6
        logits = model.decoder(loc + scale * torch.randn_like(loc))
        kl = (0.5 * (loc.square() + scale.square() - 1) - scale.log()).sum()
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + kl

    def train() -> None:
        for batch in shuffled(x):
            (loss(batch) / BATCH).backward()
            optimizer.step()
            optimizer.zero_grad()

    return train


class PlainRBM(nn.Module):
    """Contrastive divergence by hand: closed-form gradients and SGD, no autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.a, self.b = 0.01 * torch.randn(784, 500), torch.zeros(784), torch.zeros(500)
        self.chains = random_bits(torch.full((BATCH, 784), 0.5))

    @torch.no_grad()
    def step(self, x: Tensor, rate: float = 0.05) -> None:
        positive = torch.sigmoid(torch.addmm(self.b, x, self.w))
        h = random_bits(torch.sigmoid(torch.addmm(self.b, self.chains, self.w)))
        v = self.chains = random_bits(torch.sigmoid(torch.addmm(self.a, h, self.w.T)))
        negative = torch.sigmoid(torch.addmm(self.b, v, self.w))
        self.w += rate / BATCH * (x.T @ positive - v.T @ negative)
        self.a += rate / BATCH * (x - v).sum(0)
        self.b += rate / BATCH * (positive - negative).sum(0)


def rbm_by_hand(x: Tensor) -> Callable[[], None]:
    """The hand-written RBM over the same batches."""
    model = PlainRBM()

    def train() -> None:
        for batch in shuffled(x):
            model.step(batch)

    return train


def main() -> None:
    """Measure, print a table, write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=390)
    given = parser.parse_args()
    torch.manual_seed(0)
    x = random_bits(torch.full((BATCH * given.steps, 784), 0.2))
    machine = pb.RBM(784, 500)
    competitors = {
        "VAE, engine": engine(vae(), x, optimizer="adam"),
        "VAE, pyro.infer.SVI": svi(x),
        "VAE, by hand, eager": by_hand(x),
        "RBM, engine": engine(machine, x, optimizer=torch.optim.SGD, learning_rate=0.05),
        "RBM, by hand, eager": rbm_by_hand(x),
    }
    timings = interleave(competitors, repeats=given.repeats)
    pairs = [("VAE, engine", "VAE, pyro.infer.SVI"), ("VAE, engine", "VAE, by hand, eager")]
    pairs += [("RBM, engine", "RBM, by hand, eager")]
    print_table(["a step", "ms (median)", "min", "max"], [
        [name, *(f"{1e3 * seconds / given.steps:.2f}" for seconds in (timing.median, *timing.spread))]
        for name, timing in timings.items()
    ])  # fmt: skip
    ratios = {f"{a} / {b}": timings[a].ratio_to(timings[b]) for a, b in pairs}
    print()
    print_table(["ratio", "median", "min", "max"], [
        [name, f"{ratio.median:.3f}", *(f"{value:.3f}" for value in ratio.spread)] for name, ratio in ratios.items()
    ])  # fmt: skip
    path = write_results("step", {
        "protocol": {"description": __doc__, "batch": BATCH, "steps": given.steps, "repeats": given.repeats,
                     "seed": 0, "unit": "seconds for all steps"},
        "timings": {name: timing.as_dict() for name, timing in timings.items()},
        "ratios": {name: ratio.as_dict() for name, ratio in ratios.items()},
    })  # fmt: skip
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
