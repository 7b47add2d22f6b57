"""`probae evaluate`: the log-likelihood of a run's model, or what can be judged of a model that has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from probae.cli import runs
from probae.cli.data import data_of_run, run_data_options
from probae.cli.options import Option, options_of
from probae.cli.parser import Parser
from probae.cli.terminal import aligned, say
from probae.data import Dataset
from probae.data.protocol import Protocol
from probae.engine.monitor import judge
from probae.engine.programs import Programs
from probae.engine.sources import batches
from probae.errors import ArgumentError, NoLikelihoodError
from probae.evaluation.ais import ais_log_partition
from probae.evaluation.estimate import Estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.models.saving import load

_ESTIMATORS = (log_likelihood, ais_log_partition)
_GIVEN = ("model", "guide", "data", "machine", "base_rates", "protocol", "vectorize", "method", "length")
_FIELDS = (
    "value", "quantity", "direction", "stderr", "stderr_data", "ess", "khat", "lower", "upper", "reliable", "reason",
)  # fmt: skip
_BATCH = 512


def evaluate(words: list[str]) -> int:
    """Estimate the log-likelihood of a run's model."""
    parser = Parser("probae evaluate", f"{evaluate.__doc__}\n\n{_NOTE}", {"run": "folder of a run"})
    parser.add("estimate", estimate_options())
    parser.add("data, those of the run where nothing else is given", run_data_options())
    given = parser.read(words)
    run = runs.read(given["run"])
    model = load(run.folder / "model", device=given["device"])
    data = data_of_run(run, given)
    options = {option.name: given[option.name] for option in _of_estimators() if given[option.name] is not None}
    try:
        estimate = model.log_likelihood(data, **options)
    except NoLikelihoodError as error:
        entries = substitutes(model, data)
        values = aligned((entry["quantity"], f"{entry['value']:.4f}") for entry in entries)
        say(f"No log-likelihood: {error}\n\n{values}\n  on {data.protocol}")
    else:
        entries = [{**{name: getattr(estimate, name) for name in _FIELDS}, "protocol": vars(estimate.protocol)}]
        say(f"{estimate}\n\n{aligned([*_rows(estimate), *_truth(data)])}")
    _keep(run.folder / "evaluation.json", [{**entry, "options": options} for entry in entries])
    return 0


_NOTE = """\
Options of another estimator than the model's are refused. A deterministic model has no log-likelihood: its monitor and
the error of its reconstructions are reported instead, under their own names. The result is kept in evaluation.json."""


def estimate_options() -> list[Option]:
    """How to estimate, and where."""
    return [*_of_estimators(), Option("device", str, "cpu", "where to estimate")]


def substitutes(model: Any, data: Dataset) -> list[dict[str, Any]]:
    """What can be judged of a model without a likelihood: the monitor of its training, and its reconstructions."""
    monitor = model.monitor()
    arguments, place = model.arguments("data", data), {"device": model.device, "dtype": model.dtype}
    source = batches("data", arguments, batch_size=_BATCH, seed=None, **place)
    value = judge(monitor, source, Programs(model.model, model.guide, model.objective()), model.device)
    found = {f"{monitor.name} (the monitor; no log-likelihood)": value}
    if hasattr(model, "reconstruct"):
        difference = model.reconstruct(data) - data.tensor.to(model.device)
        found["squared error of reconstructions, per example"] = float(difference.square().sum(1).mean())
    return [{"quantity": name, "value": value, "protocol": vars(data.protocol)} for name, value in found.items()]


def kept(folder: Path) -> dict[str, Estimate]:
    """The estimates in a run's `evaluation.json` by their protocols, the newest of each."""
    found = {}
    for entry in _entries(folder / "evaluation.json"):
        if "direction" in entry:
            protocol = Protocol(**entry["protocol"])
            found[str(protocol)] = Estimate(**{name: entry[name] for name in _FIELDS}, protocol=protocol)
    return found


def _of_estimators() -> list[Option]:
    """The options of all estimators; the model knows which of them are its own."""
    text = "importance, exact, ais, ..., by default the model's own"
    found = {"method": Option("method", str | None, text=text)}
    for estimator in _ESTIMATORS:
        for option in options_of(estimator, without=_GIVEN):
            unset = replace(option, type=option.type | None, default=None, shown=str(option.default or ""))
            found.setdefault(option.name, unset)
    return list(found.values())


def _rows(estimate: Estimate) -> list[tuple[str, str]]:
    errors = {"Monte Carlo error": estimate.stderr, "error from the sample of data": estimate.stderr_data}
    rows = [(estimate.quantity, f"{estimate.value:.4f} nats per example, higher is better")]
    rows += [(name, f"± {value:.2g}") for name, value in errors.items() if value is not None]
    rows += [("direction", estimate.direction + (" bound" if estimate.direction in ("lower", "upper") else ""))]
    rows += [("effective sample size", f"{estimate.ess:.0f}")] if estimate.ess is not None else []
    rows += [("Pareto k-hat", f"{estimate.khat:.2f}")] if estimate.khat is not None else []
    reliable = "yes" if estimate.reliable else "NO"
    return [*rows, ("reliable", f"{reliable}: {estimate.reason}"), ("protocol", str(estimate.protocol))]


def _truth(data: Dataset) -> list[tuple[str, str]]:
    """What the best of all models would score, where it is known how the data was made."""
    truth = data.true_log_prob
    return [] if truth is None else [("log p(x) of the true process", f"{float(truth.mean()):.4f}")]


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(path.read_text()) if path.is_file() else []
    except ValueError as error:
        raise ArgumentError("run", "an evaluation.json as it was written", f"{path}: {error}") from error


def _keep(path: Path, entries: list[dict[str, Any]]) -> None:
    """Beside what is there; the same quantity under the same protocol and options is replaced."""

    def identity(entry: dict[str, Any]) -> tuple[Any, ...]:
        return entry["quantity"], entry["protocol"], entry["options"]

    new = [identity(entry) for entry in entries]
    runs.write_json(path, [*(entry for entry in _entries(path) if identity(entry) not in new), *entries])
