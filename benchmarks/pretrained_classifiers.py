"""One hidden layer of 1,000 sigmoid units on MNIST, pretrained in several ways, then fine-tuned to classify.

Grey values in [0, 1]; 50,000 training images, 10,000 validation images, 10,000 test images. The hidden layer is
pretrained without labels as an autoencoder, a denoising one (Gaussian noise, or pixels set to zero) or a contractive
one, all with squared errors of sigmoid outputs and Adam from 1e-3 linearly down to 0; as an RBM (PCD-1 on bits drawn
anew in each batch, SGD with momentum 0.5 from 0.05 linearly down to 0); or not at all. `model.classifier(10)` puts a
linear layer on it, and all is fine-tuned by Adam from 1e-3 down a cosine, the epoch chosen by the validation error;
batches of 128.

The published test errors beside it are those of Rifai et al. (2011), "Contractive auto-encoders", table 1: the same
network and split, cross-entropy, early stopping, settings chosen from a grid on the validation images. By default this
takes a few epochs of one setting; `--full` is for a GPU: many epochs, five seeds, and a grid from which the validation
error chooses. MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.pretrained_classifiers [--full] [--kinds ...] [--seeds 0 1] [--device cuda]

which keeps results of earlier runs that it does not run anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import probae as pb
from benchmarks.common import RESULTS, machine, print_table, write_results

UNITS, CLASSES = 1000, 10
SIGMOID = {"name": "normal", "nonlinearity": "sigmoid"}
BRIEF = {"pretraining": 20, "fine_tuning": 30}
FULL = {"pretraining": 300, "fine_tuning": 100}


@dataclass(frozen=True)
class Kind:
    """A way to pretrain.

    Attributes:
        make: the model of a setting; None for no pretraining.
        settings: to choose from; the first is that of the brief run.
        published: test error in percent.
        bits: whether it is trained on bits, drawn with the grey values as rates.
    """

    make: Callable[[Any], Any] | None
    settings: tuple[Any, ...]
    published: float | None
    bits: bool = False


def denoising(corruption: dict[str, Any]) -> pb.DenoisingAutoencoder:
    """With a corruption of its configuration."""
    return pb.DenoisingAutoencoder(784, UNITS, (), corruption, SIGMOID, nonlinearity="sigmoid")


KINDS = {
    "none": Kind(None, (None,), None),
    "autoencoder": Kind(lambda _: pb.Autoencoder(784, UNITS, (), SIGMOID, nonlinearity="sigmoid"), (None,), 1.78),
    "denoising, Gaussian": Kind(
        lambda scale: denoising({"name": "gaussian", "scale": scale}), (0.3, 0.1, 0.2, 0.5), 1.18
    ),
    "denoising, masking": Kind(lambda rate: denoising({"name": "masking", "rate": rate}), (0.25, 0.1, 0.4), 1.57),
    "contractive": Kind(
        lambda strength: pb.ContractiveAutoencoder(784, UNITS, (), strength, SIGMOID), (0.1, 0.01, 0.03, 0.3), 1.14
    ),
    "RBM": Kind(lambda _: pb.RBM(784, UNITS), (None,), 1.30, bits=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain, fine-tune, judge, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="; ".join(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, help="0, or 0 to 4 of a full run")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    name = "pretrained_classifiers" + ("_full" if given.full else "")
    seeds = given.seeds or (range(5) if given.full else [0])
    grey, bits = (pb.data.load("mnist", binarize=how) for how in ("none", "dynamic"))
    results = previous(name)
    for seed in seeds:
        for kind in given.kinds:
            found = chosen(KINDS[kind], grey, bits, seed, given.full, given.device)
            results.setdefault(kind, {})[str(seed)] = found
            write_results(name, {"protocol": __doc__, "epochs": FULL if given.full else BRIEF, "kinds": results})
            print(kind, {key: value for key, value in found.items() if key != "machine"}, flush=True)
    print_table(["pretrained as", "test error, %", "valid, %", "seeds", "published", "s"], [
        [kind, *(f"{100 * statistics.mean(run[part] for run in runs.values()):.2f}" for part in ("test", "valid")),
         len(runs), KINDS[kind].published or "", f"{statistics.mean(run['seconds'] for run in runs.values()):.0f}"]
        for kind, runs in results.items()
    ])  # fmt: skip


def previous(name: str) -> dict[str, Any]:
    """What was measured before: kind -> seed -> result."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"]["kinds"] if path.exists() else {}


def chosen(kind: Kind, grey: Any, bits: Any, seed: int, full: bool, device: str) -> dict[str, Any]:
    """The result of the setting with the least validation error; of all that were tried, its error."""
    runs = [
        measured(kind, one, grey, bits, seed, FULL if full else BRIEF, device)
        for one in kind.settings[: None if full else 1]
    ]
    best = min(runs, key=lambda run: run["valid"])
    return best | {"tried": {str(run["setting"]): run["valid"] for run in runs}}


def measured(
    kind: Kind, setting: Any, grey: Any, bits: Any, seed: int, epochs: dict[str, int], device: str
) -> dict[str, Any]:
    """Pretrain one way, fine-tune, and count the errors."""
    torch.manual_seed(seed)
    start = time.perf_counter(), time.process_time()
    shared: dict[str, Any] = {"seed": seed, "device": device, "batch_size": 128}
    if kind.make is None:
        classifier = pb.Classifier(784, CLASSES, UNITS, activation="sigmoid")
    else:
        model = kind.make(setting)
        model.fit((bits if kind.bits else grey).train, epochs=epochs["pretraining"], schedule="linear", **shared)
        classifier = model.classifier(CLASSES)
    run = classifier.fit(
        grey.train, valid=grey.valid, monitor=classifier.monitor("accuracy"), epochs=epochs["fine_tuning"],
        schedule="cosine", **shared,
    )  # fmt: skip
    return {
        "setting": setting, "test": classifier.error_rate(grey.test), "valid": classifier.error_rate(grey.valid),
        "train": classifier.error_rate(grey.train), "best_epoch": run.best_epoch,
        "seconds": time.perf_counter() - start[0], "cpu_seconds": time.process_time() - start[1], "machine": machine(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
