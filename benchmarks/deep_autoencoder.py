"""The deep autoencoder 784-1000-500-250-30 on MNIST: what layerwise pretraining does for it, at equal work.

Grey values in [0, 1]; 50,000 training images, 10,000 validation images that choose the epoch, 10,000 test images;
sigmoid outputs under a squared error (a Normal likelihood), batches of 128, matrix products in bfloat16, Adam: the
learning rate rises to 1e-3 in the first tenth of the fine-tuning and falls down a cosine (without the rise, Adam's
first steps threw one pretrained network to the mean image, from which it did not come back). The number is the squared
error of a test image, summed over its pixels, on average; that of 30 principal components, computed here, is 13.87,
that of Hinton and Salakhutdinov (2006; 60,000 images, RBMs, conjugate gradients) 3.00.

Three networks, each with and without pretraining:

- that of 2006: sigmoid units, but for the code. Pretrained by RBMs (CD-1 on bits drawn with the grey values, and the
  codes, as rates), the linear code by an autoencoder, since those RBMs have no Gaussian units;
- SiLU units with torch's initial weights;
- the same with initial weights that keep the size of signals (`probae.networks.initialization.keep_size`).

All rows have the same work: an epoch of pretraining for each of the four layers costs about one of the whole, so that
pretraining epochs are taken off those of fine-tuning. MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.deep_autoencoder [--epochs 30] [--pretraining 6] [--rows ...] [--seed 0]

which keeps rows of earlier runs that it does not run anew.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import probae as pb
from benchmarks.common import RESULTS, machine, print_table, write_results
from probae.networks.initialization import keep_size

SHAPE, HIDDEN, CODE = (1, 28, 28), (1000, 500, 250), 30
LIKELIHOOD = {"name": "normal", "nonlinearity": "sigmoid"}
FIT: dict[str, Any] = {"batch_size": 128, "precision": "bf16", "compile": "trace"}
BAR = 4.0


@dataclass(frozen=True)
class Row:
    """A network, and how it begins.

    Attributes:
        activation: of its hidden layers.
        by: what its layers are pretrained by; None for no pretraining.
        scaled: whether initial weights keep the size of signals.
    """

    activation: str = "silu"
    by: Any = None
    scaled: bool = False


MACHINES = [*[{"name": "rbm", "negative_phase": "cd"}] * 3, "autoencoder"]
ROWS = {
    "sigmoid": Row("sigmoid"),
    "sigmoid, pretrained by RBMs": Row("sigmoid", MACHINES),
    "SiLU": Row(),
    "SiLU, pretrained by autoencoders": Row(by="autoencoder"),
    "SiLU, scaled weights": Row(scaled=True),
    "SiLU, scaled weights, pretrained by autoencoders": Row(by="autoencoder", scaled=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30, help="of work, pretraining included")
    parser.add_argument("--pretraining", type=int, default=6, help="epochs of each layer, in rows that have them")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="; ".join(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    mnist = pb.data.load("mnist", binarize="none")
    kept = previous()
    kept["principal components"] = {"test": by_principal_components(mnist.train.tensor, mnist.test.tensor)}
    for name in given.rows:
        print(name)
        kept[name] = measured(ROWS[name], mnist, given.epochs, given.pretraining, given.seed)
        write_results("deep_autoencoder", {"protocol": __doc__, "bar": BAR, "rows": kept})
        print({key: value for key, value in kept[name].items() if key != "machine"})
    shown = {"test": ".2f", "valid": ".2f", "train": ".2f", "pretrained": ".2f", "cpu_seconds": ".0f", "seconds": ".0f"}
    print_table(["squared error", *shown], [
        [name, *("" if row.get(key) is None else format(row[key], how) for key, how in shown.items())]
        for name, row in kept.items()
    ])  # fmt: skip


def previous() -> dict[str, Any]:
    """The rows that were measured before."""
    path = RESULTS / "deep_autoencoder.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"]["rows"] if path.exists() else {}


def measured(row: Row, mnist: Any, epochs: int, pretraining: int, seed: int) -> dict[str, Any]:
    """Train one network and say how well it restores images, and what that cost."""
    model = network(row, seed)
    start = time.perf_counter(), time.process_time()
    pretrained = None
    if row.by is not None:
        model.pretrain(mnist.train, row.by, epochs=pretraining, schedule="linear", seed=seed, **FIT)
        pretrained = squared_error(model, mnist.test)
    rest = epochs - (0 if row.by is None else pretraining)
    run = model.fit(mnist.train, valid=mnist.valid, epochs=rest, schedule=rising, seed=seed, **FIT)
    seconds, cpu_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "test": squared_error(model, mnist.test), "valid": squared_error(model, mnist.valid),
        "train": squared_error(model, mnist.train[:10_000]), "pretrained": pretrained, "seconds": seconds,
        "cpu_seconds": cpu_seconds, "epochs": epochs, "of_pretraining": 0 if row.by is None else pretraining,
        "best_epoch": run.best_epoch, "seed": seed, "machine": machine(),
    }  # fmt: skip


def rising(progress: float) -> float:
    """The share of the learning rate at a share of the fine-tuning: up a line, then down a cosine."""
    return min(1.0, 10 * progress) * (1 + math.cos(math.pi * progress)) / 2


def network(row: Row, seed: int) -> pb.Autoencoder:
    """The autoencoder of a row, its weights drawn from the seed."""
    torch.manual_seed(seed)
    model = pb.Autoencoder(SHAPE, CODE, HIDDEN, LIKELIHOOD, activation=row.activation)
    if row.scaled:
        for part, size in ((model.encoder, 1.0), (model.decoder, 0.3)):
            keep_size(part, nn.SiLU(), size)
    return model


def squared_error(model: pb.Autoencoder, data: Any) -> float:
    """Of an image, summed over its pixels: the mean over all of them."""
    return (model.reconstruct(data) - data.tensor).double().square().sum(1).mean().item()


def by_principal_components(train: Tensor, test: Tensor) -> float:
    """The squared error of a test image, restored from as many principal components of the training images."""
    train, test = train.double(), test.double()
    mean = train.mean(0)
    directions = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors[:, -CODE:]
    centred = test - mean
    return (centred - centred @ directions @ directions.T).square().sum(1).mean().item()


if __name__ == "__main__":
    main()
