"""A whole step as one CUDA graph: forward, backward, the optimizer. The CPU launches all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from probae.engine.agreement import deviation
from probae.engine.batches import Batch
from probae.engine.recording import Outputs, Recording, tensors_of, undone

if TYPE_CHECKING:
    from probae.engine.backends import Program
    from probae.engine.programs import Programs
    from probae.engine.update import Update

_DEVICES = {"cuda"}
_WARM_UP = 3


def can_capture(device: torch.device) -> bool:
    """Whether a device has graphs."""
    return device.type in _DEVICES


class Capture:
    """A recorded call and the update that follows it, captured together.

    A replay reads its batch where the first one lay, and its learning rates from tensors; everything else is as it was
    when it was captured, which `fits` compares. Before it is used, a replay has given the parameters that the same
    program gives when it is launched piece by piece.

    Args:
        program: runs the recording.
        recording: what is run.
        update: what is done with its outputs.
        batch: an example.
        programs: whose parameters and buffers change.
        device: a CUDA device.

    Raises:
        RuntimeError: if something in it cannot be captured, such as an optimizer that looks at numbers; or a replay
            gives other ones.
    """

    def __init__(
        self, program: Program, recording: Recording, update: Update, batch: Batch, programs: Programs,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.update, self._programs, self._device = update, programs, device
        self._settings, self._state = update.frozen(), update.state()
        place = pytree.tree_map_only(Tensor, torch.clone, (batch.args, dict(batch.kwargs)))
        self._places = tensors_of(Batch(*place))
        inputs = recording.inputs(Batch(*place))

        def step() -> Outputs:
            outputs = recording.outputs(program(inputs))
            update(outputs)
            return outputs

        self._piece_by_piece = step
        with self._undone():
            step()
        if not self.fits():
            raise RuntimeError("the optimizer has not yet made all that it keeps")
        with update.capturing(), self._undone():
            self._replay, self._outputs = captured(step, device)
        if (found := self.deviation()) is not None:
            raise RuntimeError(f"a replay gives other numbers: {found}")

    def __call__(self, batch: Batch) -> Outputs:
        """Take the step. The next one overwrites these outputs."""
        for place, tensor in zip(self._places, tensors_of(batch), strict=True):
            place.copy_(tensor, non_blocking=True)
        self.update.refresh()
        self._replay()
        return self._outputs

    def deviation(self) -> str | None:
        """What a replay leaves otherwise than the step in pieces, under the same noise, in words; None if nothing."""
        changed = [*self._programs.leaves(), *self._state]
        self.update.refresh()
        found = []
        for step in (self._piece_by_piece, self._replay):
            with self._undone():
                step()
                found.append([tensor.detach().clone() for tensor in changed])
        return deviation(*found)

    def fits(self) -> bool:
        """Whether the optimizer is still as it was when the step was captured."""
        state = self.update.state()
        same = len(state) == len(self._state) and all(map(_is, state, self._state))
        return same and self.update.frozen() == self._settings

    @contextmanager
    def _undone(self) -> Generator[None]:
        with torch.no_grad(), undone(self._programs, self._device, self._state):
            yield


def captured(step: Callable[[], Outputs], device: torch.device) -> tuple[Callable[[], None], Outputs]:
    """Capture what a function launches on a CUDA device.

    Returns:
        What launches it again, and the outputs that it overwrites each time.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose and allocate in the first calls, which cannot be captured
            for _ in range(_WARM_UP):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a loader's thread may copy meanwhile
            outputs = step()
    return graph.replay, outputs


def _is(one: object, other: object) -> bool:
    return one is other
