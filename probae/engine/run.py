"""What a training run leaves behind: its history, its best epoch, and the state from which it continues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

History = dict[str, list[float | None]]


@dataclass(repr=False)
class Run:
    """The result of `fit`.

    Attributes:
        history: columns of equal length, one entry an epoch: "epoch", "seconds", "learning_rate", "train_loss" (nats
            per example of the objective; for an energy model without log Z it is no likelihood) and, with validation
            data, "valid_" followed by the monitor's name.
        monitor: name of the monitor; higher is better.
        best_epoch: the epoch whose parameters the model now has; the last one where the monitor does not select.
        seed: the one seed of the run.
        seconds: wall-clock time of training.
        stopped: why it ended: "finished", "early stopping", "time", "interrupted", or a callback's reason.
        compile: how most steps ran: "eager", "trace", "inductor" or "cudagraph".
        state: one dictionary of tensors and plain values: parameters, buffers, optimizer, random state, position in
            the epoch, history. `fit(..., resume=run.state)` continues exactly, and
            `torch.load(..., weights_only=True)` reads it back from a file.
    """

    history: History
    monitor: str | None
    best_epoch: int | None
    seed: int
    seconds: float
    stopped: str
    compile: str = "eager"
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self.history["epoch"])

    @property
    def best(self) -> float | None:
        """The monitor's value at the best epoch; None without validation data."""
        if self.best_epoch is None or self.monitor is None:
            return None
        return self.history[f"valid_{self.monitor}"][self.best_epoch - 1]

    def __repr__(self) -> str:
        value = "" if self.best is None else f", valid {self.monitor} {self.best:.3f} at epoch {self.best_epoch}"
        return f"Run({self.stopped} after {self.epochs} epochs, {self.seconds:.1f} s{value}, seed {self.seed})"
