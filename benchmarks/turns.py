"""Turn taking with a competitor that is entered once and cannot be called again and again, such as a training run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from benchmarks.common import Timing


class Turns:
    """A host that runs by itself, and guests that are called in between: A B C, then C B A, as in `interleave`.

    The host calls `start` when it begins and `ended` when a turn of its is over; guests take their turns inside
    `ended`, so that nobody's clock runs while others work.

    Args:
        host: its name.
        guests: name -> what takes one turn.
        repeats: measured turns of each.
        warmup: turns of each before.
        wait: waits for work that a turn has started elsewhere, such as `torch.cuda.synchronize`.
        ready: whether the host has warmed up; until it says so, or `warmup_limit` turns are over, warming up goes on.
        warmup_limit: at most this many turns of warming up; `warmup` where there is no `ready`.

    Attributes:
        seconds: of the measured turns, by name, in the order of the repeats.
        before: of the turns before.

    Example:
        >>> order = []
        >>> turns = Turns("a", {"b": lambda: order.append("b"), "c": lambda: order.append("c")}, repeats=3, warmup=0)
        >>> turns.start()
        >>> while order.append("a") or turns.ended():
        ...     pass
        >>> "".join(order)
        'abccbaabc'
    """

    def __init__(
        self, host: str, guests: Mapping[str, Callable[[], object]], *, repeats: int, warmup: int = 1,
        wait: Callable[[], object] = lambda: None, ready: Callable[[], bool] | None = None, warmup_limit: int = 50,
    ) -> None:  # fmt: skip
        self.host, self.guests, self.repeats, self.wait = host, dict(guests), repeats, wait
        self.warmup, self.ready, self.warmup_limit = warmup, ready, warmup_limit
        self.seconds: dict[str, list[float]] = {name: [] for name in (host, *guests)}
        self.before: dict[str, list[float]] = {name: [] for name in (host, *guests)}
        self._warm = warmup == 0

    @property
    def complete(self) -> bool:
        """Whether every competitor has had all its measured turns."""
        return all(len(seconds) == self.repeats for seconds in self.seconds.values())

    @property
    def timings(self) -> dict[str, Timing]:
        """The measured turns."""
        return {name: Timing(tuple(seconds)) for name, seconds in self.seconds.items()}

    def start(self) -> None:
        """The host begins a turn."""
        self.wait()
        self._clock = time.perf_counter()

    def ended(self) -> bool:
        """The host's turn is over, and guests take theirs. Returns whether the host is to take another."""
        self.wait()
        seconds = time.perf_counter() - self._clock
        if self._warm:
            self.seconds[self.host].append(seconds)
            self._measured(len(self.seconds[self.host]) - 1)
        else:
            self.before[self.host].append(seconds)
            self._call(self.guests, self.before)
            self._warm = self._has_warmed_up()
        self.start()
        return len(self.seconds[self.host]) < self.repeats

    def _measured(self, repeat: int) -> None:
        """After the host's turn: it was first in every second repeat, and last in the others."""
        if repeat % 2:
            return
        self._call(self.guests, self.seconds)
        if repeat + 1 < self.repeats:
            self._call(reversed(self.guests), self.seconds)

    def _has_warmed_up(self) -> bool:
        done = len(self.before[self.host])
        if self.ready is None:
            return done >= self.warmup
        return done >= self.warmup_limit or (done >= self.warmup and self.ready())

    def _call(self, names: Iterable[str], into: dict[str, list[float]]) -> None:
        for name in names:
            start = time.perf_counter()
            self.guests[name]()
            self.wait()
            into[name].append(time.perf_counter() - start)
