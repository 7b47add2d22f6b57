"""One kind of call: its recording, the ways to run it, and the watch over it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probae.engine.agreement import deviation, same_random_state
from probae.engine.backends import BACKENDS, Program, seconds_to_compile
from probae.engine.batches import Batch
from probae.engine.capture import Capture, can_capture
from probae.engine.randomness import random_state, set_random_state
from probae.engine.recording import NotRecordableError, Outputs, Recording, record, undone

if TYPE_CHECKING:
    from probae.engine.plans import Plan
    from probae.engine.player import Player

_log = logging.getLogger("probae")

_CHECK_EVERY = 512
_BETWEEN_LOOKS = 200
_MOST_RENEWALS = 3
_MOST_STRIKES = 3
_FORGIVEN = 64  # calls after which a comparison that agrees clears all strikes


class Take:
    """Calls of one kind.

    Args:
        player: whose function is called.
        is_first: whether it is the first kind, taken for the main one.

    Attributes:
        recording: None until there is one.
        way: how the next call runs.
        plan: decides the way before each call; None once it is decided.
        calls: so far.
    """

    def __init__(self, player: Player, is_first: bool) -> None:
        self.player, self.is_first = player, is_first
        self.recording: Recording | None = None
        self.plan: Plan | None = None
        self.way = "eager"
        self.calls = 0
        self._programs: dict[str, Program] = {}
        self._capture: Capture | None = None  # for "cudagraph"
        self._captures = 0  # so far
        self._unsure = False  # whether the capture may not fit any more
        self._since = 0  # calls since the recording was made
        self._compared = 0  # `_since` when a call was last compared
        self._look = False  # whether the next one is to be
        self._seconds: float | None = None
        self._renewals = self._strikes = 0

    def __call__(self, batch: Batch) -> Outputs:
        """The function's outputs."""
        self.calls += 1
        if self.plan is None:
            return self._run(batch)
        self._proceed(batch)
        start = self._clock()
        outputs = self._run(batch)
        self._seconds = None if self.way != "eager" and self._is_due() else self._clock() - start
        return outputs

    def share(self) -> float:
        """Of all calls of the player, how many are of this kind."""
        return self.calls / max(self.player.calls, 1)

    def candidates(self) -> tuple[str, ...]:
        """Ways that this device has, the cheapest to make first."""
        return ("trace", "inductor", *(("cudagraph",) if can_capture(self.player.device) else ()))

    def look_again(self, now: bool) -> None:
        """Check the next call: always, or unless one was checked not long ago."""
        self._look = self._look or now or self._since - self._compared >= _BETWEEN_LOOKS
        self._unsure = True

    def prepare(self, way: str, *, loudly: bool = True) -> bool:
        """Record, and compile where that is asked. Returns whether it worked; if not, somebody is told."""
        if way in self.player.refused or self.player.way == "eager":
            return False
        try:
            self._programs[way] = self._made(way)
        except NotRecordableError as error:
            self.player.give_up(f"the step cannot be recorded: {error}")
        except Exception as error:  # a compiler may raise anything
            self.player.refused.add(way)
            message = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            instead = "as the program is written" if way == "trace" else "from the recording, or as it is written"
            self.player.tell(f"{way} cannot run the step: {message}", loudly, instead)
        return way in self._programs

    # Running.

    def _proceed(self, batch: Batch) -> None:
        """Let the plan choose the way of this call."""
        self._batch = batch
        try:
            self.way = self.plan.send(self._seconds) if self.calls > 1 else next(self.plan)  # type: ignore[union-attr]
        except StopIteration as decision:
            self.way, self.plan, self._batch = decision.value, None, Batch((), {})
            self._programs = {way: program for way, program in self._programs.items() if way == self.way}
            self._capture = self._capture if self.way == "cudagraph" else None

    def _run(self, batch: Batch) -> Outputs:
        if self.way not in self._programs:
            return self._end(self.player.eager(batch))
        self._since += 1
        if self._is_due():
            outputs = self._end(self._check(batch))
            self._check_capture()
            return outputs
        capture = self._captured(batch)
        return self._end(self._play(batch)) if capture is None else capture(batch)

    def _end(self, outputs: Outputs) -> Outputs:
        """Do what is to be done with the outputs of each call."""
        if self.player.update is not None:
            self.player.update(outputs)
        return outputs

    def _is_due(self) -> bool:
        """Whether a call is compared with an eager one: often at the start, then now and then."""
        return self._look or self._since & (self._since - 1) == 0 or self._since % _CHECK_EVERY == 0

    def _play(self, batch: Batch) -> Outputs:
        recording = self._recorded()
        with torch.no_grad():
            return recording.outputs(self._programs[self.way](recording.inputs(batch)))

    def _clock(self) -> float:
        if self.player.device.type == "cuda":
            torch.cuda.synchronize(self.player.device)
        return time.perf_counter()

    # Making.

    def _recorded(self) -> Recording:
        if self.recording is None:
            player = self.player
            self.recording = record(player.function, self._batch, player.programs, player.device)
        return self.recording

    def _made(self, way: str) -> Program:
        start, recording = time.perf_counter(), self._recorded()
        if way != "trace":
            _log.info("compiling the step, which takes about %.0f s", seconds_to_compile(recording))
        compiled = "inductor" if way == "cudagraph" else way  # which is captured when it runs
        program = self._programs.get(compiled) or BACKENDS[compiled](recording)
        with undone(self.player.programs, self.player.device), torch.no_grad():
            program(recording.inputs(self._batch))  # compilers wait for the first call; an operation may refuse it
        self._since = self._compared = 0
        _log.info("made %s in %.1f s", way, time.perf_counter() - start)
        return program

    def _captured(self, batch: Batch) -> Capture | None:
        """The call as one graph, captured anew where what it took for fixed has changed."""
        if self.way != "cudagraph" or self._captures > _MOST_RENEWALS:
            return None
        if self._capture is None or (self._unsure and not self._capture.fits()):
            self._captures, self._capture = self._captures + 1, None
            player, program = self.player, self._programs[self.way]
            try:
                if self._captures > _MOST_RENEWALS:
                    raise RuntimeError("the settings of the optimizer change again and again")
                self._capture = Capture(program, self._recorded(), player.update, batch, player.programs, player.device)
            except Exception as error:  # torch raises what it likes
                self._release(str(error).strip().partition("\n")[0])
        self._unsure = False
        return self._capture

    def _release(self, why: str) -> None:
        """From now on the call is launched in pieces."""
        self._capture, self._captures = None, _MOST_RENEWALS + 1
        self.player.tell(f"the step cannot be captured: {why}", self.player.way != "auto", "compiled, but in pieces")

    # Watching.

    def _check_capture(self) -> None:
        if self._capture is not None and self._capture.fits() and (found := self._capture.deviation()) is not None:
            self._release(f"a replay does not do what the step does: {found}")

    def _check(self, batch: Batch) -> Outputs:
        """Run both ways under the same noise. The recording's numbers stand if they agree, else the program's own."""
        self._look, self._compared = False, self._since
        player, state = self.player, self._recorded().state
        before, noise = _copies(state), random_state(player.device)
        eager = player.eager(batch)
        if not player.has(self):  # a parameter has come into being, and all recordings are forgotten
            return eager
        after, noise_after = _copies(state), random_state(player.device)
        _write(state, before)
        set_random_state(noise, player.device)
        tolerance = None if self.way == "trace" else player.tolerance
        try:
            outputs: Outputs = self._play(batch)
            # Each beside its like: a buffer that counts steps would make every gradient small.
            found = deviation(eager, outputs, tolerance) or deviation(after, state, tolerance)
        except Exception as error:  # what was recorded does not fit any more
            outputs, found = eager, f"it fails: {type(error).__name__}"
        if found is None and not same_random_state(noise_after, random_state(player.device)):
            found = "it draws other random numbers"
        if found is None:
            if self._since >= _FORGIVEN:  # numbers at the edge of the tolerance agree every second time
                self._strikes = 0
            return outputs
        _write(state, after)
        set_random_state(noise_after, player.device)
        self._renew(batch, found)
        return eager

    def _renew(self, batch: Batch, found: str) -> None:
        """A recording that is no longer what the program does is made anew, or given up."""
        player, old, ways = self.player, self._recorded(), [way for way in self._programs if way != self.way]
        self.recording, self._batch, self._programs, self._capture = None, batch, {}, None
        if not self.prepare(self.way) and self.prepare("trace"):
            self.way = "trace"
        for way in ways:
            self.prepare(way, loudly=False)
        if self.recording is None or not self._programs:
            self.way = "eager"
            return
        change = old.change_since(self._recorded())
        self._renewals, self._strikes = self._renewals + (change is not None), self._strikes + (change is None)
        if self._renewals > _MOST_RENEWALS:
            player.give_up(f"the step changes while it trains, which a recording does not follow: {change}")
        elif self._strikes >= _MOST_STRIKES and self.way != "trace" and self.prepare("trace"):
            found = f"{self.way} gives other numbers than the step itself: {found}"
            player.tell(found, instead="from the recording")
            self.way, self._strikes = "trace", 0
        elif self._strikes >= _MOST_STRIKES:
            player.give_up(f"a recording of the step gives other numbers than the step itself: {found}")
        else:
            _log.info("recorded anew: %s", change or found)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


def _write(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            if not torch.equal(tensor, value):  # what nobody changes may not even be writable
                tensor.copy_(value)
