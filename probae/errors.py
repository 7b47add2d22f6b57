"""The typed errors of the library: each one names the argument, what was expected and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probae.engine.run import Run


class ProbaeError(Exception):
    """Base class of every error that probae raises on purpose.

    Attributes:
        trained: whether it came out of a training that had completed an epoch by then.
    """

    trained: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), vars(self))  # by its message, to leave a worker process


def _again(kind: type[ProbaeError], message: str, attributes: dict[str, Any]) -> ProbaeError:
    error = kind.__new__(kind, message)
    error.__dict__.update(attributes)
    return error


class ArgumentError(ProbaeError, ValueError):
    """An argument has a value that the function cannot use.

    Example:
        >>> raise ArgumentError("latent_dim", "a positive integer", 0)
        Traceback (most recent call last):
        ...
        probae.errors.ArgumentError: latent_dim: expected a positive integer; got 0
    """

    def __init__(self, argument: str, expected: str | None = None, got: Any = None, hint: str = "") -> None:
        self.argument, _, _ = argument.partition(":")
        message = argument.partition("\nTrace Shapes:")[0]  # Pyro makes errors anew, a table of its trace behind them
        if expected is not None:
            message = f"{argument}: expected {expected}; got {got}" + (f". {hint}" if hint else "")
        super().__init__(message)


class DataError(ArgumentError):
    """Data that a model cannot be trained or judged on: its shape, its type or its values."""


class NotPreparedError(ProbaeError, RuntimeError):
    """Something needs what `model.prepare(data)` would have set."""


class NoLikelihoodError(ProbaeError, TypeError):
    """A likelihood was asked of a model that defines none, such as a deterministic autoencoder."""


class UnnormalizedError(ProbaeError, RuntimeError):
    """An energy model was asked for a log-probability without a current estimate of log Z."""


class InfinitePartitionError(ProbaeError, ArithmeticError):
    """A Boltzmann machine's Z is infinite, or cannot be shown to be finite, so that it has no distribution."""


class SiteError(ProbaeError, ValueError):
    """The sample sites of model and guide do not fit each other or the objective."""


class NonFiniteError(ProbaeError, ArithmeticError):
    """Training met a loss that is not a number; the last good parameters are kept.

    Attributes:
        site: name of the first sample site whose log-probability is not finite, or None.
        step: number of the training step, from zero.
        run: what was trained until then.
    """

    def __init__(self, message: str, *, site: str | None, step: int, run: Run | None = None) -> None:
        self.site, self.step, self.run = site, step, run
        super().__init__(message)
