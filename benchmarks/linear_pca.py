"""Two linear models against their closed forms on the 1,197 training digits: how near training gets, in what time.

The linear autoencoder is trained on all examples at once by Adam from 0.03 down a cosine, 3,000 epochs; probabilistic
PCA by its defaults. For several numbers of components q it prints

- of `pb.Autoencoder(hidden=())`, its squared error relative to that of q principal components, minus one, and the
  largest principal angle between what its decoder spans and those components, in radians;
- of `pb.ProbabilisticPCA`, how many nats per example its exact log-likelihood is below the closed form's.

Values are the digits' grey values in [0, 1], seed 0. Run as

    python -m benchmarks.linear_pca
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor

import probae as pb
from benchmarks.common import print_table, write_results

COMPONENTS = (2, 8, 16)
FIT: dict[str, Any] = {"epochs": 3000, "batch_size": None, "learning_rate": 0.03, "schedule": "cosine"}


def main() -> None:
    """Train, compare, print and keep."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    x = pb.data.load("digits", binarize="none").train.tensor
    rows = {latent_dim: linear(x, latent_dim) | probabilistic(x, latent_dim) for latent_dim in COMPONENTS}
    print_table(["q", "excess error", "angle", "s", "nats below", "s"], [
        [q, f"{r['excess_error']:.1e}", f"{r['angle']:.1e}", f"{r['seconds']:.1f}", f"{r['nats_below']:.4f}",
         f"{r['ppca_seconds']:.1f}"] for q, r in rows.items()
    ])  # fmt: skip
    print(f"written to {write_results('linear_pca', {'data': 'digits/train, grey', 'fit': FIT, 'components': rows})}")


def linear(x: Tensor, latent_dim: int) -> dict[str, float]:
    """The linear autoencoder beside the principal components."""
    torch.manual_seed(0)
    model = pb.Autoencoder(x.shape[1], latent_dim, hidden=())
    start = time.perf_counter()
    model.fit(x, seed=0, progress=False, **FIT)
    seconds = time.perf_counter() - start
    _, sizes, components = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
    error = (model.reconstruct(x).double() - x).square().sum()
    decoder: Any = model.decoder
    excess = error / sizes[latent_dim:].square().sum() - 1
    return {
        "excess_error": excess.item(), "angle": largest_angle(decoder[0].weight, components[:latent_dim].T),
        "seconds": seconds,
    }  # fmt: skip


def probabilistic(x: Tensor, latent_dim: int) -> dict[str, float]:
    """Probabilistic PCA by stochastic gradients, beside its closed form."""
    torch.manual_seed(0)
    model = pb.ProbabilisticPCA(x.shape[1], latent_dim)
    start = time.perf_counter()
    model.fit(x, seed=0, progress=False)
    seconds = time.perf_counter() - start
    best = pb.ProbabilisticPCA(x.shape[1], latent_dim).fit_closed_form(x)
    return {
        "nats_below": best.log_likelihood(x).value - model.log_likelihood(x).value,
        "ppca_seconds": seconds,
    }


@torch.no_grad()
def largest_angle(one: Tensor, other: Tensor) -> float:
    """The largest principal angle between what the columns span, in radians, by its sine: small ones keep digits."""
    one, other = (torch.linalg.qr(columns.double()).Q for columns in (one, other))
    return torch.linalg.svdvals(one - other @ (other.T @ one))[0].clamp(max=1.0).asin().item()


if __name__ == "__main__":
    main()
