"""`pb.fit`: train any Pyro pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from probae.checks import positive_int
from probae.engine import door
from probae.engine.callbacks import Callback, Progress, wants_progress
from probae.engine.loggers import Logger, Logging
from probae.engine.monitor import Monitor
from probae.engine.optimizers import check_optimizer, make_optimizer, make_schedule
from probae.engine.programs import Programs
from probae.engine.randomness import check_seed
from probae.engine.run import Run
from probae.engine.sources import batches, check_batch_size
from probae.engine.state import check_state
from probae.engine.training import Training
from probae.errors import ProbaeError

_VALIDATION_BATCH = 512


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
    accumulate: int = 1,
    monitor: Monitor | None = None,
    patience: int | None = None,
    max_time: float | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    compile: str = "auto",
    seed: int | None = None,
    callbacks: Callback | Iterable[Callback] = (),
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
            `DataLoader`, or any iterable of batches. What fits is moved to the device once and batched there. Pyro's
            checks of shapes and supports are on in the first step; of an iterable, in the first twenty.
        valid: likewise; the monitor is evaluated on it after each epoch, and the best epoch's parameters are kept.
        objective: `pb.ELBO()` by default, `pb.IWAE(...)`, one of Pyro's ELBOs, or any callable
            `(model, guide, *batch) -> scalar tensor`.
        epochs: passes over the data; 10 by default, unlimited where `max_time` is given.
        batch_size: examples a step; None passes everything at once, for pairs that subsample themselves. A loader and
            an iterable have their own.
        optimizer: a name such as "adam" or "sgd", a torch optimizer class, or a callable that makes one from the
            parameters (`functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)`).
        learning_rate: for a name or a class; 1e-3 by default.
        schedule: factor on the learning rate: "constant", "linear" (down to zero), "cosine", or a function of the
            progress in [0, 1].
        clip_norm: largest norm of the gradient.
        accumulate: batches a step: its gradient is the mean over the examples of all of them.
        monitor: what validation evaluates; by default the plain ELBO, or beside `pb.IWAE` the bound that it trains.
        patience: stop after this many epochs without a better monitor.
        max_time: seconds of wall-clock time; the schedule then runs over the time, or the epochs if they end first.
        device: where to train; by default where the modules' parameters are, without modules where the data is.
            Tensors that a program makes itself are its own: `x.new_zeros(3)` is beside x.
        precision: "float32" or "float64", of parameters and data; by default as they are. "bf16" (anywhere) or "tf32"
            (CUDA): float32, but the matrix products of training round their factors to 8 or 10 bits.
        compile: how steps run. "eager": as the programs are written; "trace": from a recording, Pyro's handlers gone;
            "inductor": that compiled; "cudagraph": and captured on a GPU, with the optimizer's part. "auto" times what
            can pay in the steps that are left, and keeps the fastest. The random numbers are the same in each, results
            up to rounding; what cannot be recorded runs eagerly, with a warning.
        seed: of all that torch draws in the run; itself drawn from torch's global generator by default.
        callbacks: one `pb.Callback`, or several.
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
    model, guide = door.program("model", model), door.program("guide", guide)
    objective = door.objective(objective)
    check_optimizer(optimizer, learning_rate)
    if resume is not None:
        check_state(resume)
    programs = Programs(model, guide, objective)
    place = door.device(device, programs, data)
    dtype, way = door.dtype(precision, place), door.way(compile, place)
    judge = door.monitor(monitor, valid, model, guide, objective)
    settings: dict[str, Any] = {
        "epochs": door.epochs(epochs, max_time),
        "max_time": door.above_zero("max_time", max_time),
        "clip_norm": door.above_zero("clip_norm", clip_norm),
        "patience": door.patience(patience, judge),
        "accumulate": positive_int("accumulate", accumulate),
    }
    size = check_batch_size(batch_size)
    watchers = door.callbacks(callbacks)
    told = {**settings, "batch_size": size, "optimizer": optimizer, "learning_rate": learning_rate,
            "schedule": schedule, "objective": objective, "device": place, "precision": precision,
            "compile": compile}  # fmt: skip
    watchers += [Logging(one, {name: _plain(value) for name, value in told.items()}) for one in door.loggers(logger)]
    if wants_progress(progress):
        watchers.append(Progress())
    shape = make_schedule(schedule)
    number = check_seed(seed if resume is None else resume["seed"])
    larger = None if size is None else max(size, _VALIDATION_BATCH)
    judged = None if valid is None else batches("valid", valid, batch_size=larger, seed=None, device=place, dtype=dtype)
    source = batches("data", data, batch_size=size, seed=number, device=place, dtype=dtype)
    programs.to(place, dtype)
    make = partial(make_optimizer, optimizer, learning_rate=learning_rate)
    training = Training(
        programs, source, optimizer=make, schedule=shape, valid=judged, monitor=judge, callbacks=watchers, seed=number,
        device=place, dtype=dtype, way=way, precision=precision, **settings,
    )  # fmt: skip
    try:
        return training.run(resume)
    except ProbaeError as error:
        error.trained = len(training.history["epoch"]) > (0 if resume is None else len(resume["history"]["epoch"]))
        raise


def _plain(value: Any) -> Any:
    """A number, a text or None as it is; anything else by its name."""
    if isinstance(value, (int, float, str, type(None))):
        return value
    return type(value).__name__ if isinstance(value, nn.Module) else getattr(value, "__name__", str(value))
