"""`probae evaluate`, `sample` and `plot`: what they say is what the library says, and they write what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

import probae as pb
from probae.cli.pictures import PICTURES
from probae.cli.sample import write
from tests.cli.conftest import TINY, Probae

Train = Callable[..., Path]


def entries(folder: Path) -> list[dict]:
    return json.loads((folder / "evaluation.json").read_text())


def test_evaluate_is_the_librarys_estimate(probae: Probae, trained: Train) -> None:
    folder = trained("vae")
    said = probae("evaluate", str(folder), "--num_samples", "50", "--seed", "4")
    data = pb.data.load("bars_and_stripes", size=3)
    estimate = pb.load(folder / "model").log_likelihood(data.test, num_samples=50, seed=4)
    assert said.out.startswith(f"{estimate}\n")
    (kept,) = entries(folder)
    assert (kept["value"], kept["stderr"], kept["khat"]) == (estimate.value, estimate.stderr, estimate.khat)
    assert (kept["direction"], kept["reliable"], kept["reason"]) == ("lower", estimate.reliable, estimate.reason)
    assert kept["protocol"]["samples"] == 50
    assert kept["options"] == {"num_samples": 50, "seed": 4}


def test_evaluations_are_kept_side_by_side(probae: Probae, trained: Train) -> None:
    folder = str(trained("rbm"))
    for words in (["--method", "exact"], ["--method", "exact"], ["--split", "train"], ["--size", "3"]):
        assert probae("evaluate", folder, *words).status == 0
    assert [entry["protocol"]["split"] for entry in entries(Path(folder))] == ["test", "train", "test"]
    assert probae("evaluate", folder, "--method", "ais", "--num_temperatures", "20", "--num_chains", "5").status == 0
    assert [entry["direction"] for entry in entries(Path(folder))] == ["exact", "exact", "exact", "upper"]


def test_options_of_another_estimator_are_refused(probae: Probae, trained: Train) -> None:
    said = probae("evaluate", str(trained("vae")), "--num_temperatures", "20")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "num_temperatures: expected an option of log_likelihood" in said.err


def test_other_data(probae: Probae) -> None:
    folder = Path("run")
    words = ["--data", "digits", "--binarize", "dynamic", "--data_seed", "3", "--epochs", "1", "--output", "run"]
    assert probae("train", "vae", *TINY["vae"], *words).status == 0
    assert "digits/test, dynamic binarization (seed 3)" in probae("evaluate", str(folder), "--num_samples", "5").out
    changed = probae("evaluate", str(folder), "--num_samples", "5", "--binarize", "threshold", "--split", "valid")
    assert "digits/valid, threshold binarization" in changed.out
    said = probae("evaluate", str(folder), "--data", "bars_and_stripes", "--num_samples", "5")
    assert (said.status, "expected shape (N, 64)" in said.err) == (2, True)


def test_without_a_likelihood_the_monitor_and_no_likelihood(probae: Probae, trained: Train) -> None:
    folder = trained("sparse_autoencoder")
    said = probae("evaluate", str(folder), "--split", "valid")
    assert said.status == 0
    assert said.out.startswith("No log-likelihood: ")
    monitor, error = entries(folder)
    assert monitor["quantity"] == "log_joint (the monitor; no log-likelihood)"
    told = json.loads((folder / "run.json").read_text())
    assert monitor["value"] == pytest.approx(told["value"], rel=1e-5), "validation saw the same"
    data = pb.data.load("bars_and_stripes", size=3).valid
    squares = (pb.load(folder / "model").reconstruct(data) - data.tensor).square().sum(1).mean()
    assert error["value"] == pytest.approx(float(squares), rel=1e-6)
    assert not {"direction", "stderr"} & monitor.keys()


def test_samples_as_numbers(probae: Probae, trained: Train) -> None:
    folder = str(trained("vae"))
    for name in ("a.npy", "b.npy", "c.csv"):
        assert probae("sample", folder, "--number", "5", "--seed", "2", "--output", name).status == 0
    a, b, c = np.load("a.npy"), np.load("b.npy"), np.loadtxt("c.csv", delimiter=",")
    assert a.shape == (5, 1, 3, 3)
    assert set(np.unique(a)) <= {0.0, 1.0}
    assert np.array_equal(a, b)
    assert np.array_equal(a.reshape(5, 9), c)
    assert probae("sample", folder, "--number", "5", "--mean", "--output", "m.npy").status == 0
    assert len(np.unique(np.load("m.npy"))) > 2
    assert probae("sample", folder, "--seed", "3", "--number", "5", "--output", "d.npy").status == 0
    assert not np.array_equal(a, np.load("d.npy"))


def test_samples_as_a_picture(probae: Probae, trained: Train) -> None:
    folder = trained("rbm")
    said = probae("sample", str(folder), "--number", "9", "--steps", "3")
    assert said.out == f"9 samples are in {folder}/samples.png\n"
    assert matplotlib.image.imread(folder / "samples.png").std() > 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "3"], "steps: expected an option of sample: "),
        (["--output", "a.txt"], "output: expected a file .csv, .npy, .pdf, .png, .svg; got a.txt"),
        (["--number", "0"], "num_examples: expected a positive integer; got 0"),
    ],
)
def test_samples_that_cannot_be_drawn(probae: Probae, trained: Train, words: list[str], message: str) -> None:
    said = probae("sample", str(trained("vae")), *words)
    assert (said.status, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("vae", {"filters"}),
        ("rbm", {"traversals", "manifold"}),
        ("sparse_autoencoder", {"estimates", "manifold", "samples"}),
    ],
)
def test_plot_draws_what_the_model_offers(probae: Probae, trained: Train, name: str, missing: set[str]) -> None:
    folder = trained(name)
    assert probae("evaluate", str(folder)).status == 0
    said = probae("plot", str(folder), "--split", "train")
    assert said.status == 0
    drawn = {path.stem for path in (folder / "pictures").iterdir()}
    assert drawn == set(said.out.partition(": ")[2].strip().split(", "))
    assert PICTURES.keys() - drawn == missing
    assert all(f"No {one}: " in said.err for one in missing)
    for picture in (folder / "pictures").iterdir():
        assert matplotlib.image.imread(picture).std() > 0.01, picture


def test_plot_of_a_model_with_labels(probae: Probae) -> None:
    words = ["--num_labels", "10", *TINY["vae"], "--epochs", "1", "--output", "run"]
    assert probae("train", "vae", *words).status == 0
    assert "traversals, manifold" in probae("plot", "run").out
    assert probae("sample", "run", "--y", "[0, 1, 2]", "--number", "3", "--output", "a.npy").status == 0
    assert "log p(x given y)" in probae("evaluate", "run", "--num_samples", "5").out


@pytest.mark.parametrize("shape", [(2,), (4, 3), (1, 3, 4), (3, 2, 2)])
def test_shapes_that_can_be_drawn(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write(tmp_path / "a.png", torch.rand(12, torch.Size(shape).numel()), shape)
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0.01


def test_plot_elsewhere(probae: Probae, trained: Train) -> None:
    assert probae("plot", str(trained("vae")), "--output", "here").status == 0
    assert Path("here", "learning_curves.png").is_file()
    assert not Path("runs/vae/pictures").exists()
