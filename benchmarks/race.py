"""A race: the engine inside one `pb.fit`, and its peers whenever an epoch of it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import probae as pb
from benchmarks.common import Timing
from benchmarks.turns import Turns

Turn = Callable[[], object]
"""Takes a turn: a fixed number of steps."""

ENGINE = "engine"
_FOREVER = 1_000_000  # epochs: what the engine may prepare pays, as in a long run; the race stops it


@dataclass(frozen=True)
class Outcome:
    """What a race measured.

    Attributes:
        timings: seconds a step (or for the whole work), by competitor, the engine first.
        starts: seconds until a competitor ran steadily, beyond what the same work takes then: building, compiling,
            timing candidates, first steps.
        skipped: why a competitor did not run.
        mode: in which way the engine ran.
        notes: whatever else is to be kept.
    """

    timings: dict[str, Timing]
    starts: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    mode: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class Pausing(pb.Callback):
    """Ends the engine's turn after every `epochs` epochs; lets it go on when the guests have taken theirs.

    The engine has warmed up when it has decided how to run each kind of batch, and nothing new came up in a turn.
    """

    def __init__(self, turns: Turns, epochs: int = 1) -> None:
        self.turns, self.epochs, self.mode = turns, epochs, None
        self._kinds = -1
        turns.ready = lambda: self._settled

    def on_epoch_end(self, training: Any) -> None:
        if training.epoch % self.epochs:
            return
        player = training.descent.player
        kinds, self._kinds = self._kinds, len(player.ways)
        self._settled, self.mode = player.settled and self._kinds == kinds, player.chosen
        if not self.turns.ended():
            training.stop("measured")


def race(
    fit: Callable[[pb.Callback], object],
    peers: Mapping[str, Callable[[], Turn]],
    *,
    steps: int,
    repeats: int,
    warmup: int = 2,
    epochs: int = 1,
    device: str = "cpu",
) -> Outcome:
    """Measure the engine's steps and its peers' in alternation, in steady state.

    Args:
        fit: trains with the callback that it is given, until that stops it.
        peers: name -> makes what takes a turn of `steps` steps. One that raises is skipped, and it is said why.
        steps: of a turn.
        repeats: measured turns of each.
        warmup: turns of each before, at least; the engine has as many as it needs to decide how to run.
        epochs: of the engine, which make a turn.
        device: where everybody works.

    Raises:
        RuntimeError: if the engine ended before its time, or took another number of steps.
    """
    wait = waiter(device)
    built, making, skipped = build(peers, wait)
    turns = Turns(ENGINE, built, repeats=repeats, warmup=warmup, wait=wait)
    pause = Pausing(turns, epochs)
    turns.start()
    run = fit(pause)
    if not turns.complete:
        raise RuntimeError(f"the engine stopped before its {repeats} turns were over: {run}")
    total = {name: sum(turns.before[name]) + making.get(name, 0.0) for name in turns.seconds}
    idle = {name: len(turns.before[name]) + (name != ENGINE) for name in turns.seconds}
    starts = {name: max(0.0, total[name] - idle[name] * turns.timings[name].median) for name in total}
    timings = {name: timing.scaled(1 / steps) for name, timing in turns.timings.items()}
    return Outcome(timings, starts, skipped, pause.mode)


def build(
    peers: Mapping[str, Callable[[], Turn]], wait: Turn
) -> tuple[dict[str, Turn], dict[str, float], dict[str, str]]:
    """Make each peer and let it take one turn. Returns those that could, their seconds, and why others could not."""
    built: dict[str, Turn] = {}
    seconds: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for name, make in peers.items():
        start = time.perf_counter()
        try:
            turn = make()
            turn()
            wait()
        except Exception as error:  # whatever breaks a peer must not break the race, and is reported
            skipped[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:200]
            continue
        built[name], seconds[name] = turn, time.perf_counter() - start
    return built, seconds, skipped


def engine(
    model: Any, guide: Any, data: Any, extra: tuple[pb.Callback, ...] = (), **settings: Any
) -> Callable[[pb.Callback], pb.Run]:
    """What trains a pair with `pb.fit` until a callback stops it."""

    def train(callback: pb.Callback) -> pb.Run:
        watchers = [*extra, callback]
        return pb.fit(model, guide, data, epochs=_FOREVER, seed=0, progress=False, callbacks=watchers, **settings)

    return train


def waiter(device: str) -> Turn:
    """Waits for the device's work."""
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
