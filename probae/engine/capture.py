"""A recorded call as one CUDA graph, with what follows it: forward, backward, the optimizer, launched at once."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from probae.engine.agreement import deviation
from probae.engine.batches import Batch
from probae.engine.randomness import random_state
from probae.engine.recording import Outputs, Recording, tensors_of, undone

if TYPE_CHECKING:
    from probae.engine.backends import Program
    from probae.engine.programs import Programs
    from probae.engine.update import Update

_DEVICES = {"cuda"}
_WARM_UP = 3
_TOLERANCE = 1e-2  # of what a step changes: the same kernels ran, but may add in another order


def can_capture(device: torch.device) -> bool:
    """Whether a device has graphs."""
    return device.type in _DEVICES


class Capture:
    """A recorded call, and the update that follows it if there is one, captured together.

    A replay reads its batch where the first one lay, and its learning rates from tensors; everything else is as it was
    when it was captured, which `fits` compares. Before it is used, a replay has to do what the same program does when
    it is launched piece by piece.

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
        self, program: Program, recording: Recording, update: Update | None, batch: Batch, programs: Programs,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.update, self._programs, self._device, self._recording = update, programs, device, recording
        self._fixed = self._what_is_fixed()
        place = pytree.tree_map_only(Tensor, torch.clone, (batch.args, dict(batch.kwargs)))
        self._places = tensors_of(Batch(*place))
        inputs = recording.inputs(Batch(*place))

        def step() -> Outputs:
            outputs = recording.outputs(program(inputs))
            if update is not None:
                update(outputs)
            return outputs

        self._in_pieces = step
        with self._undone():
            step()
            if not self.fits():
                raise RuntimeError("the optimizer counts in Python, or has yet to make some of its tensors")
        with nullcontext() if update is None else update.capturing(), self._undone():
            self._replay, self._outputs = captured(step, device)
        if (found := self.deviation()) is not None:
            raise RuntimeError(f"a replay does not do what the step does: {found}")

    def __call__(self, batch: Batch) -> Outputs:
        """Make the call. What the update has used is overwritten by the next one."""
        for place, tensor in zip(self._places, tensors_of(batch), strict=True):
            place.copy_(tensor, non_blocking=True)
        if self.update is not None:
            self.update.refresh()
        self._replay()
        used = 1 if self.update is not None else 0
        return [None if tensor is None else tensor.clone() for tensor in self._outputs[: used or None]]

    def fits(self) -> bool:
        """Whether all that it took for fixed is still so: where tensors lie, the optimizer's settings."""
        return self._what_is_fixed() == self._fixed

    def deviation(self) -> str | None:
        """What a replay does otherwise than the step in pieces, under the same noise, in words; None if nothing."""
        if self.update is not None:
            self.update.refresh()
        ours, theirs = self._done_by(self._in_pieces), self._done_by(self._replay)
        for mine, other in zip(ours, theirs, strict=True):  # each beside its like
            if (found := deviation(mine, other, _TOLERANCE)) is not None:
                return found
        return None

    def _done_by(self, step: Callable[[], object]) -> list[list[Tensor | None]]:
        """How a step changes each tensor and the random state, and what it returns."""
        tensors = [*self._programs.leaves(), *self._state()]
        with self._undone():
            before = [tensor.detach().clone() for tensor in tensors]
            outputs = step() or self._outputs
            changes = [_change(*pair) for pair in zip(before, tensors, strict=True)]
            noise = list(random_state(self._device).values())
            returned = [None if tensor is None else tensor.clone() for tensor in outputs]  # type: ignore[attr-defined]
        return [*([change] for change in changes), noise, returned]

    def _state(self) -> list[Tensor]:
        return [] if self.update is None else self.update.state()

    def _what_is_fixed(self) -> list[object]:
        recording, settings = self._recording, [] if self.update is None else self.update.frozen()
        return [*settings, *(t.data_ptr() for t in (*recording.state, *recording.constants, *self._state()))]

    @contextmanager
    def _undone(self) -> Generator[None]:
        kept = nullcontext() if self.update is None else self.update.undone()
        with torch.no_grad(), kept, undone(self._programs, self._device, self._state()):
            yield


def captured(step: Callable[[], Outputs], device: torch.device) -> tuple[Callable[[], None], Outputs]:
    """Capture what a function launches on a CUDA device.

    Returns:
        What launches it again, and the outputs that it overwrites each time.
    """
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream()):  # which is so again afterwards
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):  # libraries choose and allocate in the first calls, which cannot be captured
                for _ in range(_WARM_UP):
                    step()
                with _no_waiting():
                    step()
        finally:
            torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with _no_collecting(), torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
            outputs = step()
    return graph.replay, outputs


@contextmanager
def _no_waiting() -> Generator[None]:
    """What would wait for the device fails here: within a capture it would leave more behind than an error."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]ynchronization debug mode.*")
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _no_collecting() -> Generator[None]:
    """No graph of an earlier run is destroyed meanwhile, which a capture does not survive."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _change(before: Tensor, after: Tensor) -> Tensor:
    return after.detach() - before if after.is_floating_point() else after.detach().clone()
