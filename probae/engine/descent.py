"""One step down the gradient: the loss of a batch, its gradient, and what the optimizer makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.optim import Optimizer

from probae.engine.agreement import HALF_TOLERANCE
from probae.engine.batches import Batch
from probae.engine.capture import can_capture
from probae.engine.guard import Guard
from probae.engine.player import Player
from probae.engine.precision import PRODUCTS, products
from probae.engine.programs import Programs, store_size
from probae.engine.recording import NotRecordableError, given, is_recording
from probae.engine.update import Update
from probae.errors import ArgumentError, DataError
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
        accumulate: batches a step, at most.
        precision: of matrix products.
        way, outlook, decided: how steps run, see `Player`.

    Attributes:
        optimizer: torch's. A schedule multiplies each group's "initial_lr", which is its "lr" at the first step.
        player: computes losses and gradients.

    Raises:
        ArgumentError: if there is nothing to train, or the objective returns no loss that depends on it.
        NonFiniteError: if a loss is not finite.
    """

    def __init__(
        self, programs: Programs, batch: Batch, make_optimizer: Callable[[Iterable[Tensor]], Optimizer],
        clip_norm: float | None, device: torch.device, dtype: torch.dtype | None, accumulate: int = 1, *,
        precision: str | None, way: str, outlook: Callable[[], float], decided: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.programs, self.products = programs, products(precision)
        self.flags = self.products if precision == "tf32" else nullcontext  # a flag of the device is not recorded
        self.structure, _ = self._discover(batch)
        if isinstance(programs.objective, Objective):
            programs.objective.prepare(self.structure)
        programs.to(device, dtype)
        self._parameters = _trainable(programs)
        self.optimizer = make_optimizer(self._parameters)
        self.guard, self.update = Guard(programs, device), Update(self.optimizer, clip_norm, self._trained)
        self.is_whole = can_capture(device) and accumulate == 1  # then the player takes the whole step
        self.player = Player(
            self._gradient, programs, device, way=way, outlook=outlook, decided=decided,
            tolerance=HALF_TOLERANCE if precision in PRODUCTS else None, update=self.update if self.is_whole else None,
        )  # fmt: skip
        self._checked = bool(decided)  # by the run that goes on
        programs.forget_gradients()

    def step(
        self, batches: Sequence[Batch], number: int, factor: float | None = None, validate: bool = False
    ) -> Tensor:
        """Take one step on a few batches, its learning rate multiplied by `factor`.

        The first step is validated, and others where `validate` says so.

        Returns:
            The loss per example, on its device.
        """
        if factor is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        with self.flags(), stepping.engine():
            whole = self.is_whole and self._checked and not validate
            loss = self._losses(batches, number, validate, whole)
            if not whole:
                self.update.step()
        return loss

    def _losses(self, batches: Sequence[Batch], number: int, validate: bool, whole: bool) -> Tensor:
        """Leave the gradient in the parameters, and return the loss: the means over the examples of all batches.

        If `whole`, the gradient of the only batch is already applied.
        """
        counts = [self._num_examples(batch) for batch in batches]
        if 0 in counts:
            raise DataError("data", "batches of at least one example", "an empty one")
        total: Tensor | None = None
        for batch, count in zip(batches, counts, strict=True):
            weight = count / sum(counts)
            self.guard.before()
            with stepping.training_step():
                loss = self._add_gradient(batch, number, weight, validate, whole)
            if not self.guard.fine(loss, number):
                raise self.guard.failure(batch, number)
            loss = loss if weight == 1.0 else weight * loss
            total = loss if total is None else total + loss
        return total if total is not None else torch.zeros(())

    def _add_gradient(self, batch: Batch, number: int, weight: float, validate: bool, whole: bool) -> Tensor:
        try:
            with pyro.validation_enabled(validate or not self._checked):
                if not self._checked:
                    return self._first(batch, weight)
                loss, *gradients = (self.player.eager if validate else self.player)(batch)
        except (ValueError, RuntimeError) as error:
            if self.guard.holds():
                raise
            raise self.guard.failure(batch, number) from error
        if whole:
            return given(loss)
        for p, gradient in zip(self._trained(), gradients, strict=True):
            if gradient is None or weight == 1.0:
                p.grad = gradient if gradient is not None else p.grad
            else:
                p.grad = weight * gradient if p.grad is None else p.grad.add_(gradient, alpha=weight)
        return given(loss)

    def _first(self, batch: Batch, weight: float) -> Tensor:
        """The first loss, with all checks; it is backpropagated to whatever it reaches, with this weight."""
        self._checked = True
        loss = self._loss(batch)
        self._adopt(batch)
        if math.isfinite(loss.item()):
            with self.products():
                loss.backward()
            for p in self._trained() if weight != 1.0 else ():
                p.grad = None if p.grad is None else weight * p.grad
            self.programs.warn_of_untrained()
        return loss.detach()

    def _gradient(self, batch: Batch) -> list[Tensor | None]:
        """The loss of a batch and its gradients, each laid out like its parameter: what is recorded."""
        loss = self._loss(batch)
        self._adopt(batch)
        trained = self._trained()
        with self.products():
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        return [loss.detach(), *_laid_out(trained, gradients)]

    def _loss(self, batch: Batch) -> Tensor:
        """The loss per example."""
        programs = self.programs
        with self.products():
            loss = programs.objective(programs.model, programs.guide, *batch.args, **batch.kwargs)
        _check_loss(loss)
        return loss / self._num_examples(batch)

    def _num_examples(self, batch: Batch) -> int:
        return self.structure.num_examples(batch.args, batch.kwargs)

    def _trained(self) -> list[Tensor]:
        return [p for p in self._parameters if p.requires_grad]

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
        """If a program has just made parameters that it did not have before, they train from now on."""
        if store_size() == self._store_size:
            return
        if is_recording():
            raise NotRecordableError("it makes new parameters as it runs")
        _, new = self._discover(batch)
        if new:
            self.optimizer.add_param_group({"params": new})
            self._parameters = self.programs.parameters()
        self.player.forget()


def _laid_out(parameters: list[Tensor], gradients: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
    """Gradients with memory of their own, in the order of their parameters', as optimizers expect them."""
    seen: set[int] = set()
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None and gradient.layout == torch.strided:
            if gradient.stride() != p.stride() or gradient.data_ptr() in seen:
                gradient = torch.empty_like(p).copy_(gradient)
            seen.add(gradient.data_ptr())
        yield gradient


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
