"""RBMs whose log Z is enumerated: what the negative phases and centring are worth, without any estimate.

Bars and stripes, 4x4: 30 patterns, the blank and the full one counted once, equal weights; no model scores above
-log 30 = -3.40. 16 hidden units, 10,000 steps on all patterns at once, SGD with momentum 0.5, its learning rate falling
linearly to zero, centred gradients; the exact mean log-likelihood of the last parameters.

MNIST, thresholded at one half: 784x16, 50,000 training images, 20 epochs, batches of 128, PCD-1 with 256 chains, SGD
with momentum 0.5 from 0.1 linearly down to zero; the exact mean log-likelihood of all 10,000 test images. The same with
all images inverted, with and without centring. MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.rbm_small [--seeds 0 1 2] [--parts bars mnist]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

import torch

import probae as pb
from benchmarks.common import RESULTS, machine, print_table, write_results

CEILING = -math.log(30)
PHASES: dict[str, Any] = {
    "CD-1": pb.CD(1),
    "PCD-1, 500 chains": pb.PCD(1, 500),
    "PCD-5, 500 chains": pb.PCD(5, 500),
    "parallel tempering, 10 temperatures, 100 chains": pb.ParallelTempering(1, 100, 10),
    "trajectory tempering, 10 machines, 100 chains": pb.TrajectoryTempering(1, 100, 10),
}
STEPS, RATE, HIDDEN = 10_000, 0.1, 16


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", default=["bars", "mnist"], choices=("bars", "mnist"))
    parser.add_argument("--steps", type=int, default=STEPS, help="on bars and stripes")
    parser.add_argument("--epochs", type=int, default=20, help="on MNIST")
    given = parser.parse_args(arguments)
    path = RESULTS / "rbm_small.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["results"]["rows"] if path.exists() else {}
    for seed in given.seeds:
        if "bars" in given.parts:
            for name in PHASES:
                keep(kept, f"bars and stripes: {name}", seed, bars_and_stripes(name, given.steps, seed))
        if "mnist" in given.parts:
            for centering in (True, False):
                for inverted in (False, True):
                    how = f"{'' if centering else 'not '}centred{', inverted' if inverted else ''}"
                    keep(kept, f"MNIST: {how}", seed, thresholded(centering, inverted, given.epochs, seed))
    print_table(["exact log-likelihood, nats", "mean", "least", "seeds", "seconds"], [
        [name, f"{mean([row['value'] for row in rows.values()]):.3f}", f"{min(r['value'] for r in rows.values()):.3f}",
         str(len(rows)), f"{mean([row['seconds'] for row in rows.values()]):.0f}"] for name, rows in kept.items()
    ])  # fmt: skip


def keep(kept: dict[str, dict[str, Any]], name: str, seed: int, row: dict[str, Any]) -> None:
    """Enter a row, and write all of them."""
    kept.setdefault(name, {})[str(seed)] = row
    print(f"{name}, seed {seed}: {row['value']:.3f} in {row['seconds']:.0f} s", flush=True)
    write_results("rbm_small", {"protocol": __doc__, "ceiling": CEILING, "rows": kept})


def bars_and_stripes(phase: str, steps: int, seed: int) -> dict[str, Any]:
    """Train on all patterns at once."""
    patterns = pb.data.load("bars_and_stripes", size=4).train
    torch.manual_seed(seed)
    rbm = pb.RBM(16, HIDDEN, negative_phase=PHASES[phase], centering=True)
    return judged(rbm, patterns, patterns, seed, epochs=steps, batch_size=None, learning_rate=RATE, compile="trace")


def thresholded(centering: bool, inverted: bool, epochs: int, seed: int) -> dict[str, Any]:
    """Train on thresholded MNIST, as it is or inverted."""
    mnist = pb.data.load("mnist", binarize="threshold")
    train, test = (1 - part.tensor if inverted else part.tensor for part in (mnist.train, mnist.test))
    torch.manual_seed(seed)
    rbm = pb.RBM((1, 28, 28), HIDDEN, negative_phase=pb.PCD(1, 256), centering=centering)
    return judged(rbm, train, test, seed, epochs=epochs, batch_size=128, learning_rate=RATE)


def judged(rbm: pb.RBM, train: Any, test: Any, seed: int, **settings: Any) -> dict[str, Any]:
    """Train, and enumerate."""
    run = rbm.fit(train, schedule="linear", progress=False, seed=seed, **settings)
    estimate = rbm.log_likelihood(test, "exact")
    return {"value": estimate.value, "stderr_data": estimate.stderr_data, "seconds": run.seconds,
            "machine": machine()}  # fmt: skip


def mean(values: list[float]) -> float:
    """Of some numbers."""
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
