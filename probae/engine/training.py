"""The training loop: epochs of steps, validation, and what ends a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from probae.engine.batches import Batch, Batches, Stream
from probae.engine.best import Best
from probae.engine.callbacks import Callback
from probae.engine.descent import Descent
from probae.engine.interrupt import Interrupt
from probae.engine.monitor import Monitor, judge, score_player
from probae.engine.optimizers import Schedule
from probae.engine.programs import Programs
from probae.engine.randomness import random_state, set_random_state, stream
from probae.engine.run import History, Run
from probae.engine.state import load_state, save_state
from probae.errors import DataError, NonFiniteError

_UNSEEN = 20  # steps in which the values of a stream's batches are looked at


class Training:
    """One run of the engine over a model, a guide and batches; `fit` builds it, callbacks look at it.

    Nothing here asks what kind of model it trains: what training changes are parameters and buffers, what drives it
    is the objective, what judges it is the monitor.

    Attributes:
        epoch, batch, step: epochs completed, batches done in the current one, steps done in all.
        accumulate: batches a step.
        seconds: wall-clock time trained, earlier parts of a resumed run included.
        history: the columns of `Run.history`.
        loss: of the last step, per example, on its device.
        best: the best epoch so far.
        programs: model, guide and objective, with the modules and parameters found in them.
        descent: what takes the steps; its `optimizer` is torch's.
        stopped: why the run ends, empty until then.
    """

    descent: Descent
    loss: Tensor

    def __init__(
        self,
        programs: Programs,
        batches: Batches,
        *,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Schedule | None,
        clip_norm: float | None,
        epochs: int | None,
        max_time: float | None,
        valid: Batches | None,
        monitor: Monitor | None,
        patience: int | None,
        callbacks: list[Callback],
        seed: int,
        device: torch.device,
        dtype: torch.dtype | None,
        accumulate: int,
        way: str,
        precision: str | None,
    ) -> None:
        self.programs, self.batches, self.valid, self.monitor = programs, batches, valid, monitor
        self.schedule, self.clip_norm, self.callbacks = schedule, clip_norm, callbacks
        self.epochs, self.max_time, self.patience = epochs, max_time, patience
        self.seed, self.device, self.dtype = seed, device, dtype
        self.accumulate, self.way, self.precision = accumulate, way, precision
        self.epoch = self.batch = self.step = 0
        self.seconds = 0.0
        self.history: History = {"epoch": [], "seconds": [], "learning_rate": [], "train_loss": []}
        if monitor is not None:
            self.history[f"valid_{monitor.name}"] = []
        self.best = Best(programs)
        self.loss_sum: Tensor | None = None
        self.stopped, self.loss_weight, self._judged = "", 0, False
        self.epoch_random: dict[str, Tensor] = {}
        self._make_optimizer = optimizer
        self._streams = isinstance(batches, Stream)
        self._on_step = [c.on_step_end for c in callbacks if _overrides(c, "on_step_end")]
        self._foreign = [c for c in callbacks if not type(c).__module__.startswith("probae.")]  # may change anything

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole run, where that is known beforehand."""
        return self.epochs * -(-self.batches.steps // self.accumulate) if self.epochs and self.batches.steps else None

    @property
    def progress(self) -> float:
        """How much of the run is done, by time or by steps, whichever ends it first: 0 to 1."""
        shares = [] if self.max_time is None else [self.seconds / self.max_time]
        if self.epochs:
            shares.append(self.step / self.total_steps if self.total_steps else self.epoch / self.epochs)
        return min(max(shares, default=0.0), 1.0)

    @property
    def batches_left(self) -> float:
        """Batches still to come, as far as can be told; where it cannot, as many again as there were."""
        limits = [float(self.total_steps - self.step)] if self.total_steps else []
        if self.max_time is not None and self.seconds:
            limits.append(max(self.max_time - self.seconds, 0.0) * self.step / self.seconds)
        return self.accumulate * min(limits, default=float(self.step))

    def _scores_left(self) -> float:
        """Calls of the monitor's score still to come."""
        epochs = self.epoch * self.batches_left / max(self.step * self.accumulate, 1)
        return epochs * self._judging.calls / max(len(self.history["epoch"]) - 1, 1)

    def stop(self, reason: str) -> None:
        """End the run after the current step."""
        self.stopped = self.stopped or reason

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on: `fit(..., resume=state)` continues from here."""
        return save_state(self)

    def run(self, resume: Mapping[str, Any] | None = None) -> Run:
        """Train until the epochs or the time are over, or something stops it."""
        with stream(self.seed, self.device), self.programs.mode(training=True), Interrupt() as self._interrupt:
            self._start(resume)
            with ExitStack() as ending:
                ending.enter_context(self.programs.mode(training=True))  # what has been found since
                for callback in reversed(self.callbacks):
                    ending.callback(callback.on_fit_end, self)
                ending.callback(self.descent.optimizer.zero_grad)
                for callback in self.callbacks:
                    callback.on_fit_start(self)
                self._train()
            return self._finish()

    # The start and the end of a run.

    def _start(self, resume: Mapping[str, Any] | None) -> None:
        self._clock = time.perf_counter()
        first = next(self.batches.epoch(0), None)
        if first is None:
            raise DataError("data", "at least one batch", "none")
        self._last, self.epoch_random = first, random_state(self.device)
        decided = {} if resume is None else resume["ways"]
        self.descent = Descent(
            self.programs, first, self._make_optimizer, self.clip_norm, self.device, self.dtype, self.accumulate,
            precision=self.precision, way=self.way, outlook=lambda: self.batches_left, decided=decided,
        )  # fmt: skip
        if self.monitor is not None:
            self._judging = score_player(self.monitor, self.programs, self.device, self.way, self._scores_left)
        if resume is not None:
            load_state(self, resume)
            self.descent.guard.keep()

    def _train(self) -> None:
        try:
            self._epochs()
            if not self.descent.guard.holds():  # the last step's gradient: no later loss can show it
                raise self.descent.guard.failure(self._last, self.step - 1, "what became of the parameters")
            self.stop("finished")
        except NonFiniteError as error:
            self.stop("not finite")
            error.run = self._finish() if error.run is None else error.run
            raise
        except RuntimeError as error:  # Ctrl-C reaches the workers of a loader, too
            if not (self._interrupt.requested and "DataLoader worker" in str(error)):
                raise
            self.stop("interrupted")
        except KeyboardInterrupt:
            if self._interrupt.requested:  # the second one
                raise
            self.stop("interrupted")

    def _finish(self) -> Run:
        state = self.state()
        self.best.restore()
        best_epoch = self.best.epoch or self.epoch or None
        name = self.monitor.name if self.monitor else None
        way = self.descent.player.chosen
        return Run(self.history, name, best_epoch, self.seed, self.seconds, self.stopped, way, state)

    # The loop.

    def _epochs(self) -> None:
        self._check_limits()
        while not self.stopped and (self.epochs is None or self.epoch < self.epochs):
            if self._steps():
                self._end_epoch()
                self._check_limits()

    def _steps(self) -> bool:
        """Take the steps of an epoch. Returns whether it is over; otherwise something has stopped the run."""
        source = self._source()
        while not self.stopped:
            group = list(islice(source, self.accumulate))
            if not group:
                if not self.batch:
                    raise DataError("data", "an iterable that can be read in each epoch", "no batches the second time")
                return True
            self._step(group)
        return self.batch == self.batches.steps

    def _source(self) -> Iterator[Batch]:
        """The batches still to come in this epoch. Their order may hang on the random state at its start."""
        now = random_state(self.device)
        if not self.batch:
            self.epoch_random = now
            return self.batches.epoch(self.epoch)
        set_random_state(self.epoch_random, self.device)
        source = self.batches.epoch(self.epoch, self.batch)
        set_random_state(now, self.device)
        return source

    def _step(self, group: list[Batch]) -> None:
        factor = None if self.schedule is None else self.schedule(self.progress)
        unseen = self._streams and self.step < _UNSEEN  # nobody has looked at these values before
        self.loss, self._last = self.descent.step(group, self.step, factor, unseen), group[-1]
        weight = sum(batch.num_examples for batch in group)
        self.loss_sum = self.loss * weight if self.loss_sum is None else self.loss_sum + self.loss * weight
        self.loss_weight += weight
        self.batch += len(group)
        self.step += 1
        self.seconds += self._lap()
        for on_step in self._on_step:
            on_step(self)
        if self._foreign and self._on_step:
            self.descent.player.look_again()
        self._check_limits()

    def _check_limits(self) -> None:
        if self._interrupt.requested:
            self.stop("interrupted")
        if self.max_time is not None and self.seconds >= self.max_time:
            self.stop("time")

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._clock = now - self._clock, now
        return lap

    # The end of an epoch.

    def _end_epoch(self) -> None:
        loss = float("nan") if self.loss_sum is None else float(self.loss_sum) / self.loss_weight
        if not math.isfinite(loss):
            raise self.descent.guard.failure(self._last, self.step - 1)
        if self.descent.guard.holds():
            self.descent.guard.keep()
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.loss_weight = None, 0
        row: dict[str, float | None] = {"epoch": self.epoch, "train_loss": loss}
        row["learning_rate"] = float(self.descent.optimizer.param_groups[0]["lr"])
        if self.monitor is not None and self.valid is not None:
            row[f"valid_{self.monitor.name}"] = self._validate(self.monitor, self.valid)
        self.seconds += self._lap()
        row["seconds"] = self.seconds
        for name, column in self.history.items():
            column.append(row[name])
        for callback in self.callbacks:
            callback.on_epoch_end(self)
        self.descent.player.look_again(now=bool(self._foreign) and self.epoch & (self.epoch - 1) == 0)

    def _validate(self, monitor: Monitor, valid: Batches) -> float:
        self._judging.look_again(now=bool(self._foreign))
        value = judge(monitor, valid, self.programs, self.device, player=self._judging if self._judged else None)
        self._judged = True
        if monitor.selects:
            self.best.offer(self.epoch, value)
            if self.patience is not None and self.epoch - (self.best.epoch or 0) >= self.patience:
                self.stop("early stopping")
        return value


def _overrides(callback: Callback, method: str) -> bool:
    return getattr(getattr(callback, method), "__func__", None) is not getattr(Callback, method)
