"""The RBM with 500 hidden units on MNIST: test log-likelihood after some minutes of training on a CPU.

Protocol: 50,000 training images, or all 60,000 that are published as such, bits drawn anew in each batch (`dynamic`)
or once (`stochastic`); all 10,000 test images, bits drawn once from seed 0. PCD-1, centred gradients, batches of 128,
SGD with momentum 0.5, the learning rate falling linearly to zero over the time, matrix products in bfloat16. The last
parameters are judged: nothing selects.

log Z by annealed importance sampling from the training data's mean rates, 14,500 equal temperatures, 100 chains,
float32, log-weights in float64; examined by reverse AIS from chains that start elsewhere. "value" is an upper bound in
expectation; "conservative" is by reverse AIS from annealed starts, a lower one as far as those have reached the machine
("reason" has the other way back, too). Once more from another seed ("again"), and once from a third with products in
bfloat16 ("rounded"), both without examination and timed. Published: -86.34 after CD-25 (Salakhutdinov and Murray 2008,
other binary images). MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.rbm_mnist [--minutes 3 10 20] [--seeds 0 1 2] [--threads 2]

which keeps results of earlier runs that it does not run anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import torch

import probae as pb
from benchmarks.common import RESULTS, machine, print_table, write_results

HIDDEN, TEMPERATURES = 500, 14_500
BARS = {"3": -86.3, "10": -84.3, "20": -83.5}
"""Nats that a training of so many minutes has to pass."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[3, 10, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chains", type=int, default=256, help="of PCD")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--binarize", default="dynamic", choices=("dynamic", "stochastic"), help="of training images")
    parser.add_argument("--images", type=int, default=50_000, choices=(50_000, 60_000), help="to train on")
    parser.add_argument("--temperatures", type=int, default=TEMPERATURES)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    mnist, kept = pb.data.load("mnist", binarize=given.binarize, seed=0), previous()
    train = mnist.train if given.images == 50_000 else joined(given.binarize)
    for minutes in given.minutes:
        for seed in given.seeds:
            row = measured(train, mnist.test, minutes, seed, given)
            kept.setdefault(setting(row), {})[str(seed)] = row
            write_results("rbm_mnist", {"protocol": __doc__, "bars": BARS, "settings": kept})
            print({key: value for key, value in row.items() if key != "machine"})
    shown = (
        "value", "stderr", "conservative", "again", "rounded", "ess", "reliable", "epochs", "seconds", "ais_seconds",
        "rounded_seconds",
    )  # fmt: skip
    print_table(["setting, seed", *shown], [
        [f"{name}, {seed}", *(f"{v:.2f}" if isinstance(v := row.get(key), float) else str(v) for key in shown)]
        for name, rows in kept.items() for seed, row in rows.items()
    ])  # fmt: skip


def previous() -> dict[str, Any]:
    """The rows that were measured before."""
    path = RESULTS / "rbm_mnist.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"]["settings"] if path.exists() else {}


def setting(row: dict[str, Any]) -> str:
    """What makes rows with different seeds comparable, in words.

    Example:
        >>> setting({"seconds": 180.02, "chains": 256, "images": 50_000})
        '3 minutes, 256 chains, 50,000 images'
    """
    return f"{row['seconds'] / 60:.3g} minutes, {row['chains']} chains, {row['images']:,} images"


def joined(binarize: str) -> pb.data.Dataset:
    """The training and the validation images, binarized as asked."""
    name = "none" if binarize == "dynamic" else binarize
    splits = pb.data.load("mnist", binarize=name, seed=0)
    images = torch.cat([splits.train.tensor, splits.valid.tensor])
    return pb.data.Dataset(**{"rates" if binarize == "dynamic" else "tensor": images}, data_shape=(1, 28, 28))


def measured(
    train: pb.data.Dataset, test: pb.data.Dataset, minutes: float, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Train one machine for so long, and estimate its likelihood."""
    torch.manual_seed(seed)
    rbm = pb.RBM((1, 28, 28), HIDDEN, negative_phase=pb.PCD(steps=1, num_chains=given.chains), centering=True)
    cpu = time.process_time()
    run = rbm.fit(
        train, max_time=60 * minutes, batch_size=128, learning_rate=given.learning_rate, schedule="linear",
        precision="bf16", seed=seed,
    )  # fmt: skip
    cpu, start = time.process_time() - cpu, time.perf_counter()
    again = rbm.log_likelihood(test, "ais", num_temperatures=given.temperatures, seed=seed + 100, examine=False)
    ais_seconds, start = time.perf_counter() - start, time.perf_counter()
    options: dict[str, Any] = {"num_temperatures": given.temperatures, "examine": False, "precision": "bf16"}
    rounded = rbm.log_likelihood(test, "ais", seed=seed + 200, **options)
    rounded_seconds = time.perf_counter() - start
    estimate = rbm.log_likelihood(test, "ais", num_temperatures=given.temperatures, seed=seed, progress=True)
    return {
        "value": estimate.value, "stderr": estimate.stderr, "stderr_data": estimate.stderr_data,
        "conservative": estimate.lower, "again": again.value, "rounded": rounded.value,
        "rounded_seconds": rounded_seconds, "ess": estimate.ess, "reliable": estimate.reliable,
        "reason": estimate.reason, "estimate": str(estimate.protocol), "epochs": run.epochs, "seconds": run.seconds,
        "cpu_seconds": cpu, "steps": run.state["position"]["step"], "ais_seconds": ais_seconds, "seed": seed,
        "chains": given.chains, "images": given.images, "learning_rate": given.learning_rate,
        "binarize": given.binarize,
        "threads": given.threads, "machine": machine(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
