"""Mistakes end in one line that names the mistake, with exit status 2, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Probae

MISTAKES = {
    "trian": "command: expected one of 'evaluate', 'plot', 'sample', 'train'; got 'trian'. Did you mean 'train'?",
    "train vea": "Did you mean 'vae'?",
    "train --epochs 3": "model: expected one of ",
    "train vae --latent_dm 3": "--latent_dm: expected an option of probae train vae; got an unknown one. Did you me",
    "train vae --latent-dm=3": "Did you mean 'latent_dim'",
    "train vae --no-latent_dim": "--no_latent_dim: expected an option of probae train vae",
    "train vae --latent_dim abc": "latent_dim: expected int|[int, ...]; got 'abc'",
    "train vae --latent_dim 0": "latent_dim: expected a positive integer; got 0",
    "train vae --latent_dim --epochs 3": "--latent_dim: expected int|[int, ...]; got nothing",
    "train vae --likelihood.scale": "--likelihood.scale: expected a value; got nothing",
    "train vae --hidden abc": "hidden: expected [int, ...]|int; got 'abc'",
    "train vae extra": "recognized arguments: extra",
    "train rbm": "num_hidden: expected number of hidden units, H; got nothing",
    "train vae --data digitz": "data: expected one of 'bars_and_stripes', ",
    "train vae --data mnist --root nowhere": "root: expected a folder; got 'nowhere'",
    "train vae --binarize dynamc": "Did you mean 'dynamic'?",
    "train vae --likelihood bernouli": "Did you mean 'bernoulli'",
    "train vae --likelihood normal --likelihood.scal 3": "got scal",
    "train rbm --num_hidden 4 --negative_phase pdc": "Did you mean 'pcd'",
    "train vae --objective elob": "objective: expected one of 'elbo', 'iwae'; got 'elob'. Did you mean 'elbo'?",
    "train vae --objective.beta 2": "objective: expected one of 'elbo', 'iwae'; got None",
    "train vae --objective iwae": "objective.num_particles: expected int, which iwae needs; got none",
    "train vae --objective elbo --objective.bta 2": "; got bta",
    "train vae --objective elbo --objective.beta -2": "beta: expected a finite number at least 0; got -2",
    "train vae --optimizer adamm": "Did you mean 'adam' or 'radam'?",
    "train vae --learning_rate -1e-3": "learning_rate: expected a finite number at least 0; got -0.001",
    "train vae --epochs 0": "epochs: expected a positive integer; got 0",
    "train vae --binarize none": "data: expected bits (0 or 1)",
    "train vae --config none.yaml": "config: expected a YAML file of options; got none.yaml: ",
    "train --config": "config: expected a YAML file of options; got no name: ",
    "evaluate": "run: expected folder of a run; got nothing",
    "evaluate nowhere": "got nowhere: not a folder",
    "evaluate .": "run: expected the folder of a run that has ended, by `probae train`; got .: no run",
    "sample . --numbr 3": "--numbr: expected an option of probae sample; got an unknown one. Did you mean 'number'?",
    "plot . --split tset": "split: expected train|valid|test; got 'tset'",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_one_line_and_status_2(probae: Probae, words: str) -> None:
    said = probae(*words.split())
    assert said.status == 2
    assert MISTAKES[words] in said.err
    assert said.err.startswith("probae")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not list(Path("runs").glob("*")), "what was made for nothing goes again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("latent_dm: 3", "latent_dm in the configuration: expected an option of probae train vae; got an unknown"),
        ("latent_dim: abc", "latent_dim: expected int|[int, ...]; got 'abc'"),
        ("epochs: [1]", "epochs: expected int; got '[1]'"),
        ("overwrite: 'no'", "overwrite: expected true or false; got 'no'"),
        ("seed: null", "seed: expected int; got 'None'"),
        ("model: rbm", "model: expected vae, as on the command line; got rbm in the configuration"),
        ("- 1", "config: expected a YAML file of options; got c.yaml, which holds a list"),
        ("a: b: c", "config: expected a YAML file of options; got c.yaml: mapping values are not allowed"),
        ("", "config: expected a YAML file of options; got c.yaml, which holds a NoneType"),
    ],
)
def test_configuration_files(probae: Probae, content: str, message: str) -> None:
    Path("c.yaml").write_text(content)
    said = probae("train", "vae", "--config", "c.yaml")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert message in said.err


def test_a_folder_that_was_there_stays(probae: Probae) -> None:
    Path("empty").mkdir()
    assert probae("train", "vae", "--epochs", "0", "--output", "empty").status == 2
    assert Path("empty").is_dir()
    assert probae("train", "vae", "--epochs", "0", "--output", "new").status == 2
    assert not Path("new").exists()


def test_a_folder_that_cannot_be_made(probae: Probae) -> None:
    Path("file").touch()
    said = probae("train", "vae", "--output", "file/run")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert probae("train", "vae", "--output", "file").err.endswith("output: expected a folder; got file, a file\n")


def test_interrupted_before_there_is_anything(probae: Probae, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probae.cli.train.load_data", interrupt)
    assert probae("train", "vae", "--output", "run") == (130, "", "probae: interrupted\n")
    assert not Path("run").exists()
