"""Long runs: memory stays flat over 10,000 steps, and what was compiled is found again by the next process.

Memory: the resident set of the process every 500 steps of one `pb.fit`, in a process of its own for each work. Flat is:
from step 2000 on it grows by at most 8 MiB, and the highest reading is at most 16 MiB above the one there.

Compilation: seconds of `pb.fit(compile="inductor")` over 30 steps, in one process with an empty cache of torch's
compiler and in a second one with what the first has left there; reused means that the second reports hits and no miss.

Run as

    python -m benchmarks.endurance [--steps 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import probae as pb
from benchmarks.common import empty_compile_cache, print_table, write_results
from benchmarks.peers import bits, vae

ROOT = Path(__file__).parents[1]
EVERY, SETTLED, GROWTH, PEAK = 500, 2000, 8 * 2**20, 16 * 2**20
_FIRST_STEPS = 30


def resident_bytes() -> int:
    """The resident set of this process, on Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Memory(pb.Callback):
    """Notes the resident set every `every` steps, and ends the run after `steps`."""

    def __init__(self, steps: int, every: int) -> None:
        self.steps, self.every, self.readings = steps, every, dict[int, int]()

    def on_step_end(self, training: Any) -> None:
        if training.step % self.every == 0:
            self.readings[training.step] = resident_bytes()
        if training.step >= self.steps:
            training.stop("measured")


def memory_of(work: str, steps: int, every: int) -> dict[str, Any]:
    """Train, and return the readings."""
    model, settings = WORKS[work]()
    x, watch = bits(100 * 128), Memory(steps, every)
    run = pb.fit(
        model.model, model.guide, x, objective=model.objective(), epochs=1_000_000, seed=0, progress=False,
        callbacks=watch, **settings,
    )  # fmt: skip
    return {"readings": watch.readings, "mode": run.compile}


def is_flat(readings: dict[int, int]) -> bool:
    """Whether the memory settles.

    Example:
        >>> is_flat({500: 100 * 2**20, 2000: 200 * 2**20, 10_000: 204 * 2**20})
        True
        >>> is_flat({500: 100 * 2**20, 2000: 200 * 2**20, 10_000: 230 * 2**20})
        False
    """
    settled = [readings[step] for step in sorted(readings) if step >= min(SETTLED, max(readings))]
    return settled[-1] - settled[0] <= GROWTH and max(settled) - settled[0] <= PEAK


def compile_once() -> dict[str, Any]:
    """Seconds until the first steps of a compiled run are over, and what the compiler's cache says."""
    from torch._dynamo.utils import counters

    model, x = vae(), bits(_FIRST_STEPS * 128)
    start = time.perf_counter()
    run = pb.fit(model.model, model.guide, x, epochs=1, seed=0, progress=False, compile="inductor")
    seconds = time.perf_counter() - start
    found = {name: counters["inductor"][f"fxgraph_cache_{name}"] for name in ("hit", "miss")}
    return {"seconds": seconds, "mode": run.compile, **found}


def _vae() -> tuple[Any, dict[str, Any]]:
    return vae(), {}


def _rbm() -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    return pb.RBM(784, 500), {"optimizer": "sgd", "learning_rate": 0.05}


WORKS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {"VAE 784-200-200-50": _vae, "RBM 784x500": _rbm}


def in_new_process(*arguments: str) -> dict[str, Any]:
    """What this file prints as JSON when another interpreter runs it with these arguments."""
    command = [sys.executable, "-m", "benchmarks.endurance", *arguments]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--steps", type=int, default=10_000)
    made.add_argument("--every", type=int, default=EVERY, help="steps between two readings")
    made.add_argument("--memory", choices=sorted(WORKS), help="only this, in this process, printed as JSON")
    made.add_argument("--compile-once", action="store_true", help="only this, in this process, printed as JSON")
    return made


def main() -> None:
    """Measure in processes of their own, print tables, write results."""
    given = parser().parse_args()
    if given.memory:
        print(json.dumps(memory_of(given.memory, given.steps, given.every)))
    elif given.compile_once:
        print(json.dumps(compile_once()))
    else:
        _measure(given)


def _measure(given: argparse.Namespace) -> None:
    settings = ("--steps", str(given.steps), "--every", str(given.every))
    memory = {work: in_new_process("--memory", work, *settings) for work in WORKS}
    for found in memory.values():
        found["readings"] = {int(step): size for step, size in found["readings"].items()}
        found["flat"] = is_flat(found["readings"])
    with empty_compile_cache():
        cold, warm = in_new_process("--compile-once"), in_new_process("--compile-once")
    reused = cold["miss"] > 0 and warm["hit"] > 0 and warm["miss"] == 0
    print_table(["resident set, MiB", *(f"step {step}" for step in _shown(memory)), ""], [
        [f"{work} ({found['mode']})", *(f"{found['readings'][step] / 2**20:.0f}" for step in _shown(memory)),
         "flat" if found["flat"] else "GROWS"] for work, found in memory.items()
    ])  # fmt: skip
    print()
    print_table(["compile cache", "seconds", "hits", "misses", ""], [
        ["first process", f"{cold['seconds']:.1f}", cold["hit"], cold["miss"], ""],
        ["second process", f"{warm['seconds']:.1f}", warm["hit"], warm["miss"], "reused" if reused else "NOT REUSED"],
    ])  # fmt: skip
    cache = {"first_process": cold, "second_process": warm, "reused": reused}
    protocol = {"description": __doc__, "steps": given.steps, "unit": "bytes; seconds"}
    path = write_results("endurance", {"protocol": protocol, "memory": memory, "compile_cache": cache})
    print(f"\nwritten to {path}")


def _shown(memory: dict[str, Any]) -> list[int]:
    """The first reading, the last one and a few between."""
    steps = sorted(next(iter(memory.values()))["readings"])
    return steps if len(steps) <= 5 else [steps[round(i * (len(steps) - 1) / 4)] for i in range(5)]


if __name__ == "__main__":
    main()
