"""The help of each command names all its options, and every exported model has one."""

from __future__ import annotations

import subprocess
import sys

import pytest

import probae as pb
from probae.cli.commands import COMMANDS
from probae.cli.data import data_options
from probae.cli.models import models, options_of_model
from probae.cli.train import parser_of
from probae.models.base import Model
from tests.cli.conftest import Probae


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_probae_lists_its_commands(probae: Probae, words: list[str]) -> None:
    said = probae(*words)
    assert said.status == 0
    assert all(f"\n  {name} " in said.out for name in COMMANDS)
    assert "probae train vae --data digits" in said.out


def test_version(probae: Probae) -> None:
    assert probae("--version").out.startswith(f"probae {pb.__version__} (torch ")


def test_all_exported_models_are_there() -> None:
    exported = {kind for kind in vars(pb).values() if isinstance(kind, type) and issubclass(kind, Model)}
    assert set(models().values()) == exported
    assert models()["sparse_autoencoder"] is pb.SparseAutoencoder


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_train_lists_the_models(probae: Probae, words: list[str]) -> None:
    said = probae("train", *words)
    assert said.status == 0
    assert all(f"\n  {name} " in said.out for name in models())
    assert "A variational autoencoder" in said.out


@pytest.mark.parametrize("name", models())
def test_help_of_a_model_names_its_options(probae: Probae, name: str) -> None:
    said = probae("train", name, "--help")
    assert said.status == 0
    assert max(map(len, said.out.splitlines())) <= 120
    for option in [*options_of_model(models()[name]), *data_options(), *parser_of(name).options.values()]:
        assert f"\n  --{option.name}" in said.out, option.name
    for title in ("model:", "data:", "training:", "run:"):
        assert f"\n{title}\n" in said.out
    for hidden in ("--data_shape", "--encoder", "--decoder", "--callbacks", "--logger", "--resume", "--hidden+"):
        assert f"{hidden} " not in said.out


def test_help_says_defaults_and_what_is_required(probae: Probae) -> None:
    text = " ".join(probae("train", "vae", "--help").out.split())
    assert "decoder mirrors them (default: [256, 256])" in text
    assert "of the initial weights, and of all that training draws (default: 0)" in text
    assert "elbo (num_particles=1, beta=1.0, free_bits=0.0, warmup=0," in text
    rbm = " ".join(probae("train", "rbm", "--help").out.split())
    assert "number of hidden units, H (required)" in rbm
    assert "(default: SGD(lr=0.05, momentum=0.5))" in rbm


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("evaluate", ["method", "num_samples", "num_temperatures", "seed", "device", "split", "data", "binarize"]),
        ("sample", ["number", "output", "seed", "device", "mean", "steps"]),
        ("plot", ["output", "seed", "split"]),
    ],
)
def test_help_of_the_other_commands(probae: Probae, command: str, options: list[str]) -> None:
    said = probae(command, "--help")
    assert said.status == 0
    assert f"usage: probae {command} RUN [options]" in said.out
    assert all(f"\n  --{option}" in said.out for option in options)


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "probae", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: probae COMMAND")


def test_as_a_module_that_fails() -> None:
    done = subprocess.run([sys.executable, "-m", "probae", "trian"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("probae: error: command: expected one of 'evaluate'")
