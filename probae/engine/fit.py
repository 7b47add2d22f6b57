"""`pb.fit`: train any Pyro pair."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from pyro.infer import ELBO as PyroELBO

from probae.checks import choice, positive_int, real
from probae.engine.batches import Batches, batches, check_batch_size
from probae.engine.callbacks import Callback, Progress, wants_progress
from probae.engine.loggers import Logger
from probae.engine.monitor import Monitor, elbo_monitor
from probae.engine.optimizers import check_optimizer, make_optimizer, make_schedule
from probae.engine.programs import Programs
from probae.engine.randomness import check_seed
from probae.engine.run import Run
from probae.engine.training import Training
from probae.errors import ArgumentError
from probae.inference.elbo import ELBO

log = logging.getLogger("probae")

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def fit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    valid: Any = None,
    objective: Callable[..., Any] | None = None,
    epochs: int | None = None,
    batch_size: int | None = 128,
    optimizer: Any = "adam",
    learning_rate: float | None = None,
    schedule: Any = None,
    clip_norm: float | None = None,
    monitor: Monitor | None = None,
    patience: int | None = None,
    max_time: float | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    seed: int | None = None,
    callbacks: Iterable[Callback] = (),
    logger: Logger | Iterable[Logger] | None = None,
    progress: bool | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Run:
    """Train a Pyro model and guide by stochastic gradients of an objective.

    The loss of each batch is divided by the number of examples it stands for (its length, or the size of a
    subsampling plate), so that learning rates mean the same everywhere. The first step runs with all of Pyro's and
    torch's checks, the others without. Ctrl-C returns what there is.

    Args:
        model, guide: any Pyro callables; called with each batch: tuples by position, mappings by keyword.
        data: a data set of `pb.data`, a tensor, an array, a tuple or mapping of them, a torch `Dataset`, a
            `DataLoader`, or any iterable of batches. What fits is moved to the device once and batched there.
        valid: likewise; the monitor is evaluated on it after each epoch, and the best epoch's parameters are kept.
        objective: `pb.ELBO()` by default, `pb.IWAE(...)`, one of Pyro's ELBOs, or any callable
            `(model, guide, *batch) -> scalar tensor`.
        epochs: passes over the data; 10 by default, unlimited where `max_time` is given.
        batch_size: examples a step; None passes everything at once, for pairs that subsample themselves.
        optimizer: a name such as "adam" or "sgd", a torch optimizer class, or a callable that makes one from the
            parameters (`functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)`).
        learning_rate: for a name or a class; 1e-3 by default.
        schedule: factor on the learning rate: "constant", "linear" (down to zero), "cosine", or a function of the
            progress in [0, 1].
        clip_norm: largest norm of the gradient.
        monitor: what validation evaluates; the plain ELBO by default.
        patience: stop after this many epochs without a better monitor.
        max_time: seconds of wall-clock time; the schedule then runs over the time.
        device: where to train; by default where the parameters are.
        precision: "float32" or "float64", of parameters and data; by default as they are.
        seed: of everything random in the run; drawn from torch's global generator by default.
        callbacks: `pb.Callback`s.
        logger: a `pb.CSVLogger`, any Lightning logger, or several.
        progress: a progress bar; by default if somebody is looking.
        resume: the `state` of an earlier run of the same settings: training continues exactly.

    Returns:
        The run: history, best epoch, and the state to continue from.

    Raises:
        ArgumentError, DataError: name the argument, before any work is done.
        SiteError: if the sites of model and guide do not match.
        NonFiniteError: if the loss turns NaN: names the site and the step; the last good parameters are kept.

    Example:
        >>> import torch, pyro, pyro.distributions as dist
        >>> def model(x):
        ...     mean = pyro.sample("mean", dist.Normal(0.0, 10.0))
        ...     with pyro.plate("data", 100, subsample=x):
        ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
        >>> def guide(x):
        ...     loc = pyro.param("loc", torch.tensor(0.0))
        ...     pyro.sample("mean", dist.Normal(loc, pyro.param("scale", torch.tensor(1.0), dist.constraints.positive)))
        >>> x = 3.0 + torch.randn(100, generator=torch.Generator().manual_seed(0))
        >>> run = fit(model, guide, x, epochs=200, batch_size=None, learning_rate=0.05, seed=0)
        >>> bool((pyro.param("loc") - x.mean()).abs() < 0.2)
        True
    """
    place = _place(model, guide, objective, device)
    dtype = _PRECISIONS[choice("precision", precision, _PRECISIONS)] if precision is not None else None
    check_optimizer(optimizer, learning_rate)
    settings = {
        "epochs": _epochs(epochs, max_time),
        "max_time": None if max_time is None else real("max_time", max_time, low=0.0, open_low=True),
        "clip_norm": None if clip_norm is None else real("clip_norm", clip_norm, low=0.0, open_low=True),
        "patience": None if patience is None else positive_int("patience", patience),
        "schedule": make_schedule(schedule),
        "seed": check_seed(seed if resume is None else resume.get("seed", seed)),
    }
    if patience is not None and valid is None:
        raise ArgumentError("patience", "validation data beside it (valid=)", "none")
    size = check_batch_size(batch_size)
    source = batches("data", data, batch_size=size, seed=settings["seed"], device=place, dtype=dtype)
    judged = None if valid is None else _validation(valid, size, place, dtype)
    objective = _objective(objective)
    programs = Programs(model, guide, objective)
    for module in programs.modules:
        module.to(place, dtype)
    watchers = [*_check_callbacks(callbacks), *_loggers(logger, settings)]
    if wants_progress(progress):
        watchers.append(Progress())
    training = Training(
        programs,
        source,
        optimizer=partial(_optimizer, optimizer, learning_rate),
        valid=judged,
        monitor=_monitor(monitor, model, guide) if judged is not None else None,
        callbacks=watchers,
        device=place,
        **settings,
    )
    return training.run(None if resume is None else dict(resume))


def _optimizer(optimizer: Any, learning_rate: float | None, parameters: Any) -> torch.optim.Optimizer:
    return make_optimizer(optimizer, parameters, learning_rate)


def _epochs(epochs: int | None, max_time: float | None) -> int | None:
    if epochs is None:
        return 10 if max_time is None else None
    return positive_int("epochs", epochs)


def _place(model: Any, guide: Any, objective: Any, device: str | torch.device | None) -> torch.device:
    if device is not None:
        try:
            place = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError("device", "a torch device such as 'cpu' or 'cuda'", repr(device)) from error
        if place.type == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("device", "a device of this machine", f"{device!r}, but torch sees no CUDA device here")
        return place
    modules = Programs(model, guide, objective).modules
    first = next((p for module in modules for p in module.parameters()), None)
    return torch.device("cpu") if first is None else first.device


def _objective(objective: Any) -> Callable[..., Any]:
    if objective is None:
        return ELBO()
    if isinstance(objective, PyroELBO):
        return objective.differentiable_loss  # type: ignore[no-any-return, attr-defined]
    if not callable(objective):
        raise ArgumentError("objective", "a callable (model, guide, *batch) -> loss", repr(objective))
    return objective


def _validation(valid: Any, batch_size: int | None, device: torch.device, dtype: torch.dtype | None) -> Batches:
    size = None if batch_size is None else max(batch_size, 512)
    return batches("valid", valid, batch_size=size, seed=None, device=device, dtype=dtype)


def _monitor(monitor: Any, model: Any, guide: Any) -> Monitor:
    if monitor is None:
        return elbo_monitor(model, guide)
    if not isinstance(monitor, Monitor):
        raise ArgumentError("monitor", "a pb.Monitor", repr(monitor))
    return monitor


def _check_callbacks(callbacks: Any) -> list[Callback]:
    found = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in found:
        if not isinstance(callback, Callback):
            raise ArgumentError("callbacks", "pb.Callback objects", repr(callback))
    return found


class _Log(Callback):
    """Hands each epoch's numbers to a logger."""

    def __init__(self, logger: Logger, settings: Mapping[str, Any]) -> None:
        self.logger, self.settings = logger, settings

    def on_fit_start(self, training: Training) -> None:
        self.logger.log_hyperparams({key: value for key, value in self.settings.items() if key != "schedule"})

    def on_epoch_end(self, training: Training) -> None:
        last = {name: column[-1] for name, column in training.history.items()}
        numbers = {name: value for name, value in last.items() if value is not None and math.isfinite(value)}
        self.logger.log_metrics(numbers, step=training.step)


def _loggers(logger: Any, settings: Mapping[str, Any]) -> list[Callback]:
    if logger is None:
        return []
    found = [logger] if isinstance(logger, Logger) else list(logger) if isinstance(logger, Iterable) else [logger]
    for one in found:
        if not isinstance(one, Logger):
            raise ArgumentError("logger", "an object with log_metrics and log_hyperparams", repr(one))
    return [_Log(one, settings) for one in found]
