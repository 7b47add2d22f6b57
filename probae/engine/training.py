"""The training loop: epochs of steps, validation, the best model, and a state from which it continues exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.optim import Optimizer

from probae.engine.batches import Batch, Batches
from probae.engine.callbacks import Callback
from probae.engine.guard import Guard
from probae.engine.interrupt import Interrupt
from probae.engine.monitor import Monitor
from probae.engine.optimizers import Schedule
from probae.engine.programs import Programs, store_size
from probae.engine.randomness import random_state, set_random_state, stream
from probae.engine.run import History, Run
from probae.errors import ArgumentError, NonFiniteError
from probae.inference import stepping
from probae.inference.objective import Objective
from probae.inference.traces import probe

STATE_FORMAT = 1
_VALIDATION_SEED = 2_718_281


class Training:
    """One run of the engine over a model, a guide and batches; `fit` builds it, callbacks look at it.

    Nothing here asks what kind of model it trains: what training changes are parameters and buffers, what drives it
    is the objective, what judges it is the monitor.

    Attributes:
        epoch, batch, step: epochs completed, batches done in the current one, steps done in all.
        seconds: wall-clock time trained, earlier parts of a resumed run included.
        history: the columns of `Run.history`.
    """

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
    ) -> None:
        self.programs, self.batches, self.valid, self.monitor = programs, batches, valid, monitor
        self.schedule, self.clip_norm, self.callbacks = schedule, clip_norm, callbacks
        self.epochs, self.max_time, self.patience = epochs, max_time, patience
        self.seed, self.device = seed, device
        self.epoch = self.batch = self.step = 0
        self.seconds = 0.0
        self.history: History = {"epoch": [], "seconds": [], "learning_rate": [], "train_loss": []}
        if monitor is not None:
            self.history[f"valid_{monitor.name}"] = []
        self.best_epoch: int | None = None
        self._best: dict[str, Tensor] | None = None
        self._loss_sum: Tensor | None = None
        self._loss_weight = 0
        self._stopped = ""
        self._validated = False
        self._epoch_rng: dict[str, Tensor] | None = None
        self._make_optimizer = optimizer
        self._on_step = [c.on_step_end for c in callbacks if type(c).on_step_end is not Callback.on_step_end]

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole run, where that is known beforehand."""
        return self.epochs * self.batches.steps if self.epochs and self.batches.steps else None

    @property
    def progress(self) -> float:
        """How much of the run is done, by time if that is limited, else by steps: 0 to 1."""
        if self.max_time is not None:
            return min(self.seconds / self.max_time, 1.0)
        if self.total_steps:
            return min(self.step / self.total_steps, 1.0)
        return min(self.epoch / self.epochs, 1.0) if self.epochs else 0.0

    def stop(self, reason: str) -> None:
        """End the run after the current step."""
        self._stopped = self._stopped or reason

    def run(self, resume: dict[str, Any] | None = None) -> Run:
        """Train until the epochs or the time are over, or something stops it."""
        with stream(self.seed, self.device), self.programs.mode(training=True), Interrupt() as self._interrupt:
            self._start(resume)
            try:
                self._loop()
            except KeyboardInterrupt:
                self.stop("interrupted")
            finally:
                self._optimizer.zero_grad()
                for callback in self.callbacks:
                    callback.on_fit_end(self)
            return self._finish()

    # The start and the end of a run.

    def _start(self, resume: dict[str, Any] | None) -> None:
        self._clock = time.perf_counter()
        self._probe(next(self.batches.epoch(0)))
        parameters = self.programs.parameters()
        if not parameters:
            raise ArgumentError("model", "a model or guide with something to train", "no parameters in either")
        self._optimizer = self._make_optimizer(parameters)
        self._parameters = parameters
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        if resume is not None:
            self._load(resume)
        self._guard = Guard(self.programs, self.device)
        for callback in self.callbacks:
            callback.on_fit_start(self)

    def _probe(self, batch: Batch) -> None:
        """Run the pair once to see its plates and parameters; buffers and random state stay as they were."""
        before = self.programs.snapshot()
        with stepping.engine():
            self.structure, *traces = probe(self.programs.model, self.programs.guide, batch.args, batch.kwargs)
        self.programs.restore(before)
        self.programs.adopt(*traces)
        self._store_size = store_size()
        objective = self.programs.objective
        if isinstance(objective, Objective):
            objective.prepare(self.structure)

    def _finish(self) -> Run:
        state = self.state()
        if self._best is not None:
            self.programs.restore(self._best)
        elif self.epoch:
            self.best_epoch = self.epoch
        name = self.monitor.name if self.monitor else None
        return Run(self.history, name, self.best_epoch, self.seed, self.seconds, self._stopped or "finished", state)

    # The loop.

    def _loop(self) -> None:
        while not self._stopped and (self.epochs is None or self.epoch < self.epochs):
            self._one_epoch()
            if not self._stopped or self._epoch_done:
                self._end_epoch()

    def _one_epoch(self) -> None:
        now = random_state(self.device)
        if self.batch and self._epoch_rng is not None:
            set_random_state(self._epoch_rng, self.device)  # a stream of batches may draw its order from it
        else:
            self._epoch_rng = now
        source = self.batches.epoch(self.epoch, self.batch)
        first = self.batch > 0
        self._epoch_done = False
        while (batch := next(source, None)) is not None:
            if first:
                set_random_state(now, self.device)
                first = False
            self._one_step(batch)
            if self._stopped and not self._at_end():
                return
        self._epoch_done = True

    def _at_end(self) -> bool:
        return self.batches.steps is not None and self.batch == self.batches.steps

    def _one_step(self, batch: Batch) -> None:
        first, self._validated = not self._validated, True
        if self.schedule is not None:
            factor = self.schedule(self.progress)
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
        self._guard.before()
        with stepping.training_step(), pyro.validation_enabled(first):
            loss = self._descend(batch, first)
        weight = batch.num_examples
        self._loss_sum = loss * weight if self._loss_sum is None else self._loss_sum + loss * weight
        self._loss_weight += weight
        self.batch += 1
        self.step += 1
        self.seconds += self._lap()
        for on_step in self._on_step:
            on_step(self)
        if self._interrupt.requested:
            self.stop("interrupted")
        if self.max_time is not None and self.seconds >= self.max_time:
            self.stop("time")

    def _descend(self, batch: Batch, first: bool) -> Tensor:
        programs = self.programs
        examples = self.structure.num_examples(batch.args, batch.kwargs)
        loss = programs.objective(programs.model, programs.guide, *batch.args, **batch.kwargs) / examples
        if not self._guard.fine(loss.detach(), self.step):
            self._fail(batch)
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            raise ArgumentError("objective", "a loss that depends on the parameters", "one without a gradient")
        loss.backward()
        if first:
            programs.warn_of_untrained()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.clip_norm)
        if store_size() != self._store_size:
            self._adopt_new(batch)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _adopt_new(self, batch: Batch) -> None:
        """A program has made parameters that it did not have before: they train from now on."""
        _, *traces = probe(self.programs.model, self.programs.guide, batch.args, batch.kwargs)
        self._store_size = store_size()
        new = self.programs.adopt(*traces)
        if new:
            self._optimizer.add_param_group({"params": new})
            self._rates.append(self._rates[0])
            self._parameters = self.programs.parameters()

    def _fail(self, batch: Batch) -> None:
        site = self._guard.recover(batch)
        where = f"at sample site {site!r}" if site else "outside the sample sites (a penalty?)"
        self.stop("not finite")
        raise NonFiniteError(
            f"the loss of step {self.step} is not finite, {where}. The last good parameters are kept. Try a smaller "
            "learning rate, clip_norm=, or data on a smaller scale",
            site=site, step=self.step, run=self._finish(),
        )  # fmt: skip

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._clock = now - self._clock, now
        return lap

    # The end of an epoch.

    def _end_epoch(self) -> None:
        self.epoch, self.batch = self.epoch + 1, 0
        loss = None if self._loss_sum is None else float(self._loss_sum) / self._loss_weight
        self._loss_sum, self._loss_weight = None, 0
        row: dict[str, float | None] = {"epoch": self.epoch, "train_loss": loss}
        row["learning_rate"] = float(self._optimizer.param_groups[0]["lr"])
        if self.monitor is not None and self.valid is not None:
            row[f"valid_{self.monitor.name}"] = self._validate(self.monitor, self.valid)
        self.seconds += self._lap()
        row["seconds"] = self.seconds
        for name, column in self.history.items():
            column.append(row[name])
        self._keep_best()
        for callback in self.callbacks:
            callback.on_epoch_end(self)

    def _validate(self, monitor: Monitor, valid: Batches) -> float:
        with (
            self.programs.mode(training=False),
            stepping.engine(),
            torch.no_grad(),
            stream(_VALIDATION_SEED, self.device),
            pyro.validation_enabled(False),
        ):
            return float(monitor.evaluate(valid.epoch(0)))

    def _keep_best(self) -> None:
        if self.monitor is None or self.valid is None or not self.monitor.selects:
            return
        column = self.history[f"valid_{self.monitor.name}"]
        best = None if self.best_epoch is None else column[self.best_epoch - 1]
        if best is None or (column[-1] or 0.0) > best:
            self.best_epoch = self.epoch
            self._best = self.programs.snapshot(self._best)
        elif self.patience is not None and self.epoch - (self.best_epoch or 0) >= self.patience:
            self.stop("early stopping")

    # The state.

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as one dictionary of tensors and plain values."""
        return {
            "format": STATE_FORMAT,
            "seed": self.seed,
            "tensors": self.programs.snapshot(),
            "optimizer": deepcopy(self._optimizer.state_dict()),
            "learning_rates": list(self._rates),
            "random": random_state(self.device),
            "random_at_epoch": self._epoch_rng or random_state(self.device),
            "position": {"epoch": self.epoch, "batch": self.batch, "step": self.step, "seconds": self.seconds},
            "loss": {"sum": None if self._loss_sum is None else self._loss_sum.clone(), "weight": self._loss_weight},
            "history": {name: list(column) for name, column in self.history.items()},
            "best": {"epoch": self.best_epoch, "tensors": self._best and {n: t.clone() for n, t in self._best.items()}},
        }

    def _load(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise ArgumentError("resume", f"a run's state of format {STATE_FORMAT}", _kind(state))
        if state["history"].keys() != self.history.keys():
            raise ArgumentError("resume", f"a history of {', '.join(self.history)}", ", ".join(state["history"]))
        self.programs.restore(state["tensors"])
        self._optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self._rates = list(state["learning_rates"])
        position = state["position"]
        self.epoch, self.batch, self.step = position["epoch"], position["batch"], position["step"]
        self.seconds = position["seconds"]
        self._loss_sum, self._loss_weight = state["loss"]["sum"], state["loss"]["weight"]
        self.history = {name: list(column) for name, column in state["history"].items()}
        self.best_epoch, best = state["best"]["epoch"], state["best"]["tensors"]
        self._best = best and {name: tensor.to(self.device).clone() for name, tensor in best.items()}
        self._epoch_rng = state["random_at_epoch"]
        set_random_state(state["random"], self.device)


def _kind(state: Any) -> str:
    return f"format {state.get('format')!r}" if isinstance(state, dict) else type(state).__name__
