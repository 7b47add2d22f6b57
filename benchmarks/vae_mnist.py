"""The classic VAE on dynamically binarized MNIST: test log-likelihood after ten minutes of training on a CPU.

Protocol: 50 latent variables, 200-200 tanh units in encoder and decoder, Bernoulli likelihood; 50,000 training images,
bits drawn anew in each batch; Adam from 1e-3 down a cosine over the time; the best epoch by the validation ELBO (10,000
images) is kept; log p(x) of all 10,000 test images, bits drawn once from seed 0, by importance sampling with K = 1000
samples an image from the guide. MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.vae_mnist [--minutes 10] [--seed 0]
"""

from __future__ import annotations

import argparse
import time

import torch

import probae as pb
from benchmarks.common import print_table, write_results


def main() -> None:
    """Train, judge, write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--name", default="vae_mnist", help="of the results file")
    given = parser.parse_args()
    mnist = pb.data.load("mnist", binarize="dynamic", seed=0)
    torch.manual_seed(given.seed)
    vae = pb.VAE((1, 28, 28), latent_dim=50, hidden=(200, 200), likelihood="bernoulli", activation="tanh")
    run = vae.fit(
        mnist.train, valid=mnist.valid, max_time=60 * given.minutes, learning_rate=given.learning_rate,
        schedule="cosine", batch_size=128, seed=given.seed,
    )  # fmt: skip
    print(run)
    start = time.perf_counter()
    estimate = vae.log_likelihood(mnist.test, num_samples=given.num_samples)
    seconds = time.perf_counter() - start
    print(estimate)
    print_table(["", ""], [
        ["training seconds", f"{run.seconds:.0f}"], ["epochs", run.epochs], ["ms a step, validation included",
         f"{1e3 * run.seconds / run.state['position']['step']:.2f}"], ["evaluation seconds", f"{seconds:.0f}"],
        ["test log p(x), nats", f"{estimate.value:.2f}"],
    ])  # fmt: skip
    fields = ("value", "stderr", "stderr_data", "direction", "ess", "khat", "reliable", "reason")
    path = write_results(given.name, {
        "protocol": {"description": __doc__, "seed": given.seed, "minutes": given.minutes,
                     "learning_rate": given.learning_rate, "estimate": str(estimate.protocol)},
        "training": {"seconds": run.seconds, "epochs": run.epochs, "steps": run.state["position"]["step"],
                     "best_epoch": run.best_epoch, "valid_elbo": run.best},
        "test": {field: getattr(estimate, field) for field in fields} | {"seconds": seconds},
    })  # fmt: skip
    print(f"written to {path}")


if __name__ == "__main__":
    main()
