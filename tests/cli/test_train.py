"""`probae train`: what is given reaches the model and the training, and the run folder can repeat it."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import probae as pb
from probae.engine.loggers import CSVLogger
from tests.cli.conftest import QUICK, TINY, Probae

Train = Callable[..., Path]


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def config(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text())


def info(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_a_run_folder_is_complete(trained: Train) -> None:
    folder = trained("vae", "--seed", "3")
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.yaml", "metrics.csv", "settings.json", "run.json", "model"}
    told, model = info(folder), pb.load(folder / "model")
    assert (type(model), model.data_shape, model.latent_dim) == (pb.VAE, (1, 3, 3), 2)
    assert (told["stopped"], told["epochs"], told["seed"], told["monitor"]) == ("finished", 2, 3, "elbo")
    assert told["value"] == float(metrics(folder)[told["best_epoch"] - 1]["valid_elbo"])
    assert told["data"]["train"] == "bars_and_stripes(size=3)/train, not binarized"
    assert told["versions"]["probae"] == pb.__version__
    assert "cores" in told["machine"]


def test_it_is_the_library_that_trains(trained: Train) -> None:
    folder = trained("vae", "--seed", "3", "--learning_rate", "1e-2")
    data = pb.data.load("bars_and_stripes", size=3)
    torch.manual_seed(3)
    vae = pb.VAE((1, 3, 3), 2, 8)
    run = vae.fit(data.train, valid=data.valid, epochs=2, batch_size=7, learning_rate=1e-2, seed=3, progress=False)
    assert [float(row["train_loss"]) for row in metrics(folder)] == run.history["train_loss"]
    for name, tensor in pb.load(folder / "model").state_dict().items():
        torch.testing.assert_close(tensor, vae.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vae", ["--objective", "IWAE", "--objective.num-particles", "3", "--likelihood", "normal"]),
        ("vae", ["--objective", "{name: elbo, beta: 0.5}", "--objective.warmup", "5", "--schedule", "cosine"]),
        ("rbm", ["--negative_phase", "PCD", "--negative_phase.steps", "2"]),
        ("rbm", ["--negative_phase", "cd", "--optimizer", "adam"]),
        ("sparse_autoencoder", ["--likelihood.scale", "0.3", "--max_time", "1000", "--no-progress"]),
    ],
)
def test_a_configuration_repeats_its_run(probae: Probae, trained: Train, name: str, words: list[str]) -> None:
    folder = trained(name, *words)
    said = probae("train", "--config", str(folder / "config.yaml"), "--output", "again")
    assert said.status == 0, said.err
    assert metrics(Path("again")) == metrics(folder)
    assert config(Path("again")) == config(folder)
    assert pb.load("again/model").config == pb.load(folder / "model").config


def test_the_configuration_is_resolved(trained: Train) -> None:
    rbm = config(trained("rbm", "--negative-phase", "pcd", "--negative-phase.steps", "2"))
    assert rbm["negative_phase"] == {"name": "pcd", "steps": 2, "num_chains": 128, "fast_rate": 0.0}
    assert (rbm["model"], rbm["data"], rbm["size"], rbm["learning_rate"]) == ("rbm", "bars_and_stripes", 3, 0.05)
    vae = config(trained("vae", "--objective", "elbo", "--objective.beta", "0.5"))
    assert vae["objective"]["beta"] == 0.5
    assert vae["objective"]["free_bits"] == 0.0
    assert not vae.keys() & {"output", "overwrite", "progress", "data_shape"}


def test_a_name_alone_means_what_it_means_to_the_model(trained: Train) -> None:
    data = pb.data.load("bars_and_stripes", size=3).train
    model = pb.load(trained("vae", "--likelihood", "normal") / "model")
    assert model.config["likelihood"] == pb.VAE(data.data_shape, likelihood="normal").config["likelihood"]


def test_the_default_epochs_are_written_out(probae: Probae) -> None:
    assert probae("train", "vae", *TINY["vae"], *QUICK, "--output", "run").status == 0
    assert config(Path("run"))["epochs"] == 10


def test_the_command_line_comes_before_the_configuration(probae: Probae) -> None:
    Path("a.yaml").write_text("model: vae\nlatent_dim: 3\nlikelihood: {name: normal, scale: 0.2}\nseed: 5\n")
    Path("b.yaml").write_text("latent_dim: 4\nhidden: [5, 6]\n")
    words = ["--config", "a.yaml", "--config=b.yaml", "--seed", "7", "--likelihood.learned", "true", "--print-config"]
    said = probae("train", *words)
    assert said.status == 0, said.err
    printed = yaml.safe_load(said.out)
    assert (printed["model"], printed["latent_dim"], printed["hidden"], printed["seed"]) == ("vae", 4, [5, 6], 7)
    assert printed["likelihood"] == {"name": "normal", "scale": 0.2, "learned": True}
    assert not Path("runs").exists()


def test_another_name_takes_no_settings_over(probae: Probae) -> None:
    Path("a.yaml").write_text("model: vae\nlikelihood: {name: normal, scale: 0.2}\n")
    said = probae("train", "--config", "a.yaml", "--likelihood", "bernoulli", "--print_config")
    assert yaml.safe_load(said.out)["likelihood"] == "bernoulli"


def test_a_printed_configuration_can_be_used(probae: Probae) -> None:
    printed = probae("train", "rbm", *TINY["rbm"], *QUICK, "--epochs", "1", "--print_config")
    Path("c.yaml").write_text(printed.out)
    assert probae("train", "--config", "c.yaml", "--output", "run").status == 0
    assert pb.load("run/model").num_hidden == 4


def test_runs_are_numbered(probae: Probae) -> None:
    words = ["train", "SparseAutoencoder", *TINY["sparse_autoencoder"], *QUICK, "--epochs", "1"]
    said = [probae(*words) for _ in range(2)]
    stem = "runs/sparse_autoencoder-bars_and_stripes"
    assert [one.out.splitlines()[-1] for one in said] == [f"The run is in {stem}-{number}" for number in (1, 2)]
    assert Path(f"{stem}-2", "run.json").is_file()


def test_output_for_pipes(probae: Probae) -> None:
    said = probae("train", "vae", *TINY["vae"], *QUICK, "--epochs", "1", "--output", "run")
    assert said.err == "", "no progress bar where nobody looks"
    begun, ended, where = said.out.splitlines()
    assert begun == "Training vae on 14 examples (bars_and_stripes(size=3)/train, not binarized), into run"
    assert ended.startswith("Run(finished after 1 epochs, ")
    assert where == "The run is in run"
    assert "epoch" in probae("train", "--config", "run/config.yaml", "--progress", "--output", "again").err


def test_ctrl_c_saves_what_there_is(probae: Probae, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(CSVLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            super().log_metrics(metrics, step)
            if metrics["epoch"] == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("probae.cli.train.CSVLogger", Impatient)
    said = probae("train", "vae", *TINY["vae"], *QUICK, "--epochs", "50", "--output", "run")
    assert said.status == 130
    assert "Run(interrupted after 2 epochs" in said.out
    assert (info(Path("run"))["stopped"], info(Path("run"))["epochs"]) == ("interrupted", 2)
    assert pb.load("run/model").sample(3).shape == (3, 9)
    assert config(Path("run"))["epochs"] == 50


def test_interrupted_before_an_epoch(probae: Probae, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sudden(CSVLogger):
        def log_hyperparams(self, params: Any) -> None:
            super().log_hyperparams(params)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("probae.cli.train.CSVLogger", Sudden)
    assert probae("train", "vae", *TINY["vae"], *QUICK, "--output", "run").status == 130
    assert info(Path("run"))["epochs"] == 0
    said = probae("plot", "run")
    assert (said.status, "No learning curves: not one epoch was completed" in said.err) == (0, True)


def test_what_diverges_keeps_its_last_good_parameters(probae: Probae) -> None:
    words = [*TINY["vae"], *QUICK, "--likelihood", "normal", "--learning_rate", "1e30", "--epochs", "50"]
    said = probae("train", "vae", *words, "--output", "run")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "The run is in run" in said.out
    assert info(Path("run"))["stopped"] == "not finite"
    assert all(bool(x.isfinite().all()) for x in pb.load("run/model").state_dict().values() if x.is_floating_point())
