"""What matrix products in bfloat16 cost in likelihood: the same training with `precision=None` and "bf16".

Two works on MNIST: a VAE 784-200-200-50 (tanh, Bernoulli, Adam from 1e-3 down a cosine, dynamic bits), judged by
importance sampling with K samples from the guide in float32, a lower bound; and an RBM 784-16 (PCD-1, 128 chains, SGD
from 0.05 down to zero, bits drawn once), judged exactly. Batches of 128. Judged are the 10,000 test images, bits drawn
once from seed 0. Three seeds of initial weights and training noise, the same in both precisions. Differences are paired
by image and seed; their error adds in quadrature that over the images (mean over seeds) and that over the seeds. Three
seeds know their own spread badly, so that a difference counts from 4.3 errors on: Student's t of two degrees of freedom
at 95 percent.

MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.precision [--epochs 10]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import probae as pb
from benchmarks.common import print_table, write_results

SEEDS = (0, 1, 2)
T = 4.303  # Student's t, 95 percent, len(SEEDS) - 1 degrees of freedom
PRECISIONS = {"float32": None, "bfloat16 products": "bf16"}


def vae(precision: str | None, seed: int, epochs: int, num_samples: int) -> Tensor:
    """log p(x) of each test image under a VAE."""
    mnist = pb.data.load("mnist", binarize="dynamic", seed=0)
    torch.manual_seed(seed)
    model = pb.VAE((1, 28, 28), latent_dim=50, hidden=(200, 200), activation="tanh")
    model.fit(mnist.train, epochs=epochs, batch_size=128, schedule="cosine", seed=seed, precision=precision)
    return _each(model.log_likelihood(mnist.test, num_samples=num_samples))


def rbm(precision: str | None, seed: int, epochs: int, _: int) -> Tensor:
    """log p(x) of each test image under an RBM small enough to be exact."""
    mnist = pb.data.load("mnist", binarize="stochastic", seed=0)
    torch.manual_seed(seed)
    machine = pb.RBM(784, 16, negative_phase=pb.PCD(num_chains=128))
    settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "linear"}
    machine.fit(mnist.train, epochs=epochs, batch_size=128, seed=seed, precision=precision, **settings)
    return _each(machine.log_likelihood(mnist.test))


def _each(estimate: pb.Estimate) -> Tensor:
    if estimate.per_example is None:
        raise TypeError("an estimate without its examples")
    return estimate.per_example


WORKS: dict[str, Callable[[str | None, int, int, int], Tensor]] = {"VAE 784-200-200-50": vae, "RBM 784-16": rbm}


def compare(plain: Tensor, other: Tensor) -> dict[str, Any]:
    """Log-likelihoods (seeds, images) in two precisions, and their paired difference."""
    gaps = other - plain
    error = math.hypot(_stderr(gaps.mean(0)), _stderr(gaps.mean(1)))
    difference = float(gaps.mean())
    return {
        "float32": plain.mean(1).tolist(),
        "bfloat16": other.mean(1).tolist(),
        "difference": difference,
        "stderr_difference": error,
        "verdict": "no difference shown" if abs(difference) < T * error else "better" if difference > 0 else "worse",
    }


def _stderr(x: Tensor) -> float:
    return float(x.std()) / math.sqrt(len(x))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--num-samples", type=int, default=200, help="K")
    made.add_argument("--name", default="precision", help="of the results file")
    return made


def main() -> None:
    """Train and judge, print a table, write results."""
    given = parser().parse_args()
    found: dict[str, dict[str, Any]] = {}
    for work, train in WORKS.items():
        values = {
            name: torch.stack([train(precision, seed, given.epochs, given.num_samples) for seed in SEEDS])
            for name, precision in PRECISIONS.items()
        }
        found[work] = compare(*values.values())
    print_table(["log p(x), nats", *PRECISIONS, "difference", "±", ""], [
        [work, *(f"{sum(one[name]) / len(SEEDS):.2f}" for name in ("float32", "bfloat16")), f"{one['difference']:+.3f}",
         f"{one['stderr_difference']:.3f}", one["verdict"]] for work, one in found.items()
    ])  # fmt: skip
    protocol = {"description": __doc__, "epochs": given.epochs, "num_samples": given.num_samples, "seeds": list(SEEDS)}
    print(f"written to {write_results(given.name, {'protocol': protocol, 'works': found})}")


if __name__ == "__main__":
    main()
