"""Record the tensor arithmetic of a Pyro program as a graph, from which its effect handlers are gone."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.infer
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.utils import _pytree as pytree

from probae.engine import graphs
from probae.engine.batches import Batch
from probae.engine.programs import Programs
from probae.engine.randomness import random_state, set_random_state
from probae.engine.touched import Touched
from probae.inference import stepping

Outputs = list[Tensor | None]
Function = Callable[[Batch], Outputs]


class NotRecordableError(Exception):
    """Why a program cannot be recorded, in words that follow "the step cannot be recorded: "."""


class Recording:
    """A graph of tensors that does what a function of a batch did when it was recorded.

    Attributes:
        module: (state, batch's tensors, constants) -> outputs that are tensors.
        state: the parameters and buffers that it reads, and changes in place.
        constants: tensors that the program holds elsewhere, by reference.
    """

    def __init__(
        self, module: GraphModule, state: list[Tensor], constants: list[Tensor], missing: list[bool],
        sites: dict[Node, str],
    ) -> None:  # fmt: skip
        self.module, self.state, self.constants = module, state, constants
        self._missing, self._sites = missing, sites

    def inputs(self, batch: Batch) -> list[Tensor]:
        """What the graph is called with."""
        return [*self.state, *tensors_of(batch), *self.constants]

    def outputs(self, tensors: Any) -> Outputs:
        """The function's outputs from the graph's: None where there was no tensor."""
        left = iter(tensors)
        return [None if missing else next(left) for missing in self._missing]

    def change_since(self, other: Recording) -> str | None:
        """What a later recording of the same program does otherwise, in words; None if nothing."""
        if (found := graphs.difference(self.module, other.module)) is not None:
            node, words = found
            return words + _where(self.module, self._sites, node)
        for mine, theirs in zip(self.constants, other.constants, strict=True):
            if mine is not theirs and not _equal(mine, theirs):
                return "a tensor that it holds was replaced by another one"
        return "an output came or went" if self._missing != other._missing else None


def _where(module: GraphModule, sites: dict[Node, str], node: Node) -> str:
    """The site in whose statement a node came to be, or the first one after it."""
    later = False
    for other in module.graph.nodes:
        later = later or other is node
        if later and other in sites:
            return f", at or before sample site {sites[other]!r}"
    return ", after all sample sites"


def tensors_of(batch: Batch) -> list[Tensor]:
    """The tensors in a batch, nested ones laid out flat."""
    return [leaf for leaf in pytree.tree_leaves((batch.args, dict(batch.kwargs))) if isinstance(leaf, Tensor)]


def record(function: Function, batch: Batch, programs: Programs, device: torch.device) -> Recording:
    """Record a function of a batch, twice. Parameters, buffers and random state stay as they were.

    Args:
        function: batch -> tensors or None; runs the programs.
        batch: an example of its argument. Everything in it that is no tensor becomes a constant.
        programs: whose parameters and buffers are inputs; what changes in place is changed by the recording too.
        device: whose random numbers are drawn.

    Raises:
        NotRecordableError: if the function looks at the value of a tensor, draws from Python's or NumPy's generators,
            or does something else the second time than the first; it says where.
    """
    touched = Touched(programs.leaves())
    with undone(programs, device), stepping.training_step(), pinned(programs), touched:
        function(batch)  # what programs look up or make once is not to be a part of the recording
    if touched.found:
        raise NotRecordableError(
            "it changes in place what is neither parameter nor buffer of its modules, such as its batch"
        )
    first = _recorded(function, batch, programs, device)
    second = _recorded(function, batch, programs, device)
    if (change := first.change_since(second)) is not None:
        raise NotRecordableError(f"it does not do the same each time: {change}")
    return second


def given(tensor: Tensor | None) -> Tensor:
    """An output that is always there."""
    if tensor is None:
        raise TypeError("expected a tensor, got None")
    return tensor


def is_recording() -> bool:
    """Whether what runs now is being recorded."""
    return get_proxy_mode() is not None


def _recorded(function: Function, batch: Batch, programs: Programs, device: torch.device) -> Recording:
    state, missing, watch = programs.leaves(), list[bool](), _Sites()

    def run(*_: Tensor) -> list[Tensor]:  # the very tensors that the programs hold, which makes them inputs
        with watch, pinned(programs):
            outputs = function(batch)
        missing[:] = [output is None for output in outputs]
        return [output for output in outputs if output is not None]

    generators = _other_generators()
    with undone(programs, device), stepping.training_step(), pyro.validation_enabled(False):
        try:
            module = make_fx(run)(*state, *tensors_of(batch))
            graphs.tidy(module)
            constants = graphs.lift_constants(module)
            if (node := graphs.sized_by_values(module)) is not None:
                where = _where(module, watch.sites, node)
                raise NotRecordableError(f"the size of a tensor hangs on values, as in x[mask]{where}")
        except NotRecordableError:
            raise
        except Exception as error:
            raise NotRecordableError(_reason(error) + watch.where() + _hint(programs)) from error
        if _other_generators() != generators:
            raise NotRecordableError("it draws from Python's or NumPy's random generator, and a recording would not")
    _keep_layouts(module)
    return Recording(module, state, constants, missing, watch.sites)


def _reason(error: Exception) -> str:
    message = str(error).partition("\n")[0]
    if "trying to get value out of a tracing tensor" in message:
        return f"it looks at the value of a tensor (.item(), float(...), an `if` on it){_place(error)}"
    return f"{type(error).__name__}: {message}{_place(error)}"


def _hint(programs: Programs) -> str:
    objective = getattr(programs.objective, "__self__", programs.objective)
    is_pyros = isinstance(objective, pyro.infer.ELBO)
    return ". Pyro's own losses look at values in each step; pb.ELBO and pb.IWAE do not" if is_pyros else ""


def _place(error: Exception) -> str:
    """The last line that is neither torch's nor ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_INSIDE)]
    return f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


_INSIDE = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")


def _keep_layouts(module: GraphModule) -> None:
    """Of what recording has noted on each node, keep the layout and the device: the rest holds the tensors alive."""
    for node in module.graph.nodes:
        value = node.meta.get("val")
        kept = {"tensor_meta": node.meta["tensor_meta"], "device": value.device} if isinstance(value, Tensor) else {}
        node.meta.clear()
        node.meta.update(kept)


class _Sites(Messenger):
    """Notes where in the graph each sample statement ended, and which one is being run."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[Node, str] = {}
        self.trying: str | None = None

    def _pyro_sample(self, msg: Any) -> None:
        self.trying = msg["name"]

    def _pyro_post_sample(self, msg: Any) -> None:
        self.trying = None
        if (mode := get_proxy_mode()) is not None:
            self.sites[next(reversed(mode.tracer.graph.nodes))] = msg["name"]

    def where(self) -> str:
        """In words, after a failure."""
        if self.trying is not None:
            return f", at sample site {self.trying!r}"
        return f", after sample site {next(reversed(self.sites.values()))!r}" if self.sites else ""


@contextmanager
def undone(programs: Programs, device: torch.device, also: Sequence[Tensor] = ()) -> Generator[None]:
    """What runs inside leaves parameters, buffers, other tensors and random state as they were."""
    saved, state = [(leaf, leaf.detach().clone()) for leaf in (*programs.leaves(), *also)], random_state(device)
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 (what a program would draw from)
    stepping.end_step()  # who moves once a step may move inside as well
    try:
        yield
    finally:
        set_random_state(state, device)
        random.setstate(pythons)
        np.random.set_state(numpys)  # noqa: NPY002
        with torch.no_grad():
            for leaf, value in saved:
                if not torch.equal(leaf, value):  # a buffer that nobody changes may not even be writable
                    leaf.copy_(value)


@contextmanager
def pinned(programs: Programs) -> Generator[None]:
    """Buffers that a program replaces by other tensors are changed in place instead."""
    before = programs.buffers()
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer in before:
                now = getattr(module, name)
                if now is not buffer:
                    buffer.copy_(now)
                    setattr(module, name, buffer)


def _other_generators() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global one is what a program would use)
    return random.getstate(), name, keys.tobytes(), *rest  # pyright: ignore[reportAttributeAccessIssue]


def _equal(a: Tensor, b: Tensor) -> bool:
    same = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
    return same and bool(torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True))
