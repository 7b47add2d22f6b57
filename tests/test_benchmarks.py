"""The benchmarks' own helpers: turns are fair, ratios are right, what breaks a peer is reported."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import probae as pb
from benchmarks import anomalies, applications, bars, endurance, precision, random_bits, scaling, throughput
from benchmarks.bars import Bar
from benchmarks.common import Timing
from benchmarks.endurance import is_flat
from benchmarks.race import ENGINE, Outcome, Pausing, build, engine, race
from benchmarks.turns import Turns


def play(turns: Turns, host: str, order: list[str]) -> str:
    turns.start()
    order.append(host)
    while turns.ended():
        order.append(host)
    return "".join(order)


@pytest.mark.parametrize(
    ("repeats", "expected"), [(1, "abc"), (2, "abccba"), (3, "abccbaabc"), (4, "abccbaabccba"), (5, "abccbaabccbaabc")]
)
def test_turns_go_forth_and_back(repeats: int, expected: str) -> None:
    order: list[str] = []
    guests = {name: (lambda name=name: order.append(name)) for name in "bc"}
    turns = Turns("a", guests, repeats=repeats, warmup=0)
    assert play(turns, "a", order) == expected
    assert turns.complete
    assert {len(timing.seconds) for timing in turns.timings.values()} == {repeats}


def test_warming_up_goes_on_until_the_host_is_ready_and_is_not_measured() -> None:
    order: list[str] = []
    turns = Turns("a", {"b": lambda: order.append("b")}, repeats=2, warmup=1, ready=lambda: len(order) >= 6)
    assert play(turns, "a", order) == "ab" * 3 + "abba"
    assert {name: len(before) for name, before in turns.before.items()} == {"a": 3, "b": 3}


def test_a_host_that_is_never_ready_is_measured_in_the_end() -> None:
    turns = Turns("a", {}, repeats=1, ready=lambda: False, warmup_limit=4)
    assert play(turns, "a", []) == "aaaaa"


def test_nobodys_clock_runs_while_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def work(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    turns = Turns("a", {"b": lambda: work(10.0), "c": lambda: work(100.0)}, repeats=3, warmup=2)
    turns.start()
    work(1.0)
    while turns.ended():
        work(1.0)
    assert {name: timing.seconds for name, timing in turns.timings.items()} == {
        "a": (1.0,) * 3, "b": (10.0,) * 3, "c": (100.0,) * 3,
    }  # fmt: skip
    assert turns.before == {"a": [1.0] * 2, "b": [10.0] * 2, "c": [100.0] * 2}


def test_the_engine_waits_until_it_has_decided() -> None:
    player = SimpleNamespace(chosen="eager", ways={}, settled=True)
    training = SimpleNamespace(epoch=1, descent=SimpleNamespace(player=player), stop=lambda reason: None)
    turns = Turns(ENGINE, {}, repeats=1)
    pause = Pausing(turns)
    turns.start()
    for settled, kinds in [(False, 0), (False, 0), (True, 1), (True, 2), (False, 2)]:  # one more comes up each time
        player.settled, player.ways = settled, dict.fromkeys(range(kinds), "trace")
        pause.on_epoch_end(training)
        assert not turns.complete
    player.settled = True
    pause.on_epoch_end(training)
    pause.on_epoch_end(training)
    assert turns.complete


def test_a_race_measures_the_engine_and_its_peers() -> None:
    vae = pb.VAE(4, latent_dim=2, hidden=(3,))
    fit = engine(vae.model, vae.guide, torch.zeros(6, 4), batch_size=2, compile="eager")
    calls = []
    peers = {"peer": lambda: lambda: calls.append(1), "broken": lambda: 1 / 0}
    outcome = race(fit, peers, steps=3, repeats=2)
    assert list(outcome.timings) == [ENGINE, "peer"]
    assert all(len(timing.seconds) == 2 for timing in outcome.timings.values())
    assert len(calls) >= 1 + 2 + 2  # made, warmed up, measured
    assert outcome.skipped == {"broken": "ZeroDivisionError: division by zero"}


def test_an_engine_that_stops_early_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="stopped before its 2 turns were over"):
        race(lambda callback: None, {}, steps=1, repeats=2)


def test_a_peer_that_breaks_in_its_first_turn_is_skipped() -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'peer'")

    built, seconds, skipped = build({"fine": lambda: lambda: None, "missing": lambda: missing}, lambda: None)
    assert list(built) == list(seconds) == ["fine"]
    assert skipped == {"missing": "ModuleNotFoundError: No module named 'peer'"}


def outcome() -> Outcome:
    timings = {ENGINE: Timing((1.0, 3.0, 2.0)), "slow": Timing((4.0, 4.0, 4.0)), "fast": Timing((1.0, 1.0, 4.0))}
    return Outcome(timings, {ENGINE: 5.0}, {"gone": "ImportError: no"}, "trace")


def test_bars_compare_the_median_of_the_ratios_of_repeats() -> None:
    asked = (
        Bar("slow", 0.5),
        Bar("slow", 0.4),
        Bar("fast", 0.9),
        Bar("gone", 1.0),
        Bar("slow", 0.1, unless="not asked: no AMX"),
    )
    kept = bars.as_dict("s", outcome(), asked)
    assert kept["engine_over"]["slow"]["repeats"] == [0.25, 0.75, 0.5]
    assert kept["engine_over"]["fast"]["median"] == 1.0  # neither that of the times, 2, nor that of the first repeat
    assert [bar["verdict"] for bar in kept["bars"]] == ["met", "missed", "missed", "not measured", "not asked: no AMX"]


def test_the_table_says_what_was_skipped_and_why() -> None:
    lines = bars.lines("a work", "s", outcome(), (Bar("slow", 0.5), Bar("gone", 1.0)))
    assert {len(line) for line in lines} == {len(bars.HEADER)}
    assert lines[0][:3] == ["a work", f"{ENGINE} (trace)", "2 s"]
    assert lines[1][-2:] == ["<= 0.5", "met"]
    assert lines[-1][-1] == "not measured: ImportError: no"


def test_memory_is_flat_or_grows() -> None:
    mib = 2**20
    assert is_flat({500: 10 * mib, 2000: 100 * mib, 6000: 90 * mib, 10_000: 105 * mib})
    assert not is_flat({500: 10 * mib, 2000: 100 * mib, 10_000: 120 * mib})
    assert not is_flat({2000: 100 * mib, 6000: 150 * mib, 10_000: 100 * mib})


@pytest.mark.parametrize("benchmark", [anomalies, applications, endurance, precision, random_bits, scaling, throughput])
def test_help_says_what_is_measured(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [benchmark.__name__, "--help"])
    with pytest.raises(SystemExit, match="0"):
        benchmark.main()
    assert f"python -m {benchmark.__name__}" in capsys.readouterr().out
