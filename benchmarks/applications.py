"""What codes are good for, on scikit-learn's digits: clusters, linear probes, ways between examples, a film of the map.

Grey values, 1,197 training digits, one seed, Adam down a cosine, the best epoch by validation. For each model with 16
latent variables:

- clusters: ten by k-means on the codes of the training and validation digits, and their agreement with the labels,
  which neither model nor clusters saw (adjusted Rand index, normalized mutual information);
- probe: the test accuracy of a logistic regression on the codes, fitted on the training digits, beside the same on the
  64 raw values. With 300 test digits, differences below 2 percent say little.

Pictures go to docs/pictures: the clusters of the VAE, ways between its codes, the probes, and a film of an autoencoder
with two latent dimensions over its first 30 epochs. Run as

    python -m benchmarks.applications [--effort 1.0]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

import probae as pb
from benchmarks.common import print_table, versions, write_results

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SHAPE = (1, 8, 8)
MODELS: dict[str, Any] = {
    "PCA (probabilistic)": lambda: pb.ProbabilisticPCA(SHAPE, 16),
    "autoencoder": lambda: pb.Autoencoder(SHAPE, 16, 256),
    "denoising, 256 units": lambda: pb.DenoisingAutoencoder(SHAPE, 256, (), nonlinearity="sigmoid"),
    "VAE": lambda: pb.VAE(SHAPE, 16, 256, {"name": "normal", "learned": True}, prior="mixture"),
}


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", type=float, default=1.0, help="share of the epochs")
    parser.add_argument("--output", type=Path, default=PICTURES)
    parser.add_argument("--name", default="applications", help="of the results file")
    given = parser.parse_args()
    plt.switch_backend("Agg")
    given.output.mkdir(parents=True, exist_ok=True)
    data = pb.data.load("digits", binarize="none")
    known = torch.cat([data.train.tensor, data.valid.tensor])
    labels = torch.cat([part.labels for part in (data.train, data.valid) if part.labels is not None])
    settings = {"epochs": max(1, round(100 * given.effort)), "learning_rate": 2e-3, "schedule": "cosine", "seed": 0}
    models, probes, rows = {}, {}, {}
    for name, make in MODELS.items():
        torch.manual_seed(0)
        models[name] = trained(make(), data, settings)
        found = pb.applications.clusters(models[name], known, 10, labels=labels)
        probes[name] = pb.applications.linear_probe(models[name], data.train, data.test)
        rows[name] = {
            "adjusted_rand": found.adjusted_rand, "mutual_information": found.mutual_information,
            "probe": probes[name].accuracy, "probe_stderr": probes[name].stderr, "probe_raw": probes[name].raw_accuracy,
            "gain": probes[name].gain, "gain_stderr": probes[name].gain_stderr,
        }  # fmt: skip
    print_table(["", "Rand", "information", "probe", "raw"], [
        [name, f"{r['adjusted_rand']:.3f}", f"{r['mutual_information']:.3f}", f"{r['probe']:.1%}",
         f"{r['probe_raw']:.1%}"] for name, r in rows.items()
    ])  # fmt: skip
    draw(models["VAE"], known, labels, probes, given.output)
    film(data, settings, given.output)
    protocol = {"description": __doc__, "settings": settings}
    print(write_results(given.name, {"protocol": protocol, "versions": versions(["scikit-learn"]), "models": rows}))


def trained(model: Any, data: Any, settings: dict[str, Any]) -> Any:
    """The model, at its closed form where it has one."""
    if hasattr(model, "fit_closed_form"):
        return model.fit_closed_form(data.train)
    model.fit(data.train, valid=data.valid, progress=False, **settings)
    return model


def draw(vae: Any, x: torch.Tensor, labels: torch.Tensor, probes: dict[str, Any], folder: Path) -> None:
    """Clusters, ways between codes, and probes."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    pb.plots.clusters(pb.applications.clusters(vae, x, 10, labels=labels), x, SHAPE, ax=axes[0])
    axes[0].set_title("clusters of its codes: size, commonest label", loc="left")
    starts, ends = (vae.embed(x[[int((labels == y).nonzero()[3]) for y in row]]) for row in (range(10), (8, *range(9))))
    pb.plots.interpolations(vae.decode, starts, ends, SHAPE, steps=10, ax=axes[1])
    axes[1].set_title("from digit to digit", loc="left")
    figure.savefig(folder / "clusters.png", dpi=90, bbox_inches="tight")
    pb.plots.probes(probes).figure.savefig(folder / "probes.png", dpi=90, bbox_inches="tight")


def film(data: Any, settings: dict[str, Any], folder: Path) -> None:
    """Two latent dimensions, epoch by epoch."""
    torch.manual_seed(0)
    model = pb.Autoencoder(SHAPE, 2, (128, 64))
    recorder = pb.applications.MapRecorder(model, data.valid)
    epochs = max(1, round(0.3 * settings["epochs"]))
    model.fit(data.train, epochs=epochs, learning_rate=1e-3, seed=0, progress=False, callbacks=[recorder])
    path = folder / "map_over_epochs.gif"
    pb.plots.map_animation(path, recorder.codes, recorder.labels, epochs=recorder.epochs, size=4.2, dpi=72)


if __name__ == "__main__":
    main()
