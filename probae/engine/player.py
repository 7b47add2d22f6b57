"""Run a function of a batch as fast as it goes: as written, from a recording, or compiled. The numbers are the same."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from probae.engine.batches import Batch
from probae.engine.plans import auto, fixed
from probae.engine.programs import Programs
from probae.engine.recording import Function, Outputs, pinned
from probae.engine.take import Take
from probae.engine.update import Update

_log = logging.getLogger("probae")
_MOST_TAKES = 16
_MOST_REPLACED = 3
WAYS = ("eager", "trace", "inductor", "cudagraph")


class Player:
    """Calls a function of a batch; from some call on, a recording of it.

    The function runs Pyro programs over tensors and returns tensors: a loss with its gradients, log-weights. Each kind
    of batch (the shapes of its tensors, its other arguments, what trains) has a recording of its own. A recording is
    compared with an eager call under the same noise at its start, after 2, 4, 8, ... and then every 512 calls, and
    when `look_again` says so; where they differ, the eager call's numbers stand, and the function is recorded anew, or
    no more.

    Args:
        function: batch -> tensors or None; what it draws, looks up and returns hangs on tensors alone, once the kind
            of the batch is given. What does not is noticed as far as it can be, and then runs as written.
        programs: whose parameters and buffers it reads and changes.
        device: where it runs.
        way: "eager", "trace", "inductor" or "cudagraph" (see `probae.engine.backends`), or "auto": the fastest of
            them, if finding it pays.
        outlook: how many calls are still to come, by which "auto" decides.
        decided: the ways of an earlier run, `Player.ways`, which "auto" takes over without timing anything.
        tolerance: largest deviation of a recording from an eager call, relative to the largest number of a tensor; by
            default that of the dtype.
        update: done with the outputs of each call, but for those of `eager`, and captured with it.
    """

    def __init__(
        self, function: Function, programs: Programs, device: torch.device, *, way: str = "auto",
        outlook: Callable[[], float] = lambda: 0.0, decided: Mapping[str, str] | None = None,
        tolerance: float | None = None, update: Update | None = None,
    ) -> None:  # fmt: skip
        self.function, self.programs, self.device = function, programs, device
        self.way, self.outlook, self.decided, self.tolerance = way, outlook, dict(decided or {}), tolerance
        self.update, self.calls = update, 0
        self.refused = set[str]()
        self._replaced = 0
        self._numbers = self._plain()
        self.forget()

    def __call__(self, batch: Batch) -> Outputs:
        """The function's outputs."""
        take = None if self.way == "eager" else self._take(batch)
        if take is None:
            outputs = self.eager(batch)
            if self.update is not None:
                self.update(outputs)
            return outputs
        self.calls += 1
        return take(batch)

    def eager(self, batch: Batch) -> Outputs:
        """Call the function as it is written; buffers that it replaces are changed in place."""
        with pinned(self.programs):
            return self.function(batch)

    def forget(self) -> None:
        """Drop all recordings: the programs have other parameters now."""
        self._takes: dict[Hashable, Take] = {}
        self._leaves = self.programs.leaves()
        self._modules = [part for module in self.programs.modules for part in module.modules()]

    def has(self, take: Take) -> bool:
        """Whether a take is still in use."""
        return any(one is take for one in self._takes.values())

    def look_again(self, now: bool = False) -> None:
        """Something may have changed, such as by a callback: compare the next call with an eager one.

        Args:
            now: also if one was compared not long ago.
        """
        leaves, plain = self.programs.leaves(), self._plain()
        if len(leaves) != len(self._leaves) or any(a is not b for a, b in zip(leaves, self._leaves, strict=True)):
            self._replaced += bool(self._takes)
            if self._replaced > _MOST_REPLACED:
                self.give_up("parameters or buffers are replaced by other tensors again and again")
            _log.info("parameters or buffers were replaced: what was recorded is forgotten")
            self.forget()
        now, self._numbers = now or plain != self._numbers, plain
        for take in self._takes.values():
            take.look_again(now)

    def give_up(self, why: str) -> None:
        """Run everything as written from now on, and say so."""
        self.way = "eager"
        self._takes = {}
        self.tell(why)

    def tell(self, what: str, loudly: bool = True, instead: str = "as the program is written") -> None:
        """Warn, or leave a line in the log."""
        _log.info("%s", what)
        if loudly:
            warnings.warn(f"{what}. All that follows runs {instead}", UserWarning, stacklevel=2)

    @property
    def ways(self) -> dict[str, str]:
        """How each kind of batch runs, where that is decided; by the kind in words."""
        found = {_in_words(kind): take.way for kind, take in self._takes.items() if take.plan is None}
        return {**self.decided, **found}

    @property
    def settled(self) -> bool:
        """Whether it is decided how each kind of batch that has come up runs."""
        return all(take.plan is None for take in self._takes.values())

    @property
    def chosen(self) -> str:
        """How most calls run."""
        takes = sorted(self._takes.values(), key=lambda take: take.calls)
        return takes[-1].way if takes else "eager"

    def _plain(self) -> list[Any]:
        """Numbers and words among the modules' attributes, which a callback may have set."""
        modules = [part for module in self.programs.modules for part in module.modules()]
        return [(key, value) for part in modules for key, value in vars(part).items()
                if isinstance(value, (int, float, str)) and key != "training"]  # fmt: skip

    def _take(self, batch: Batch) -> Take | None:
        kind = self._kind(batch)
        try:
            take = self._takes.get(kind)
        except TypeError:  # an argument that cannot be hashed
            return None
        if take is None and len(self._takes) < _MOST_TAKES:
            take = self._takes[kind] = self._new(_in_words(kind))
        return take

    def _new(self, kind: str) -> Take:
        take = Take(self, is_first=not self._takes)
        earlier = self.decided.get(kind)
        if earlier is not None and self.way in ("auto", earlier):
            take.is_first, take.plan = True, fixed(take, earlier)
        else:
            take.plan = auto(take, self.outlook) if self.way == "auto" else fixed(take, self.way)
        return take

    def _kind(self, batch: Batch) -> Hashable:
        """What a recording of a call is good for."""
        trains = tuple([leaf.requires_grad for leaf in self._leaves])
        modes = tuple([module.training for module in self._modules])
        return _kind(batch.args), _kind(batch.kwargs), trains, modes, torch.is_grad_enabled()


def _in_words(kind: Hashable) -> str:
    return hashlib.sha256(repr(kind).encode()).hexdigest()[:16]


def _kind(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.stride(), value.dtype, value.device, value.requires_grad
    if isinstance(value, Mapping):
        return tuple([(key, _kind(item)) for key, item in value.items()])
    if isinstance(value, (tuple, list)):
        return tuple([_kind(item) for item in value])
    return value
