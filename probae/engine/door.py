"""What `fit` accepts: each function makes one argument usable, or raises the error that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from pyro.infer import ELBO as PyroELBO
from torch import Tensor

from probae.checks import choice, positive_int, real
from probae.data import Dataset
from probae.engine.callbacks import Callback
from probae.engine.capture import can_capture
from probae.engine.loggers import Logger
from probae.engine.monitor import Monitor, bound_monitor
from probae.engine.player import WAYS
from probae.engine.precision import DTYPES, PRODUCTS, check_precision
from probae.engine.programs import Programs
from probae.errors import ArgumentError
from probae.inference.elbo import ELBO


def program(argument: str, given: Any) -> Callable[..., Any]:
    """A model or guide: anything that can be called."""
    if not callable(given) or isinstance(given, type):
        raise ArgumentError(argument, "a Pyro callable", repr(given))
    return given


def objective(given: Any) -> Callable[..., Any]:
    """A function `(model, guide, *batch) -> loss`: the ELBO by default, the differentiable loss of one of Pyro's."""
    if given is None:
        return ELBO()
    if isinstance(given, PyroELBO):
        given = getattr(given, "differentiable_loss", given)
    if isinstance(given, (type, PyroELBO)) or not callable(given):
        hint = "It has no differentiable_loss" if isinstance(given, PyroELBO) else ""
        raise ArgumentError("objective", "a callable (model, guide, *batch) -> loss", repr(given), hint)
    return given


def device(given: Any, programs: Programs, data: Any) -> torch.device:
    """The device asked for, if this machine has it; by default that of the modules, else that of the data."""
    if given is None:
        parameters = (p for module in programs.modules for p in module.parameters())
        parts = data.values() if isinstance(data, Mapping) else data if isinstance(data, tuple) else (data,)
        first = next((x for x in (*parameters, *parts) if isinstance(x, (Tensor, Dataset))), None)
        return torch.device("cpu") if first is None else first.device
    try:
        return torch.empty(0, device=given).device
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ArgumentError("device", "a device of this machine, such as 'cpu'", f"{given!r}: {reason}") from error


def dtype(precision: Any, device: torch.device) -> torch.dtype | None:
    """The dtype of parameters and data under a precision; None to leave them as they are."""
    check_precision(precision, device)
    return DTYPES.get(precision, torch.float32 if precision in PRODUCTS else None)


def way(given: Any, device: torch.device) -> str:
    """How steps run."""
    found = choice("compile", given, ("auto", *WAYS))
    if found == "cudagraph" and not can_capture(device):
        raise ArgumentError("compile", "'cudagraph' on a CUDA device alone", f"{found!r} on {device}")
    return found


def epochs(given: Any, max_time: Any) -> int | None:
    """A positive integer: 10 by default, unlimited where the time is limited."""
    if given is None:
        return 10 if max_time is None else None
    return positive_int("epochs", given)


def above_zero(argument: str, given: Any) -> float | None:
    """A number above zero, or None."""
    return None if given is None else real(argument, given, low=0.0, open_low=True)


def monitor(
    given: Any, valid: Any, model: Callable[..., Any], guide: Callable[..., Any], objective: Any
) -> Monitor | None:
    """A monitor, by default the plain ELBO, or the bound that `IWAE` trains; none without validation data."""
    if not isinstance(given, (Monitor, type(None))):
        raise ArgumentError("monitor", "a pb.Monitor", repr(given))
    if valid is None and given is not None:
        raise ArgumentError("monitor", "validation data beside it (valid=)", "none")
    return bound_monitor(model, guide, objective) if given is None and valid is not None else given


def patience(given: Any, monitor: Monitor | None) -> int | None:
    """A positive integer, beside a monitor that can tell a better epoch."""
    if given is None:
        return None
    if monitor is None:
        raise ArgumentError("patience", "validation data beside it (valid=)", "none")
    if not monitor.selects:
        raise ArgumentError("patience", "a monitor that tells better epochs", f"{monitor.name!r}, which does not")
    return positive_int("patience", given)


def callbacks(given: Any) -> list[Callback]:
    """One callback or several."""
    found = [given] if isinstance(given, Callback) else list(given) if isinstance(given, Iterable) else [given]
    for callback in found:
        if not isinstance(callback, Callback):
            raise ArgumentError("callbacks", "pb.Callback objects", repr(callback))
    return found


def loggers(given: Any) -> list[Logger]:
    """One logger or several, or none."""
    several = isinstance(given, Iterable) and not isinstance(given, (str, Logger))
    found: list[Any] = [] if given is None else list(given) if several else [given]
    for one in found:
        if isinstance(one, type) or not isinstance(one, Logger):
            raise ArgumentError("logger", "an object with log_metrics and log_hyperparams", repr(one))
    return found
