"""Bars: how much of a rival's time something may take, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.common import Timing
from benchmarks.race import ENGINE, Outcome


@dataclass(frozen=True)
class Bar:
    """The engine takes at most `limit` times as long as a rival.

    Attributes:
        rival: name of a competitor.
        limit: of the ratio.
        unless: why it is not asked for on this machine; empty where it is.
    """

    rival: str
    limit: float
    unless: str = ""

    def verdict(self, ratio: Timing | None) -> str:
        """In a word: "met", "missed", "not measured", or why it is not asked for.

        Example:
            >>> Bar("Pyro", 0.45).verdict(Timing((0.4, 0.44, 0.5)))
            'met'
        """
        if ratio is None:
            return "not measured"
        return self.unless or ("met" if ratio.median <= self.limit else "missed")


HEADER = ("work", "who", "time", "fastest", "slowest", "start", "engine / it", "from", "to", "bar", "")


def lines(work: str, unit: str, outcome: Outcome, bars: Iterable[Bar]) -> list[list[str]]:
    """The rows of the printed table for one work: a line for each competitor, those that were skipped last."""
    factor = 1e3 if unit == "ms" else 1.0
    limits, found = {bar.rival: bar for bar in bars}, []
    for name, timing in outcome.timings.items():
        who = f"{name} ({outcome.mode})" if name == ENGINE and outcome.mode else name
        times = [f"{factor * seconds:.3g} {unit}" for seconds in (timing.median, *timing.spread)]
        start = f"{outcome.starts[name]:.1f} s" if name in outcome.starts else ""
        found.append([work if name == ENGINE else "", who, *times, start, *_judged(name, outcome, limits.get(name))])
    for name, reason in outcome.skipped.items():
        verdict = limits[name].verdict(None) if name in limits else ""
        found.append(["", name, "skipped", "", "", "", "", "", "", _limit(limits.get(name)), f"{verdict}: {reason}"])
    return found


def as_dict(unit: str, outcome: Outcome, bars: Iterable[Bar]) -> dict[str, Any]:
    """For `write_results`."""
    ratios = _ratios(outcome)
    return {
        "unit": "seconds a step" if unit == "ms" else "seconds",
        "engine_mode": outcome.mode,
        "timings": {name: timing.as_dict() for name, timing in outcome.timings.items()},
        "seconds_before_steady": outcome.starts,
        "engine_over": {name: ratio.as_dict() for name, ratio in ratios.items()},
        "bars": [
            {"engine_over": bar.rival, "at_most": bar.limit, "verdict": bar.verdict(ratios.get(bar.rival))}
            for bar in bars
        ],
        "skipped": outcome.skipped,
        **outcome.notes,
    }


def _ratios(outcome: Outcome) -> Mapping[str, Timing]:
    ours = outcome.timings[ENGINE]
    return {name: ours.ratio_to(timing) for name, timing in outcome.timings.items() if name != ENGINE}


def _judged(name: str, outcome: Outcome, bar: Bar | None) -> list[str]:
    if name == ENGINE:
        return [""] * 5
    ratio = _ratios(outcome)[name]
    numbers = [f"{value:.3f}" for value in (ratio.median, *ratio.spread)]
    return [*numbers, _limit(bar), "" if bar is None else bar.verdict(ratio)]


def _limit(bar: Bar | None) -> str:
    return "" if bar is None else f"<= {bar.limit:.3g}"
