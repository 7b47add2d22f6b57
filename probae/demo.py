"""The main job on embedded digits: train three models through one engine, judge them honestly, draw what they learned.

Run it with `make demo`, or `python -m probae.demo --help`.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import probae as pb
from probae.data.load import Splits
from probae.evaluation.baselines import bernoulli_baseline, mixture_baseline
from probae.evaluation.estimate import Estimate
from probae.models.base import Model


@dataclass(frozen=True)
class Job:
    """A model with the settings that train it; `effort` scales the epochs of all of them."""

    name: str
    model: Model
    epochs: int
    settings: dict[str, Any]


def jobs() -> list[Job]:
    """A stochastic guide, an energy with an unknown log Z, and a Delta guide: the same code trains them."""
    return [
        Job("vae", pb.VAE((1, 8, 8), 16, (256, 256)), 400, {"schedule": "cosine", "learning_rate": 2e-3}),
        Job(
            "rbm",
            pb.RBM((1, 8, 8), 16, negative_phase=pb.PCD(num_chains=256)),
            300,
            {"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.5)},
        ),
        Job(
            "sparse",
            pb.SparseAutoencoder((1, 8, 8), 64, strength=4.0, likelihood={"name": "normal", "scale": 0.2}),
            200,
            {"batch_size": 64},
        ),
    ]


def run(output: Path, seed: int, effort: float, progress: bool | None) -> None:
    """Do the whole job and print where it is."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    bits, grey = pb.data.load("digits", binarize="dynamic", seed=seed), pb.data.load("digits", binarize="none")
    print(f"{bits}\n")
    trained: dict[str, Any] = {}
    for job in jobs():
        data = grey if job.name == "sparse" else bits
        epochs = max(2, round(job.epochs * effort))
        print(f"Training {job.name} for {epochs} epochs", flush=True)
        logger = pb.CSVLogger(output / job.name)
        settings = {"epochs": epochs, "seed": seed, "logger": logger, "progress": progress, **job.settings}
        trained[job.name] = (job.model, job.model.fit(data.train, valid=data.valid, **settings))
        job.model.save(output / job.name / "model")
        print(f"  {trained[job.name][1]}")
    print("Judging them on the test set, beside two baselines\n", flush=True)
    results = judge({name: model for name, (model, _) in trained.items()}, bits, seed, effort)
    write_results(results, output)
    print(table(results), "\n")
    sparse = trained["sparse"][0]
    codes = sparse.embed(grey.test)
    error = (sparse.reconstruct(grey.test) - grey.test.tensor).square().sum(1).mean()
    print(f"sparse autoencoder: {(codes > 0).float().mean():.0%} of the code units active, squared error {error:.2f}")
    print("(deterministic: it has no log-likelihood)\n")
    draw(trained, results, bits, grey, output / "pictures")
    print(f"Models, metrics and pictures are in {output} ({time.perf_counter() - started:.0f} s)")


def judge(models: dict[str, Any], bits: Splits, seed: int, effort: float) -> dict[str, Estimate]:
    """Test log-likelihoods under one protocol, the simplest first."""
    vae, rbm = models["vae"], models["rbm"]
    return {
        "independent pixels": bernoulli_baseline(bits.train, bits.test),
        "mixture of 50": mixture_baseline(
            bits.train, bits.valid, bits.test, 50, seed=seed, epochs=max(2, round(200 * effort))
        ),
        "RBM, exact log Z": rbm.log_likelihood(bits.test, method="exact"),
        "RBM, annealed log Z": rbm.log_likelihood(bits.test, method="ais", num_temperatures=2000),
        "VAE, importance": vae.log_likelihood(bits.test, num_samples=5000, seed=seed),
    }


def table(results: dict[str, Estimate]) -> str:
    """The results in aligned columns."""
    header = ["log p(x), nats/example", "value", "± MC", "± data", "direction", "ESS", "reliable"]
    rows = [
        [
            name, f"{e.value:.3f}", f"{e.stderr:.3f}", f"{e.stderr_data or 0:.2f}", e.direction,
            "" if e.ess is None else f"{e.ess:.0f}", "yes" if e.reliable else "no *",
        ]
        for name, e in results.items()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    notes = [f"* {name}: {e.reason}" for name, e in results.items() if not e.reliable]
    protocol = next(iter(results.values())).protocol
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], f"on {protocol.dataset}/{protocol.split}, "
                      f"{protocol.binarization} binarization (seed {protocol.seed})", *notes])  # fmt: skip


def write_results(results: dict[str, Estimate], output: Path) -> None:
    """The estimates as `results.json` and `results.csv`."""
    fields = ("value", "stderr", "stderr_data", "direction", "ess", "khat", "reliable", "reason")
    rows = [
        {"name": name, **{field: getattr(e, field) for field in fields}, "protocol": str(e.protocol)}
        for name, e in results.items()
    ]
    (output / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    with (output / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def draw(trained: dict[str, Any], results: dict[str, Estimate], bits: Splits, grey: Splits, folder: Path) -> None:
    """Six pictures."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    (vae, vae_run), (rbm, rbm_run), (sparse, sparse_run) = (trained[name] for name in ("vae", "rbm", "sparse"))

    def save(name: str, *titles: str, size: tuple[float, float] = (4.0, 4.0)) -> Any:
        figure, axes = plt.subplots(1, len(titles), figsize=(size[0] * len(titles), size[1]), layout="constrained")
        for ax, title in zip(figure.axes, titles, strict=True):
            ax.set_title(title)
        figure.probae_path = folder / f"{name}.png"  # type: ignore[attr-defined]
        return figure, axes

    figure, axes = save("learning_curves", "VAE", "RBM", "sparse autoencoder", size=(5.0, 3.5))
    for ax, one in zip(axes, (vae_run, rbm_run, sparse_run), strict=True):
        columns = [f"valid_{one.monitor}"] + (["train_loss"] if one is vae_run else [])
        pb.plots.learning_curves(one.history, columns, best_epoch=one.best_epoch, ax=ax)
    _finish(figure)
    figure, axes = save("samples", "data", "VAE", "RBM")
    shown = (bits.test.tensor[:100], vae.sample(100), rbm.sample(100, steps=2000))
    for ax, x in zip(axes, shown, strict=True):
        pb.plots.image_grid(x, (1, 8, 8), cols=10, ax=ax)
    _finish(figure)
    figure, axes = save("reconstructions", "VAE", "sparse autoencoder", size=(6.0, 4.0))
    for ax, model, data in zip(axes, (vae, sparse), (bits.test[:32], grey.test[:32]), strict=True):
        pb.plots.reconstructions(data.tensor, model.reconstruct(data), (1, 8, 8), ax=ax)
    _finish(figure)
    figure, ax = save("latent", "the VAE's latent space", size=(5.5, 5.0))
    pb.plots.latent_scatter(vae.embed(bits.test), bits.test.labels, ax=ax)
    _finish(figure)
    figure, axes = save("filters", "RBM weights", "dictionary of the sparse autoencoder")
    pb.plots.filters(rbm.weight.detach().T, (1, 8, 8), ax=axes[0])
    pb.plots.filters(sparse.dictionary, (1, 8, 8), ax=axes[1])
    _finish(figure)
    figure, ax = save("estimates", "test log-likelihood", size=(8.0, 3.0))
    pb.plots.estimates(results, ax=ax)
    _finish(figure)


def _finish(figure: Any) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(figure.probae_path, dpi=150)
    plt.close(figure)


def free_folder(wanted: Path) -> Path:
    """The folder itself if it is new or empty, else the first free one of its numbered neighbours: nothing is lost."""
    number, folder = 1, wanted
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m probae.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder to leave (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--effort", type=float, default=1.0, help="share of the full number of epochs (default: 1)")
    parser.add_argument("--progress", action=argparse.BooleanOptionalAction, default=None, help="show progress bars")
    given = parser.parse_args(arguments)
    import matplotlib

    matplotlib.use("Agg")
    run(free_folder(given.output), given.seed, given.effort, given.progress)


if __name__ == "__main__":
    main()
