"""What can watch a run: callbacks, and the progress bar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probae.engine.training import Training


class Callback:
    """Methods that the training loop calls; override the ones you need.

    A callback may read everything of `training` (`epoch`, `step`, `loss`, `history`, `best`, `descent.optimizer`, ...),
    take `training.state()`, and call `training.stop(reason)`, which ends the run after the current step.

    Example:
        >>> class StopAt(Callback):
        ...     def on_epoch_end(self, training):
        ...         if training.history["train_loss"][-1] < 20.0:
        ...             training.stop("good enough")
    """

    def on_fit_start(self, training: Training) -> None:
        """Before the first step."""

    def on_step_end(self, training: Training) -> None:
        """After each step. The loss is still on its device: reading it here waits for it."""

    def on_epoch_end(self, training: Training) -> None:
        """After each epoch, its validation included."""

    def on_fit_end(self, training: Training) -> None:
        """After the last step, also when the run was interrupted or failed."""


class Progress(Callback):
    """A tqdm bar, in a terminal or a notebook: the epoch, the steps done, the last epoch's loss and monitor.

    With a limit of time the bar runs over the seconds.

    Args:
        prefix: what stands before the number of the epoch.
    """

    bar: Any = None

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def on_fit_start(self, training: Training) -> None:
        from tqdm.auto import tqdm

        self.by_time = training.max_time is not None
        total = training.max_time if self.by_time else training.total_steps
        count = "{n:.1f}/{total:g} s" if self.by_time else "{n_fmt}/{total_fmt} steps [{elapsed}<{remaining}]"
        self.bar = tqdm(
            total=total, initial=self._done(training), unit=" steps", desc=self._title(training), mininterval=0.2,
            file=sys.stderr, bar_format="{desc}: {percentage:3.0f}%|{bar}| " + count + "{postfix}" if total else None,
        )  # fmt: skip

    def _done(self, training: Training) -> float:
        return min(training.seconds, training.max_time) if training.max_time is not None else training.step

    def _title(self, training: Training) -> str:
        epochs = f"/{training.epochs}" if training.epochs else ""
        return f"{self.prefix}epoch {min(training.epoch + 1, training.epochs or sys.maxsize)}{epochs}"

    def on_step_end(self, training: Training) -> None:
        self.bar.update(self._done(training) - self.bar.n)

    def on_epoch_end(self, training: Training) -> None:
        last = {name: column[-1] for name, column in training.history.items() if name.startswith(("train_", "valid_"))}
        numbers = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in last.items() if value is not None]
        self.bar.set_postfix_str(", ".join(numbers), refresh=False)
        self.bar.set_description_str(self._title(training), refresh=False)

    def on_fit_end(self, training: Training) -> None:
        if self.bar is not None:
            self.on_step_end(training)  # the time may have run out after the last step
            self.bar.close()


def wants_progress(progress: bool | None) -> bool:
    """What was asked; by default whether somebody is looking (a terminal or a notebook)."""
    if progress is not None:
        return progress
    return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; that somebody has imported ipykernel does not mean so."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
