"""Kinds of data, from end to end: train a variational autoencoder on each, judge it, draw what it learned.

- shapes: colour images, 3 x 16 x 16, levels of 1/255: convolutional, discretized logistic likelihood, 16 latents, flow
  prior.
- melodies: 16 notes of 8, one-hot: categorical likelihood, 16 latents; the exact log p(x) is known.
- two_moons: points in the plane: Normal likelihood, 2 latents, flow prior; the exact log p(x) is known.
- tones: spectrograms of notes, 64 bins x 32 frames: Normal likelihood of a learned scale, 32 latents.
- digits: 8 x 8 bits with few labels: a tenth of the training labels known, the others inferred.
- restoration: the lower half of digits and two of the three channels of shapes, filled in by a VAE of each, 100
  steps of each chain; the error of the mean of five chains beside that of the training means.

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
from sklearn.linear_model import Ridge

import probae as pb
from benchmarks.common import RESULTS, write_results
from probae.data.tones import FACTORS

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


def tones(effort: float) -> tuple[Any, dict[str, Any]]:
    """Notes, imagined notes and the map of instruments; what a linear classifier and clusters make of the codes."""
    data = pb.data.load("tones")
    scale = {"name": "normal", "learned": True}
    vae = pb.VAE((1, 64, 32), 32, (512, 256), scale, activation="silu")
    run = vae.fit(data.train, valid=data.valid, **_settings(60, effort))
    labels: Any = data.test.labels
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained", width_ratios=(1, 1, 1.3))
    each = torch.cat([data.test.tensor[labels == kind][:5] for kind in range(5)])
    pb.plots.spectrograms(each, (64, 32), cols=5, ax=axes[0]).set_title("data, a row an instrument", loc="left")
    means = vae.sample(25, mean=True)
    pb.plots.spectrograms(means, (64, 32), cols=5, ax=axes[1]).set_title("drawn from the model (means)", loc="left")
    pb.plots.latent_scatter(vae.embed(data.test), labels, ax=axes[2]).set_title("codes of test notes", loc="left")
    probe = pb.applications.linear_probe(vae, data.train, data.test)
    found = pb.applications.clusters(vae, data.test, 5)
    results = _results(run, vae.log_likelihood(data.test[:300], num_samples=200), data.test)
    more = {"probe": probe.accuracy, "probe_stderr": probe.stderr, "probe_raw": probe.raw_accuracy}
    return figure, {**results, **more, "adjusted_rand": found.adjusted_rand, "explained": _explained(vae, data)}


def _explained(vae: Any, data: pb.data.Splits) -> dict[str, float]:
    """The share of each factor's variance that ridge regression on the codes explains, on the test set."""
    codes = [vae.embed(part).numpy() for part in (data.train, data.test)]
    known, new = (part.factors.numpy() for part in (data.train, data.test) if part.factors is not None)
    fits = [Ridge().fit(codes[0], known[:, i]).score(codes[1], new[:, i]) for i in range(len(FACTORS))]
    return dict(zip(FACTORS, fits, strict=True))


def restoration(effort: float) -> tuple[Any, dict[str, Any]]:
    """The lower half of digits and the colours of landscapes, hidden and filled in."""
    bits, colours = pb.data.load("digits", binarize="dynamic"), pb.data.load("shapes")
    digit = pb.VAE((8, 8), 16, (128, 128))
    run = digit.fit(bits.train, valid=bits.valid, **_settings(200, effort))
    scale = {"name": "normal", "scale": 0.1, "learned": True}
    scene = pb.VAE((3, 16, 16), 16, 256, scale, network="conv", activation="silu")
    scene.fit(colours.train, valid=colours.valid, **_settings(25, effort))
    upper, red = torch.arange(64) < 32, torch.arange(768) < 256
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    results: dict[str, Any] = {"epochs": run.epochs, "seconds": run.seconds}
    for ax, name, model, data, mask in (
        (axes[0], "digits", digit, bits, upper),
        (axes[1], "shapes", scene, colours, red),
    ):
        x = data.test.tensor[:40]
        chains = model.inpaint(x.repeat(5, 1), mask, steps=100, mean=True).reshape(5, *x.shape)
        pb.plots.restorations(x[:16], mask, chains[0, :16].clamp(0, 1), model.data_shape, cols=8, ax=ax)
        for kind, guess in (("filled", chains.mean(0)), ("means", data.train.tensor.mean(0))):
            results[f"{name}_{kind}_rmse"] = float((guess - x)[:, ~mask].square().mean().sqrt())
    axes[0].set_title("the lower half of digits", loc="left")
    axes[1].set_title("green and blue, given red", loc="left")
    return figure, results


KINDS: dict[str, Callable[[float], tuple[Any, dict[str, Any]]]] = {
    "shapes": shapes, "melodies": melodies, "two_moons": two_moons, "tones": tones, "digits": digits,
    "restoration": restoration,
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
