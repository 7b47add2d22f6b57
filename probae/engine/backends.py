"""Ways to run a recorded graph: as it is, or through torch's compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from probae.engine import graphs
from probae.engine.recording import Recording

Program = Callable[[list[Tensor]], Any]
"""Runs a recording on its inputs; returns its tensors."""


def trace(recording: Recording) -> Program:
    """The graph of ATen operations, one after the other: the same numbers as eager execution, bit for bit."""
    return lambda inputs: recording.module(*inputs)


def inductor(recording: Recording) -> Program:
    """Compiled by torch's inductor: elementwise work is fused; rounding differs, noise does not."""
    return _compiled(recording)


BACKENDS: dict[str, Callable[[Recording], Program]] = {"trace": trace, "inductor": inductor}


def seconds_to_compile(recording: Recording) -> float:
    """A guess, on two cores with an empty cache: what was seen for graphs of a hundred to a thousand operations."""
    return 5.0 + 0.03 * graphs.num_operations(recording.module)


def _compiled(recording: Recording) -> Program:
    """Compiles at its first call. By inductor itself: what `torch.compile` puts around it costs a tenth of a step."""
    from torch._inductor import standalone_compile

    options = {"fallback_random": True}  # inductor's own generator would give other numbers
    halves = graphs.split_noise(recording.module)
    noise, module = (list, recording.module) if halves is None else halves
    compiled: Any = None

    def run(inputs: list[Tensor]) -> Any:
        nonlocal compiled
        everything = [*inputs, *noise()]
        if compiled is None:
            compiled = standalone_compile(
                module, everything, dynamic_shapes="from_example_inputs", options={"config_patches": options}
            )
        return compiled(*everything)

    return run
