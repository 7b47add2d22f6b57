"""Retrieval by 32 bits on MNIST: how many of those found are right, and how fast the search is.

The 10,000 test images ask, the 50,000 training images answer. Codes of 32 bits are

- semantic hashing: `pb.Autoencoder` 784-500-250-32 with noise at the inputs of its sigmoid code, rounded; of scale 4,
  as in the paper, and of scale 2;
- the same without noise, rounded;
- signs of the first 32 principal components, and of 32 random directions (locality-sensitive hashing), both of centred
  pixels;

each judged by precision at k, by labels and by the 100 exact Euclidean neighbours in pixels, which are a row of their
own. Of both autoencoders also: the share of saturated units (outside [0.1, 0.9]), and the squared error of the
reconstruction from the codes and from the bits. Grey values in [0, 1]; errors are those of sampling the queries; seeds
are listed one by one.

The search is timed beside scikit-learn's (`NearestNeighbors(metric="hamming", algorithm="brute")`, on booleans) and
SciPy's (`cdist(..., "hamming")` and `argpartition`): 100 queries, 100 neighbours, in alternation. Run as

    python -m benchmarks.hashing [--epochs 10] [--seeds 2]

which draws docs/pictures/hashing.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

import probae as pb
from benchmarks.common import interleave, print_table, write_results
from probae.applications import Neighbours, Precision

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "hashing.png"
BITS, MOST, SHOWN = 32, 100, (1, 10, 100)
FIT: dict[str, Any] = {"batch_size": 256, "learning_rate": 3e-3, "schedule": "cosine"}
NOISES = {"semantic hashing, noise 2": 2.0, "semantic hashing, noise 4": 4.0, "without noise, rounded": 0.0}
PCA, RANDOM, EXACT = "signs of principal components", "signs of random directions", "exact neighbours in pixels"
KINDS = (*NOISES, PCA, RANDOM, EXACT)


class Database:
    """MNIST: queries and what they look through, with the exact neighbours."""

    def __init__(self) -> None:
        splits = pb.data.load("mnist", binarize="none")
        self.train, self.test = splits.train, splits.test
        self.exact = pb.applications.euclidean_search(self.test, self.train, MOST)

    def right(self, found: Neighbours) -> Tensor:
        """Whether each that was found has its query's label."""
        return pb.applications.same_label(found.indices, self.test.labels, self.train.labels)

    def judge(self, found: Neighbours) -> tuple[Precision, Precision]:
        """Precision by labels, and by the exact neighbours."""
        near = pb.applications.among(found.indices, self.exact.indices)
        return pb.applications.precision_at_k(self.right(found)), pb.applications.precision_at_k(near)


def search(queries: Tensor, database: Tensor) -> Neighbours:
    """The nearest by bits."""
    return pb.applications.hamming_search(pb.applications.pack(queries), pb.applications.pack(database), MOST)


def trained(data: Database, noise: float, epochs: int, seed: int) -> pb.Autoencoder:
    """An autoencoder with codes of sigmoid units."""
    torch.manual_seed(seed)
    model = pb.Autoencoder((1, 28, 28), BITS, (500, 250), nonlinearity="sigmoid", noise=noise)
    model.fit(data.train, epochs=epochs, seed=seed, progress=False, **FIT)
    return model


def measured(data: Database, model: pb.Autoencoder) -> dict[str, float]:
    """What rounding does to the codes."""
    x, codes, bits = data.test.tensor, model.embed(data.test), model.binary_codes(data.test)
    errors = {"codes": model.reconstruct(data.test), "bits": model.decode(bits.float()).mean}
    found = {f"error_from_{name}": (value - x).square().sum(1).mean().item() for name, value in errors.items()}
    return {"saturated": ((codes < 0.1) | (codes > 0.9)).double().mean().item(), **found}


def directions(data: Database, kind: str) -> Neighbours:
    """By the signs of projections of centred pixels."""
    mean = data.train.tensor.mean(0)
    if kind == PCA:
        centred = (data.train.tensor - mean).double()
        columns = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -BITS:].float()
    else:
        columns = torch.randn(784, BITS, generator=torch.Generator().manual_seed(0))
    return search(*(((part.tensor - mean) @ columns) > 0 for part in (data.test, data.train)))


def row(precisions: tuple[Precision, Precision], **more: Any) -> dict[str, Any]:
    """For the results."""
    kinds = zip(("by_label", "by_exact_neighbours"), precisions, strict=True)
    table = {
        kind: {k: {"value": p.values[k - 1].item(), "stderr": p.stderr[k - 1].item()} for k in SHOWN}
        for kind, p in kinds
    }
    return {**table, **more}


def speed(bits: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """The search beside its peers, over the same codes."""
    from scipy.spatial.distance import cdist
    from sklearn.neighbors import NearestNeighbors

    few = bits[0][:100].numpy()
    database = bits[1].numpy()
    words = pb.applications.pack(few), pb.applications.pack(database)
    peer = NearestNeighbors(n_neighbors=MOST, metric="hamming", algorithm="brute").fit(database)

    def by_scipy() -> np.ndarray:
        distances = cdist(few, database, "hamming")
        nearest = np.argpartition(distances, MOST - 1, axis=1)[:, :MOST]
        return np.take_along_axis(nearest, np.take_along_axis(distances, nearest, 1).argsort(1), 1)

    timings = interleave(
        {
            "hamming_search": lambda: pb.applications.hamming_search(*words, MOST),
            "scikit-learn": lambda: peer.kneighbors(few),
            "scipy": by_scipy,
        },
        repeats=5,
    )
    ours, distances = timings["hamming_search"], peer.kneighbors(few)[0] * BITS
    found = pb.applications.hamming_search(*words, MOST).distances
    return {
        "same_distances": bool((distances.round() == found.numpy()).all()),
        "nanoseconds_a_pair": 1e9 * ours.median / (len(few) * len(database)),
        "seconds": {name: timing.as_dict() for name, timing in timings.items()},
        "over_scikit_learn": ours.ratio_to(timings["scikit-learn"]).as_dict(),
        "over_scipy": ours.ratio_to(timings["scipy"]).as_dict(),
    }


def picture(data: Database, found: Neighbours, curves: dict[str, Precision]) -> None:
    """Queries beside what is retrieved for them, and precision against k."""
    plt.switch_backend("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained", width_ratios=(1.5, 1))
    queries = torch.arange(8)
    shown = data.train.tensor[found.indices[queries, :12]]
    pb.plots.retrieved(data.test.tensor[queries], shown, (1, 28, 28), relevant=data.right(found)[queries, :12], ax=left)
    pb.plots.precision_curves(curves, ax=right)
    figure.savefig(PICTURE, dpi=100)


def compared(data: Database, epochs: int, seeds: int) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Rows of results for each kind of code, one a seed; and of the first seed, what was found, judged and searched."""
    found = {EXACT: data.exact, **{kind: directions(data, kind) for kind in (PCA, RANDOM)}}
    first: dict[str, Any] = {name: data.judge(one)[0] for name, one in found.items()}
    rows = {name: [row(data.judge(one))] for name, one in found.items()}
    for seed in range(seeds):
        for name, noise in NOISES.items():
            start = time.process_time()
            model = trained(data, noise, epochs, seed)
            seconds = time.process_time() - start
            bits = model.binary_codes(data.test), model.binary_codes(data.train)
            one = search(*bits)
            judged = data.judge(one)
            rows.setdefault(name, []).append(row(judged, seed=seed, cpu_seconds=seconds, **measured(data, model)))
            first = {name: judged[0], "found": one, "bits": bits} | first
    return {name: rows[name] for name in KINDS}, first


def table(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Print the precisions, and what rounding does."""
    lines = []
    for name, r in ((name, r) for name, several in rows.items() for r in several):
        right = [f"{r['by_label'][k]['value']:.3f}" for k in SHOWN]
        lost = [f"{r[key]:.3g}" if key in r else "" for key in ("saturated", "error_from_codes", "error_from_bits")]
        lines.append([name, *right, f"{r['by_exact_neighbours'][MOST]['value']:.3f}", *lost])
    print_table(["codes", *(f"label @{k}" for k in SHOWN), "near @100", "saturated", "error", "from bits"], lines)


def main() -> None:
    """Train, search, judge, time, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    start, data = time.perf_counter(), Database()
    rows, first = compared(data, given.epochs, given.seeds)
    table(rows)
    times = speed(first["bits"])
    ratios = ", ".join(f"{name} {times[f'over_{name}']['median']:.4f}" for name in ("scikit_learn", "scipy"))
    print(f"{times['nanoseconds_a_pair']:.2f} ns a pair; times over those of {ratios}")
    picture(data, first["found"], {name: first[name] for name in KINDS})
    results = {
        "data": "mnist, grey: 10,000 test images ask, 50,000 training images answer", "bits": BITS,
        "network": "784-500-250-32, relu", "epochs": given.epochs, "fit": FIT, "codes": rows, "search": times,
        "seconds": time.perf_counter() - start,
    }  # fmt: skip
    print(f"written to {write_results('hashing', results)}")


if __name__ == "__main__":
    main()
