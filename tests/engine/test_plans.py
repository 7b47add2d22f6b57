"""When "auto" records, compiles and decides, by a clock that only counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from probae.engine import plans
from probae.engine.plans import auto, fixed

MS = 1e-3
TO_COMPILE = 8.0


class Take:
    """A kind of call whose ways take so many seconds; notes what is made."""

    device = SimpleNamespace(type="cpu")

    def __init__(self, share: float = 1.0, is_first: bool = True, **seconds: float) -> None:
        self.seconds, self.made, self.is_first = seconds, list[str](), is_first
        self.recording = None
        self._share = share

    def share(self) -> float:
        return self._share

    def candidates(self) -> tuple[str, ...]:
        return "trace", "inductor"

    def prepare(self, way: str, *, loudly: bool = True) -> bool:
        if way in self.seconds:
            self.made.append(way)
            self.recording = object()
        return way in self.seconds


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "seconds_to_compile", lambda recording: TO_COMPILE)


def decided(take: Take, calls: float, unmeasured: tuple[int, ...] = ()) -> tuple[str, list[str]]:
    """The way that "auto" keeps when so many calls are to come, and the ways of the calls until then."""
    ways: list[str] = []
    return played(auto(take, lambda: calls - len(ways)), take, ways, unmeasured), ways  # type: ignore[arg-type]


def played(plan: Any, take: Take, ways: list[str], unmeasured: tuple[int, ...] = ()) -> str:
    """The way that a plan keeps in the end; `ways` gets those of the calls until then."""
    try:
        way = next(plan)
        while True:
            ways.append(way)
            way = plan.send(None if len(ways) in unmeasured else take.seconds[way])
    except StopIteration as end:
        return end.value


def test_a_short_run_is_left_alone() -> None:
    take = Take(eager=6 * MS, trace=1 * MS, inductor=0.1 * MS)
    way, ways = decided(take, calls=1000)  # at most 0.6 s of handlers to be saved, for 1.5 s of recording
    assert (way, set(ways), take.made) == ("eager", {"eager"}, [])


def test_a_longer_run_is_recorded_and_not_compiled() -> None:
    take = Take(eager=6 * MS, trace=5 * MS, inductor=0.1 * MS)
    way, ways = decided(take, calls=5000)  # 9 s to be saved by a compiler, for 8 s of compiling: not twice
    assert (way, take.made, "inductor" in ways) == ("trace", ["trace"], False)


def test_a_long_run_is_compiled_where_that_saves_twice_what_it_costs() -> None:
    take = Take(eager=6 * MS, trace=5 * MS, inductor=3 * MS)
    way, ways = decided(take, calls=20_000)
    assert (way, take.made) == ("inductor", ["trace", "inductor"])
    assert [ways.count(name) for name in ("trace", "inductor")] == [7, 7]


def test_the_clock_decides_and_not_the_hope() -> None:
    assert decided(Take(eager=4 * MS, trace=5 * MS, inductor=6 * MS), calls=50_000)[0] == "eager"
    assert decided(Take(eager=6 * MS, trace=4 * MS, inductor=5 * MS), calls=50_000)[0] == "trace"


def test_large_calls_hope_for_little_from_a_recording() -> None:
    """The handlers' time does not grow with the data: 2 ms of a call of 240."""
    assert decided(Take(eager=0.24, trace=0.24, inductor=0.1), calls=240)[1].count("trace") == 0
    assert decided(Take(eager=0.24, trace=0.24, inductor=0.1), calls=2400)[0] == "inductor"


def test_a_way_that_cannot_be_made_is_not_run() -> None:
    assert decided(Take(eager=6 * MS, trace=5 * MS), calls=50_000) == ("trace", ["eager"] * 8 + ["eager", "trace"] * 7)
    assert decided(Take(eager=6 * MS), calls=50_000) == ("eager", ["eager"] * 8)


def test_a_call_that_was_compared_does_not_count() -> None:
    way, ways = decided(Take(eager=6 * MS, trace=5 * MS), 50_000, unmeasured=(10, 12))
    assert (way, len(ways)) == ("trace", 8 + 2 * 9)


def test_a_rare_kind_is_compiled_by_its_share_of_the_calls() -> None:
    assert decided(Take(share=0.1, eager=6 * MS, trace=5 * MS, inductor=3 * MS), calls=20_000)[1].count("inductor") == 0


@pytest.mark.parametrize(
    ("take", "way", "expected", "waits"),
    [
        (Take(eager=0, trace=0, inductor=0), "inductor", "inductor", 0),
        (Take(eager=0, trace=0, inductor=0, is_first=False), "inductor", "inductor", 20),
        (Take(eager=0, trace=0, inductor=0, is_first=False, share=0.01), "inductor", "trace", 20),
        (Take(eager=0, trace=0), "inductor", "trace", 0),
        (Take(eager=0), "inductor", "eager", 0),
        (Take(eager=0, trace=0), "eager", "eager", 0),
    ],
)
def test_a_given_way_is_taken_or_the_next_simpler_one(take: Take, way: str, expected: str, waits: int) -> None:
    ways: list[str] = []
    assert played(fixed(take, way), take, ways) == expected  # type: ignore[arg-type]
    assert ways == ["eager"] * waits
