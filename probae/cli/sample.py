"""`probae sample`: examples drawn from a run's model, as a picture or as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from probae import checks
from probae.cli import runs
from probae.cli.models import models
from probae.cli.options import Option, options_of
from probae.cli.parser import Parser
from probae.cli.terminal import say
from probae.engine.randomness import check_seed, stream
from probae.errors import ArgumentError
from probae.models.saving import load

_NUMBERS = (".csv", ".npy")
_PICTURES = (".pdf", ".png", ".svg")


def sample(words: list[str]) -> int:
    """Draw examples from a run's model."""
    parser = Parser("probae sample", str(sample.__doc__), {"run": "folder of a run"})
    parser.add("samples", [
        Option("number", int, 64, "how many"),
        Option("output", Path | None, text=f"the file: a picture ({', '.join(_PICTURES)}) of images, or numbers "
               f"({', '.join(_NUMBERS)}); by default samples.png or samples.npy in the folder of the run"),
        Option("seed", int, 0, "of all that is drawn"),
        Option("device", str, "cpu", "where to draw"),
    ])  # fmt: skip
    parser.add("of some models", options_of_samplers())
    given = parser.read(words)
    run = runs.read(given["run"])
    model = load(run.folder / "model", device=given["device"])
    path = _path(given["output"], run.folder, model.data_shape)
    options = {option.name: given[option.name] for option in options_of_samplers() if given[option.name] is not None}
    write(path, draw(model, given["number"], given["seed"], options), model.data_shape)
    say(f"{given['number']} samples are in {path}")
    return 0


def options_of_samplers() -> list[Option]:
    """What only some models' `sample` takes; a model knows which are its own."""
    found: dict[str, Option] = {}
    for kind in models().values():
        for option in options_of(kind.sample, without=["num_examples"]):
            unset = replace(option, type=option.type | None, default=None, shown=str(option.default or ""))
            found.setdefault(option.name, unset)
    return list(found.values())


def draw(model: Any, number: int, seed: int, options: Mapping[str, Any]) -> Tensor:
    """Samples (number, D) on the CPU, a function of the seed.

    Raises:
        ArgumentError: names the option that this model's `sample` does not have.
    """
    checks.options(options, model.sample)
    with stream(check_seed(seed), model.device):
        return model.sample(number, **options).cpu()


def write(path: Path, x: Tensor, data_shape: tuple[int, ...]) -> None:
    """Samples as a picture or as numbers, by the suffix: `.csv` has a row an example, `.npy` its shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, x.reshape(-1, *data_shape).numpy())
    elif path.suffix == ".csv":
        np.savetxt(path, x.numpy(), delimiter=",", fmt="%.6g")
    else:
        from probae.cli.pictures import canvas, show  # brings matplotlib

        with canvas(path) as (ax,):
            show(ax, x, data_shape)


def _path(given: Path | None, folder: Path, data_shape: tuple[int, ...]) -> Path:
    image = len(data_shape) == 2 or (len(data_shape) == 3 and data_shape[0] in (1, 3))
    path = Path(given or folder / ("samples.png" if image else "samples.npy"))
    if path.suffix not in _NUMBERS + _PICTURES:
        raise ArgumentError("output", f"a file {', '.join(_NUMBERS + _PICTURES)}", f"{path}")
    if path.suffix in _PICTURES and not image and data_shape != (2,):
        hint = f"Numbers can be written: {' or '.join(_NUMBERS)}"
        raise ArgumentError("output", f"numbers, since examples of shape {data_shape} are no images", f"{path}", hint)
    return path
