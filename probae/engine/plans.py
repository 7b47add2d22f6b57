"""How to choose the way in which calls run: as somebody said, or the fastest by the clock, if finding it pays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from statistics import median
from typing import TYPE_CHECKING

from probae.engine.backends import seconds_to_compile

if TYPE_CHECKING:
    from probae.engine.take import Take

Plan = Generator[str, float | None, str]
"""Yields the way of the next call, is sent the seconds that it took (None: not comparable), returns the one to keep."""

_log = logging.getLogger("probae")

_PROBES = (8, 56, 448)  # eager calls before "auto" asks, and asks again, whether a recording pays
_TIMINGS = 7
_RARE = 0.1  # a kind with a smaller share of the calls is not worth a compilation
_HANDLERS = 0.1, 0.002  # what a recording saves of a call: this share, and at most these seconds
_FUSION = {"trace": 0.0, "inductor": 0.2, "cudagraph": 0.5}  # what a compiler saves besides; all of it cautious
_SECONDS_TO_RECORD = 1.5  # importing what records included


def fixed(take: Take, way: str) -> Plan:
    """The given way; a kind of batch that is not the first waits for others of its kind."""
    if way == "eager":
        return way
    for _ in range(0 if take.is_first else 20):
        yield "eager"
    if not take.is_first and way != "trace" and take.share() < _RARE:
        way = "trace"
    ways = (way, "trace") if way != "trace" else (way,)
    return next((way for way in ways if take.prepare(way)), "eager")


def auto(take: Take, outlook: Callable[[], float]) -> Plan:
    """The fastest way over a few calls. What the rest of the calls cannot win back is not tried."""
    spent: list[float | None] = []
    for probes in _PROBES:
        for _ in range(probes):
            spent.append((yield "eager"))
        calls, seconds = outlook() * take.share(), _median(spent[-_TIMINGS:])
        if calls * _saved("trace", seconds) > _SECONDS_TO_RECORD:
            break
    else:
        return "eager"
    ways = ["eager"]
    for way in take.candidates():
        if _pays(take, way, calls * _saved(way, seconds)) and take.prepare(way, loudly=False):
            ways.append(way)
    if len(ways) == 1:
        return "eager"
    times: dict[str, list[float | None]] = {way: [] for way in ways}
    while min(sum(seconds is not None for seconds in times[way]) for way in ways) < _TIMINGS:
        for way in ways:
            times[way].append((yield way))
    found = {way: _median(times[way]) for way in ways}
    best = min(ways, key=found.__getitem__)
    _log.info("%s is the fastest way: %s", best, ", ".join(f"{way} {1e3 * s:.2f} ms" for way, s in found.items()))
    return best


def _saved(way: str, seconds: float) -> float:
    """What can be expected to be saved, in seconds, of a call that takes so many eagerly."""
    share, most = _HANDLERS
    return min(share * seconds, most) + _FUSION[way] * seconds


def _pays(take: Take, way: str, saved: float) -> bool:
    """Whether a way can be expected to save twice what it costs to make it."""
    if way == "trace" or take.recording is None:
        return way == "trace"
    return saved > 2 * seconds_to_compile(take.recording)


def _median(seconds: list[float | None]) -> float:
    return median([one for one in seconds if one is not None] or [0.0])
