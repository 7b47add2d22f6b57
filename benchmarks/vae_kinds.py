"""Five kinds of variational autoencoder on dynamically binarized MNIST, side by side under one protocol.

Standard prior, mixture prior, VampPrior, flow guide, two stochastic layers; all else is the same. Protocol: 50 latent
variables (with two layers 50 and 25), 200-200 tanh units in each network, Bernoulli likelihood; 50,000 training images,
bits drawn anew in each batch of 128; Adam from 3e-3 down a cosine over the epochs; the plain ELBO as the objective, and
the best epoch by the validation ELBO (10,000 images) is kept; log p(x) of all 10,000 test images, bits drawn once from
seed 0, by importance sampling with K samples an image from the guide. Three seeds of the initial weights and of all
training noise. Every run has one thread, and its processor time is measured; runs beside each other still share caches
and memory, so the times are rough. Differences are paired: the same images, and for each seed the standard prior's run
of that seed; their error adds in quadrature that over the images (mean over seeds) and that over the three seeds. Three
seeds know their own spread badly, so that a difference counts from 4.3 errors on: Student's t of two degrees of freedom
at 95 percent.

MNIST is looked for in the folder that PROBAE_DATA names. Finished runs are kept in --runs and not repeated. Run as

    PROBAE_DATA=... python -m benchmarks.vae_kinds [--epochs 25] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import probae as pb
from benchmarks.common import print_table, write_results

KINDS: dict[str, dict[str, Any]] = {
    "standard prior": {},
    "mixture of 100": {"prior": {"name": "mixture", "num_components": 100}},
    "VampPrior, 500 pseudo-inputs": {"prior": {"name": "vamp", "num_components": 500}},
    "flow guide": {"guide": "flow"},
    "two layers, 50 and 25": {"latent_dim": (50, 25)},
}
SEEDS = (0, 1, 2)
T = 4.303  # Student's t, 95 percent, len(SEEDS) - 1 degrees of freedom
BASELINE = "standard prior"
PUBLISHED = {
    "mixture of 100": "better than the standard prior, worse than the VampPrior (Tomczak and Welling 2018, table 1)",
    "VampPrior, 500 pseudo-inputs": "better than the standard prior (Tomczak and Welling 2018, table 1)",
    "flow guide": "better than the diagonal guide (Kingma et al. 2016, table 1)",
    "two layers, 50 and 25": "better than one layer (Burda et al. 2016, table 1)",
}
"""What the papers say of each kind, of larger models trained for longer."""


def main() -> None:
    """Train and judge what is not there yet, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--num-samples", type=int, default=500, help="K")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/vae_kinds"), help="folder of the single runs")
    parser.add_argument("--name", default="vae_kinds", help="of the results file")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    jobs = [(kind, seed, given.epochs, given.num_samples, given.runs) for seed in SEEDS for kind in KINDS]
    jobs = [job for job in jobs if not _path(given.runs, job[0], job[1]).exists()]
    with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool:
        for done in pool.imap_unordered(_run, jobs):
            print(done, flush=True)
    runs = {kind: [_read(given.runs, kind, seed) for seed in SEEDS] for kind in KINDS}
    rows = {kind: summary(of_kind, runs[BASELINE]) for kind, of_kind in runs.items()}
    print_table(["", "log p(x)", "± seeds", "minus standard", "± ", "s/epoch", "ESS", "k-hat"], [
        [kind, f"{r['value']:.2f}", f"{r['stderr_seeds']:.2f}", f"{r['difference']:+.2f}",
         f"{r['stderr_difference']:.2f}", f"{r['cpu_seconds_an_epoch']:.1f}", f"{r['ess']:.0f}", f"{r['khat']:.2f}"]
        for kind, r in rows.items()
    ])  # fmt: skip
    print(f"written to {write_results(given.name, {'protocol': _protocol(given), 'kinds': rows})}")


def summary(runs: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> dict[str, Any]:
    """What three seeds of a kind give, and its paired difference from the baseline."""
    values = torch.tensor([run["value"] for run in runs], dtype=torch.float64)
    gaps = torch.stack([one["per_example"] - other["per_example"] for one, other in zip(runs, baseline, strict=True)])
    over_images = _stderr(gaps.mean(0))
    over_seeds = _stderr(gaps.mean(1))
    difference, error = float(gaps.mean()), math.hypot(over_images, over_seeds)
    kind = runs[0]["kind"]
    mean = {name: sum(run[name] for run in runs) / len(runs) for name in ("cpu_seconds_an_epoch", "ess", "khat")}
    return {
        "value": float(values.mean()),
        "stderr_seeds": _stderr(values),
        "stderr_data": _stderr(torch.stack([run["per_example"] for run in runs]).mean(0)),
        "values": values.tolist(),
        "difference": difference,
        "stderr_difference": error,
        "differences": gaps.mean(1).tolist(),
        "published": PUBLISHED.get(kind),
        "verdict": _verdict(kind, difference, error),
        "direction": "lower",
        "valid_elbo": [run["valid_elbo"] for run in runs],
        "best_epochs": [run["best_epoch"] for run in runs],
        "reliable": [run["reliable"] for run in runs],
        "cpu_seconds": [run["cpu_seconds"] for run in runs],
        **mean,
    }


def _verdict(kind: str, difference: float, error: float) -> str:
    """Whether the order of the papers shows."""
    if kind == BASELINE:
        return "the baseline"
    if abs(difference) < T * error:
        return "no difference shown: the order that the papers report does not show here"
    return "better, as the papers report" if difference > 0 else "WORSE: the papers report the opposite order"


def _stderr(x: Tensor) -> float:
    return float(x.std()) / math.sqrt(len(x))


def _run(job: tuple[str, int, int, int, Path]) -> str:
    kind, seed, epochs, num_samples, folder = job
    torch.set_num_threads(1)
    mnist = pb.data.load("mnist", binarize="dynamic", seed=0)
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"latent_dim": 50, "hidden": (200, 200), "activation": "tanh", **KINDS[kind]}
    vae = pb.VAE((1, 28, 28), **settings)
    start = time.process_time()
    run = vae.fit(mnist.train, valid=mnist.valid, epochs=epochs, learning_rate=3e-3, schedule="cosine", seed=seed)
    seconds = time.process_time() - start
    estimate = vae.log_likelihood(mnist.test, num_samples=num_samples)
    fields = ("value", "stderr", "stderr_data", "ess", "khat", "reliable", "reason")
    result = {
        "kind": kind, "seed": seed, "epochs": epochs, "num_samples": num_samples, "cpu_seconds": seconds,
        "cpu_seconds_an_epoch": seconds / epochs, "best_epoch": run.best_epoch, "valid_elbo": run.best,
        "num_parameters": sum(p.numel() for p in vae.parameters()), "protocol": str(estimate.protocol),
        **{field: getattr(estimate, field) for field in fields},
    }  # fmt: skip
    path = _path(folder, kind, seed)
    assert estimate.per_example is not None  # noqa: S101 - a log-likelihood has them
    torch.save(estimate.per_example, path.with_suffix(".pt"))
    path.write_text(json.dumps(result, indent=2) + "\n")
    return f"{kind}, seed {seed}: {estimate.value:.2f} after {seconds:.0f} s"


def _path(folder: Path, kind: str, seed: int) -> Path:
    return folder / f"{kind.replace(' ', '_').replace(',', '')}-{seed}.json"


def _read(folder: Path, kind: str, seed: int) -> dict[str, Any]:
    path = _path(folder, kind, seed)
    return {**json.loads(path.read_text()), "per_example": torch.load(path.with_suffix(".pt"), weights_only=True)}


def _protocol(given: argparse.Namespace) -> dict[str, Any]:
    return {"description": __doc__, "epochs": given.epochs, "num_samples": given.num_samples, "seeds": list(SEEDS)}


if __name__ == "__main__":
    main()
