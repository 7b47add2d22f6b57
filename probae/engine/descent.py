"""One step down the gradient: the loss of a batch, its gradient, and what the optimizer makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from probae.engine.batches import Batch
from probae.engine.guard import Guard
from probae.engine.programs import Programs, store_size
from probae.errors import ArgumentError
from probae.inference import stepping
from probae.inference.objective import Objective
from probae.inference.traces import Structure, probe


class Descent:
    """Steps of an optimizer along the gradient of an objective.

    Runs the pair once to find its plates and parameters; buffers and random state stay as they were.

    Args:
        programs: what trains.
        batch: the first one, to run the pair on.
        make_optimizer: from the parameters.
        clip_norm: largest norm of the gradient.
        device, dtype: where parameters go that come into being in the first run.

    Attributes:
        optimizer: torch's. A schedule multiplies each group's "initial_lr", which is its "lr" at the first step.

    Raises:
        ArgumentError: if there is nothing to train, or the objective returns no loss that depends on it.
        NonFiniteError: if a loss is not finite.
    """

    def __init__(
        self, programs: Programs, batch: Batch, make_optimizer: Callable[[Iterable[Tensor]], Optimizer],
        clip_norm: float | None, device: torch.device, dtype: torch.dtype | None,
    ) -> None:  # fmt: skip
        self.programs, self.clip_norm = programs, clip_norm
        self.structure, _ = self._discover(batch)
        if isinstance(programs.objective, Objective):
            programs.objective.prepare(self.structure)
        programs.to(device, dtype)
        self.optimizer = make_optimizer(_trainable(programs))
        self.guard = Guard(programs, device)
        self._checked = False
        programs.forget_gradients()

    def step(self, batch: Batch, number: int, factor: float | None = None, validate: bool = False) -> Tensor:
        """Take one step, its learning rate multiplied by `factor`. Returns the loss per example, on its device.

        The first step is validated, and others where `validate` says so.
        """
        first, self._checked = not self._checked, True
        if factor is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        self.guard.before()
        with stepping.training_step(), pyro.validation_enabled(first or validate):
            loss = self._loss(batch, number, first)
            loss.backward()
            if first:
                self.programs.warn_of_untrained()
            if store_size() != self._store_size:
                self._adopt(batch)
            if self.clip_norm is not None:
                clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], self.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _loss(self, batch: Batch, number: int, first: bool) -> Tensor:
        programs = self.programs
        try:
            loss = programs.objective(programs.model, programs.guide, *batch.args, **batch.kwargs)
        except (ValueError, RuntimeError) as error:
            if self.guard.holds():
                raise
            raise self.guard.failure(batch, number) from error
        if first:
            _check_loss(loss)
        loss = loss / self.structure.num_examples(batch.args, batch.kwargs)
        if not self.guard.fine(loss.detach(), number):
            raise self.guard.failure(batch, number)
        return loss

    def _discover(self, batch: Batch) -> tuple[Structure, list[Tensor]]:
        """Run the pair, and an objective that is not ours, to see plates and parameters. Returns the new ones too."""
        programs = self.programs
        before = programs.snapshot()
        devices = [x.device for x in (*batch.args, *batch.kwargs.values()) if isinstance(x, Tensor) and x.is_cuda]
        try:
            with stepping.naming() as named, poutine.block(), torch.random.fork_rng(devices[:1]):
                structure, *traces = probe(programs.model, programs.guide, batch.args, batch.kwargs)
                if not isinstance(programs.objective, Objective):
                    with poutine.trace(param_only=True) as capture:
                        programs.objective(programs.model, programs.guide, *batch.args, **batch.kwargs)
                    traces.append(capture.trace)
        finally:
            programs.restore(before)
        programs.own(named)
        self._store_size = store_size()
        return structure, programs.adopt(*traces)

    def _adopt(self, batch: Batch) -> None:
        """A program has made parameters that it did not have before: they train from now on."""
        _, new = self._discover(batch)
        if new:
            self.optimizer.add_param_group({"params": new})


def _trainable(programs: Programs) -> list[Tensor]:
    parameters = programs.parameters()
    if not any(p.requires_grad for p in parameters):
        got = "only frozen parameters (requires_grad=False)" if parameters else "no parameters in either"
        hint = "Register modules that a function uses with pyro.module" if programs.modules and not parameters else ""
        raise ArgumentError("model", "a model or guide with something to train", got, hint)
    return parameters


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise ArgumentError("objective", "one that returns a scalar tensor", f"one that returns {got}")
    if not loss.requires_grad:
        raise ArgumentError("objective", "a loss that depends on the parameters", "one without a gradient")
