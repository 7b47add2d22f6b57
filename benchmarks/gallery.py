"""Kinds of data, from end to end: train a variational autoencoder on each, judge it, draw what it learned.

- shapes: colour images, 3 x 16 x 16, levels of 1/255: convolutional, discretized logistic likelihood, 16 latents, flow
  prior.
- melodies: 16 notes of 8, one-hot: categorical likelihood, 16 latents; the exact log p(x) is known.
- two_moons: points in the plane: Normal likelihood, 2 latents, flow prior; the exact log p(x) is known.
- digits: 8 x 8 bits with few labels: a tenth of the training labels known, the others inferred.

Protocol: 5,000 training examples (digits: 1,197), Adam down a cosine, the best epoch by the validation ELBO; the test
log p(x) by importance sampling from the guide, K samples an example. One seed. Pictures go to docs/pictures. Run as

    python -m benchmarks.gallery [names] [--effort 1.0]

which replaces the results of those kinds and keeps the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch

import probae as pb
from benchmarks.common import RESULTS, write_results

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def shapes(effort: float) -> tuple[Any, dict[str, Any]]:
    """Samples and reconstructions in colour."""
    data = pb.data.load("shapes")
    vae = pb.VAE((3, 16, 16), 16, 256, "discretized_logistic", prior="flow", network="conv", activation="silu")
    run = vae.fit(data.train, valid=data.valid, **_settings(60, effort))
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    pb.plots.image_grid(data.test.tensor[:36], (3, 16, 16), ax=axes[0]).set_title("data")
    means = vae.sample(36, mean=True)
    pb.plots.image_grid(means, (3, 16, 16), limits=(0, 1), ax=axes[1]).set_title("drawn from the model (means)")
    some = data.test[:18]
    pb.plots.reconstructions(some.tensor, vae.reconstruct(some), (3, 16, 16), cols=6, ax=axes[2])
    axes[2].set_title("reconstructions")
    return figure, _results(run, vae.log_likelihood(data.test[:300], num_samples=200), data.test)


def melodies(effort: float) -> tuple[Any, dict[str, Any]]:
    """Piano rolls of the data and of the model."""
    data = pb.data.load("melodies")
    vae = pb.VAE((16, 8), 16, (256, 256), {"name": "categorical", "categories": 8}, activation="relu")
    run = vae.fit(data.train, valid=data.valid, objective=pb.ELBO(warmup=800), **_settings(60, effort))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    pb.plots.sequences(data.test.tensor[:20], (16, 8), ax=axes[0]).set_title("data")
    pb.plots.sequences(vae.sample(20), (16, 8), ax=axes[1]).set_title("drawn from the model")
    return figure, _results(run, vae.log_likelihood(data.test, num_samples=1000), data.test)


def two_moons(effort: float) -> tuple[Any, dict[str, Any]]:
    """The exact density, and the model's, estimated at each point of the plane."""
    data = pb.data.load("two_moons")
    scale = {"name": "normal", "scale": 0.2, "learned": True}  # below the spread, or the latent variables stay unused
    vae = pb.VAE(2, 2, (64, 64), scale, prior="flow", activation="relu")
    run = vae.fit(data.train, valid=data.valid, **_settings(80, effort))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    limits = ((-2.6, 2.6), (-2.6, 2.6))

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        estimate = vae.log_likelihood(x, num_samples=100, progress=False)
        assert estimate.per_example is not None  # noqa: S101 - a log-likelihood has them
        return estimate.per_example

    shade = pb.plots.density(log_prob, data.test.tensor, limits, steps=60, ax=axes[0])
    shade.set_title("its density, and data", loc="left")
    axes[1].scatter(*vae.sample(1000).T.numpy(), s=5, linewidths=0)
    axes[1].set_title("drawn from the model", loc="left")
    axes[1].set(xlim=limits[0], ylim=limits[1], aspect="equal")
    torch.manual_seed(0)
    collapsed = pb.VAE(2, 2, (64, 64), "normal", prior="flow", activation="relu")  # its scale starts at the spread
    collapsed.fit(data.train, valid=data.valid, **_settings(80, effort))
    other = collapsed.log_likelihood(data.test, num_samples=1000).value
    results = _results(run, vae.log_likelihood(data.test, num_samples=1000), data.test)
    return figure, {**results, "value_where_the_scale_starts_at_the_spread": other}


def digits(effort: float) -> tuple[Any, dict[str, Any]]:
    """Digits by request, from a model that saw a hundred labels."""
    data = pb.data.load("digits", binarize="dynamic")
    vae = pb.VAE((1, 8, 8), 12, 256, num_labels=10, labels="latent")
    few = data.train.keep_labels(120)
    run = vae.fit(few, valid=data.valid, objective=vae.objective(classification=0.5), **_settings(100, effort))
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
    labels = torch.arange(10).repeat_interleave(10)
    pb.plots.image_grid(vae.sample(100, y=labels, mean=True), cols=10, ax=axes[0]).set_title("a row a label")
    pb.plots.latent_scatter(vae.embed(data.test), data.test.labels, ax=axes[1]).set_title("style: codes of test digits")
    accuracy = (vae.classify(data.test).probs.argmax(-1) == data.test.labels).float().mean()
    results = _results(run, vae.log_likelihood(data.test, num_samples=1000), data.test)
    return figure, {**results, "labels_known": 120, "test_accuracy": float(accuracy)}


KINDS: dict[str, Callable[[float], tuple[Any, dict[str, Any]]]] = {
    "shapes": shapes, "melodies": melodies, "two_moons": two_moons, "digits": digits,
}  # fmt: skip


def main() -> None:
    """Train, judge and draw the kinds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*KINDS, []], help="all by default")
    parser.add_argument("--effort", type=float, default=1.0, help="share of the epochs")
    parser.add_argument("--output", type=Path, default=PICTURES)
    parser.add_argument("--name", default="gallery", help="of the results file")
    given = parser.parse_args()
    plt.switch_backend("Agg")
    given.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in given.names or KINDS:
        torch.manual_seed(0)
        figure, results[name] = KINDS[name](given.effort)
        figure.savefig(given.output / f"{name}.png", dpi=90, bbox_inches="tight")
        print(name, results[name], flush=True)
    path = RESULTS / f"{given.name}.json"
    others = json.loads(path.read_text())["results"] if path.exists() else {}
    print(write_results(given.name, {**others, **results, "protocol": {"description": __doc__}}))


def _settings(epochs: int, effort: float) -> dict[str, Any]:
    return {"epochs": max(1, round(epochs * effort)), "learning_rate": 2e-3, "schedule": "cosine", "seed": 0}


def _results(run: pb.Run, estimate: pb.Estimate, test: pb.data.Dataset) -> dict[str, Any]:
    fields = ("value", "stderr", "stderr_data", "direction", "ess", "khat", "reliable", "reason")
    truth = None if test.true_log_prob is None else float(test.true_log_prob.mean())
    return {
        "epochs": run.epochs, "seconds": run.seconds, "best_epoch": run.best_epoch, "protocol": str(estimate.protocol),
        "ceiling": truth,
        **{field: getattr(estimate, field) for field in fields},
    }  # fmt: skip


if __name__ == "__main__":
    main()
