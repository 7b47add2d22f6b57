"""Anomaly detection on MNIST: trained on nine classes of digits, the tenth held out, for each class and model.

Protocol: training images are the first 20,000 of the training set less the class that is held out, about 18,000;
labels are used for nothing else. All 10,000 test images are scored by `model.anomaly_score(x)`, those of the class held
out are the anomalies (about 1,000). The area under the ROC curve is the probability that an anomaly scores higher than
a normal image; its standard error is that of sampling the test images. One seed, no choice by validation: small
networks, 10 epochs of batches of 128, the last epoch kept. Seconds are of the wall clock, beside other work.

Grey values in [0, 1]; for the VAE and the RBM bits, drawn anew in each training batch, once from seed 0 for the test.

- PCA: the squared error of 32 principal components, by scikit-learn: the peer.
- Autoencoder: 784-256-32-256-784, squared error. Adversarial: the same, with a Normal prior.
- Sparse: 784-256-784, L1 prior of strength 0.1. Contractive: 784-128-784, sigmoid code, strength 0.1.
- Denoising: 784-256-64-256-784, a quarter of the pixels masked.
- Probabilistic PCA: 32 components, its exact -log p(x) at the closed form.
- VAE: 784-256-32-256-784, Bernoulli, the negative ELBO of 32 samples.
- RBM: 784 x 256, PCD-1, its free energy.

MNIST is looked for in the folder that PROBAE_DATA names. Finished runs are kept in --runs and not repeated. Run as

    PROBAE_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.anomalies

which also draws docs/pictures/anomalies.png, for the class 4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

import probae as pb
from benchmarks.common import print_table, versions, write_results
from probae.models.base import Model

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SHAPE = (1, 28, 28)
TRAIN = 20_000
PICTURED = 4
ADAM: dict[str, Any] = {"learning_rate": 2e-3, "schedule": "cosine"}
SGD: dict[str, Any] = {"learning_rate": 0.05, "schedule": "cosine"}
MASKING = {"name": "masking", "rate": 0.25}

MODELS: dict[str, tuple[Callable[[], Model], str, dict[str, Any] | None]] = {
    "Autoencoder": (lambda: pb.Autoencoder(SHAPE, 32, 256), "grey", ADAM),
    "Sparse": (lambda: pb.SparseAutoencoder(SHAPE, 256, strength=0.1), "grey", ADAM),
    "Denoising": (lambda: pb.DenoisingAutoencoder(SHAPE, 64, 256, MASKING), "grey", ADAM),
    "Contractive": (lambda: pb.ContractiveAutoencoder(SHAPE, 128, strength=0.1), "grey", ADAM),
    "Adversarial": (lambda: pb.AdversarialAutoencoder(SHAPE, 32, 256), "grey", ADAM),
    "Probabilistic PCA": (lambda: pb.ProbabilisticPCA(SHAPE, 32), "grey", None),
    "VAE": (lambda: pb.VAE(SHAPE, 32, 256), "bits", ADAM),
    "RBM": (lambda: pb.RBM(SHAPE, 256), "bits", SGD),
}
"""How each is made, what it sees, and how it is trained; None for a closed form."""

PEER = "PCA"


def main() -> None:
    """Train and judge what is not there yet, then write the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs", type=Path, default=Path("runs/anomalies"), help="folder of the single runs")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    parser.add_argument("--name", default="anomalies", help="of the results file")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = {"grey": pb.data.load("mnist", binarize="none"), "bits": pb.data.load("mnist", binarize="dynamic")}
    for digit in given.classes:
        for name in (PEER, *MODELS):
            if not _path(given.runs, name, digit).exists():
                print(digit, name, run(name, digit, data, given.epochs, given.runs), flush=True)
    curves = {name: {digit: _curve(given.runs, name, digit, data) for digit in given.classes} for name in _names()}
    rows = {name: _row(given.runs, name, of_name) for name, of_name in curves.items()}
    print_table(["", *map(str, given.classes), "mean", "s a run"], [
        [name, *(f"{r['auroc'][str(digit)]:.3f}" for digit in given.classes), f"{r['mean']:.3f}", f"{r['seconds']:.0f}"]
        for name, r in rows.items()
    ])  # fmt: skip
    protocol = {"description": __doc__, "epochs": given.epochs, "train": TRAIN, "seed": 0}
    results = {"protocol": protocol, "versions": versions(["scikit-learn"]), "models": rows}
    print(f"written to {write_results(given.name, results)}")
    if PICTURED in given.classes:
        draw({name: of_name[PICTURED] for name, of_name in curves.items()}, data["grey"].test, given)


def run(name: str, digit: int, data: dict[str, Any], epochs: int, folder: Path) -> str:
    """Train without a class, score the test images, keep the scores."""
    sees = MODELS[name][1] if name in MODELS else "grey"
    train, test = data[sees].train[:TRAIN], data[sees].test
    train = train[train.labels != digit]
    start = time.perf_counter()
    peer, kept = name == PEER, _model(folder, name, digit)
    scores = _of_peer(train, test) if peer else _of_model(name, train, test, epochs, kept)
    seconds = time.perf_counter() - start
    torch.save({"scores": scores, "seconds": seconds}, _path(folder, name, digit))
    return f"{_roc(scores, test.labels, digit)} in {seconds:.0f} s"


def _of_model(name: str, train: pb.data.Dataset, test: pb.data.Dataset, epochs: int, folder: Path) -> Tensor:
    make, _, settings = MODELS[name]
    torch.manual_seed(0)
    model: Any = make()
    if settings is None:
        model.fit_closed_form(train)
    else:
        model.fit(train, epochs=epochs, batch_size=128, seed=0, progress=False, **settings)
    model.save(folder)
    options: dict[str, Any] = {"progress": False} if isinstance(model, pb.VAE) else {}
    return model.anomaly_score(test, **options)


def _of_peer(train: pb.data.Dataset, test: pb.data.Dataset) -> Tensor:
    pca = PCA(32, random_state=0).fit(train.tensor.numpy())
    x = test.tensor.numpy()
    errors = np.square(x - pca.inverse_transform(pca.transform(x))).sum(1)
    return torch.from_numpy(errors)


def _names() -> tuple[str, ...]:
    return (PEER, *MODELS)


def _curve(folder: Path, name: str, digit: int, data: dict[str, Any]) -> pb.applications.ROC:
    return _roc(torch.load(_path(folder, name, digit), weights_only=True)["scores"], data["grey"].test.labels, digit)


def _roc(scores: Tensor, labels: Tensor, digit: int) -> pb.applications.ROC:
    return pb.applications.roc(scores[labels != digit], scores[labels == digit])


def _row(folder: Path, name: str, curves: dict[int, pb.applications.ROC]) -> dict[str, Any]:
    seconds = [torch.load(_path(folder, name, digit), weights_only=True)["seconds"] for digit in curves]
    return {
        "auroc": {str(digit): curve.auroc for digit, curve in curves.items()},
        "stderr": {str(digit): curve.stderr for digit, curve in curves.items()},
        "mean": sum(curve.auroc for curve in curves.values()) / len(curves),
        "seconds": sum(seconds) / len(seconds),
    }


def draw(curves: dict[str, pb.applications.ROC], test: pb.data.Dataset, given: argparse.Namespace) -> None:
    """The ROC curves of the pictured class, and where the autoencoder finds its digits strange."""
    plt.switch_backend("Agg")
    model: Any = pb.load(_model(given.runs, "Autoencoder", PICTURED))
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.6), layout="constrained", width_ratios=(1, 1.35))
    pb.plots.roc(curves, ax=axes[0]).set_title(f"digits {PICTURED} are the anomalies", loc="left")
    labels: Any = test.labels
    some = torch.cat([(labels == digit).nonzero()[:6, 0] for digit in (PICTURED, 9, 0)])
    x = test[some]
    pb.plots.anomaly_maps(x.tensor, model.anomaly_map(x), SHAPE, cols=6, ax=axes[1])
    axes[1].set_title(f"maps of the autoencoder: digits {PICTURED}, never seen, then 9 and 0", loc="left")
    figure.savefig(given.pictures / "anomalies.png", dpi=90, bbox_inches="tight")


def _path(folder: Path, name: str, digit: int) -> Path:
    return folder / f"{name.replace(' ', '_')}-{digit}.pt"


def _model(folder: Path, name: str, digit: int) -> Path:
    return folder / f"{name.replace(' ', '_')}-{digit}"


if __name__ == "__main__":
    main()
