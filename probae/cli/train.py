"""`probae train`: a model, data and training, all from their signatures, into a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import get_loader

from probae import CSVLogger
from probae.cli import runs
from probae.cli.data import data_options, load_data
from probae.cli.models import build, described, find, models, options_of_model
from probae.cli.objectives import complete, objective, objective_option
from probae.cli.options import Option, first_line, introduction, options_of
from probae.cli.parser import Parser
from probae.cli.terminal import INTERRUPTED, aligned, say
from probae.data import Splits
from probae.engine.fit import fit
from probae.engine.optimizers import OPTIMIZERS, SCHEDULES
from probae.engine.run import Run
from probae.errors import ArgumentError, NonFiniteError
from probae.inference.objective import Objective
from probae.models.base import Model

_OBJECTS = ("model", "guide", "data", "valid", "objective", "monitor", "callbacks", "logger", "resume")
_NOT_SAVED = ("output", "overwrite", "config", "print_config", "progress")
_TEXTS = {  # where a docstring speaks of objects that no command line can hold
    "batch_size": "examples a step; null passes everything at once",
    "device": "where to train, such as cuda; the CPU by default",
    "learning_rate": "of the optimizer; by default 1e-3, or that of the model's own optimizer",
    "optimizer": ", ".join(OPTIMIZERS),
    "schedule": f"of the learning rate: {', '.join(SCHEDULES)}",
    "seed": "of the initial weights, and of all that training draws",
}
_SETTINGS = """\
A part with settings is given by its name and those: --likelihood normal --likelihood.scale 0.2. Each option is also a
key of a configuration file; the folder of a run holds one that repeats it."""


def train(words: list[str]) -> int:
    """Train a model on a data set, into the folder of a run."""
    if words[:1] in ([], ["-h"], ["--help"]):
        say(overview())
        return 0
    config, words = _configured(words)
    printed = [word for word in words if word.replace("-", "_") == "__print_config"]
    words = [word for word in words if word not in printed]  # jsonargparse has an option of this name
    name = _model(config.pop("model", None), words)
    parser = parser_of(name)
    given = parser.read(words, config)
    if printed:
        say(runs.written(_saved(name, given)).rstrip())
        return 0
    return _run(name, given)


def overview() -> str:
    """The help that lists the models."""
    table = aligned((name, first_line(kind)) for name, kind in models().items())
    return f"""\
usage: probae train MODEL [options]
       probae train --config FILE [options]

Train a model on a data set, into the folder of a run.

models:
{table}

probae train MODEL --help lists the options of a model."""


def parser_of(name: str) -> Parser:
    """The options of a model: its constructor's, the data's, the training's."""
    kind = models()[name]
    parser = Parser(f"probae train {name}", introduction(kind), closing=_SETTINGS)
    parser.add("model", options_of_model(kind))
    parser.add("data", data_options())
    parser.add("training", training_options(kind))
    parser.add("run", [
        Option("output", Path | None, text=f"folder of the run; by default a new one, runs/{name}-DATA-NUMBER"),
        Option("overwrite", bool, False, "replace the run that is there"),
        Option("config", Path | None, text="YAML file of options; those of the command line come before it"),
        Option("print_config", bool, False, "print the configuration and do nothing"),
    ])  # fmt: skip
    return parser


def training_options(kind: type[Model]) -> list[Option]:
    """Those of `pb.fit`, with the model's own defaults."""
    found = [objective_option()]
    for option in options_of(fit, without=_OBJECTS):
        option = replace(option, text=_TEXTS.get(option.name, option.text))
        if option.name == "seed":
            option = replace(option, type=int, default=0)
        elif option.name in kind.fit_defaults:
            own = kind.fit_defaults[option.name]
            kept = own if isinstance(own, (int, float, str)) else None  # what no word can say is left to the model
            option = replace(option, default=kept, shown=described(own))
        found.append(option)
    return found


def _configured(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the files named by `--config` say, later ones over earlier ones, and the other words."""
    config: dict[str, Any] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, file = word.partition("=")
        if name != "--config":
            others.append(word)
            continue
        config |= _file(file if equals else next(rest, ""))
    return config, others


def _file(name: str) -> dict[str, Any]:
    try:
        content = get_loader("yaml")(Path(name).read_text())
    except Exception as error:  # the loader's errors have no class in common
        raise ArgumentError("config", "a YAML file of options", f"{name or 'no name'}: {error}") from error
    if not isinstance(content, dict):
        raise ArgumentError("config", "a YAML file of options", f"{name}, which holds a {type(content).__name__}")
    return content


def _model(configured: str | None, words: list[str]) -> str:
    """The name of the model: the first word, or what the configuration says; taken off the words."""
    called = find(words.pop(0)) if words and not words[0].startswith("-") else None
    if called is None and configured is None:
        raise ArgumentError("model", f"one of {', '.join(models())}", "none")
    name = find(str(configured)) if configured is not None else called
    if called is not None and name != called:
        raise ArgumentError("model", f"{called}, as on the command line", f"{configured} in the configuration")
    return str(name)


def _saved(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": name, **{key: value for key, value in given.items() if key not in _NOT_SAVED}}


def _run(name: str, given: dict[str, Any]) -> int:
    """Claim the folder and train; what was made for nothing goes again."""
    minimized = objective(given["objective"])
    given["objective"] = complete(given["objective"])
    output = given["output"]
    is_new = output is None or not Path(output).exists()
    folder = runs.numbered(f"runs/{name}-{given['data']}") if output is None else Path(output)
    runs.claim(folder, given["overwrite"])
    try:
        return _trained(name, given, minimized, folder)
    except BaseException:
        if is_new:
            with suppress(OSError):  # not empty
                folder.rmdir()
        raise


def _trained(name: str, given: dict[str, Any], minimized: Objective | None, folder: Path) -> int:
    data = load_data(given)
    model = build(models()[name], given, data.train, given["seed"])
    config = _saved(name, given | {key: value for key, value in model.config.items() if key in given})
    notice = f"Training {name} on {len(data.train)} examples ({data.train.protocol}), into {folder}"
    try:
        run = model.fit(
            data.train, valid=data.valid, objective=minimized, logger=CSVLogger(folder),
            callbacks=runs.Opening(folder, given["overwrite"], config, notice), **_settings(model, given),
        )  # fmt: skip
    except NonFiniteError as error:
        if error.run is not None:  # the last good parameters
            _finish(folder, name, model, error.run, data)
        raise
    _finish(folder, name, model, run, data)
    return INTERRUPTED if run.stopped == "interrupted" else 0


def _settings(model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `fit` is told; where nothing else was asked, the model's own defaults stay in force."""
    names = [option.name for option in options_of(fit, without=_OBJECTS)]
    return {name: given[name] for name in names if given[name] is not None or name not in model.fit_defaults}


def _finish(folder: Path, name: str, model: Model, run: Run, data: Splits) -> None:
    model.save(folder / "model")
    runs.write_json(folder / "run.json", {
        "format": runs.FORMAT, "model": name, "stopped": run.stopped, "epochs": run.epochs, "seconds": run.seconds,
        "monitor": run.monitor, "best_epoch": run.best_epoch, "value": run.best, "seed": run.seed,
        "data": {"train": str(data.train.protocol), "valid": str(data.valid.protocol)}, **runs.surroundings(),
    })  # fmt: skip
    say(f"{run}\nThe run is in {folder}")
