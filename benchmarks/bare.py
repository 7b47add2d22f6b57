"""The engine's own step in a bare loop: the program that it plays and its optimizer, with nothing around them."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from torch import Tensor

import probae as pb
from probae.engine.backends import BACKENDS
from probae.engine.batches import Batch
from probae.engine.recording import record
from probae.inference import stepping


class BareLoop(pb.Callback):
    """Takes an epoch of steps with the model and the optimizer of the run that it watches, in the way of that run.

    Before the run has ended an epoch it does nothing.

    Args:
        batches: of an epoch, cut beforehand.
    """

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches, self.training, self.mode = batches, None, None

    def on_epoch_end(self, training: Any) -> None:
        """See how the run goes; record the same step where its way is another one than before."""
        self.training = training
        if self.mode != (mode := training.descent.player.chosen):
            self.mode = mode
            self._prepare()

    def _prepare(self) -> None:
        programs = self.training.programs
        self.parameters = [p for p in programs.parameters() if p.requires_grad]
        self.inputs = None
        if self.mode != "eager":
            recording = record(self._gradient, Batch((self.batches[0],), {}), programs, self.training.device)
            self.program = BACKENDS["trace" if self.mode == "trace" else "inductor"](recording)
            self.inputs = recording.inputs(Batch((self.batches[0],), {}))
            self.place = next(i for i, tensor in enumerate(self.inputs) if tensor is self.batches[0])

    def _gradient(self, batch: Batch) -> list[Tensor | None]:
        programs = self.training.programs
        loss = programs.objective(programs.model, programs.guide, *batch.args) / len(batch.args[0])
        return [loss.detach(), *torch.autograd.grad(loss, self.parameters)]

    def __call__(self) -> None:
        """Take the steps."""
        if self.training is None:
            return
        optimizer = self.training.descent.optimizer
        with stepping.engine(), pyro.validation_enabled(False):
            for x in self.batches:
                for p, gradient in zip(self.parameters, self._gradients(x), strict=True):
                    p.grad = gradient
                optimizer.step()
        optimizer.zero_grad()

    def _gradients(self, x: Tensor) -> list[Tensor | None]:
        if self.inputs is None:
            return self._gradient(Batch((x,), {}))[1:]
        self.inputs[self.place] = x
        with torch.no_grad():
            return list(self.program(self.inputs))[1:]
