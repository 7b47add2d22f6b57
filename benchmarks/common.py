"""What every benchmark needs: fair alternation, the machine in words, results that are kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_CACHE = "TORCHINDUCTOR_CACHE_DIR"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one thing, in seconds, in the order in which they were taken.

    Example:
        >>> Timing((0.2, 0.1, 0.4)).median
        0.2
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, which one disturbed repeat does not move."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest repeat."""
        return min(self.seconds), max(self.seconds)

    def ratio_to(self, other: Timing) -> Timing:
        """How many times as long as `other`, repeat by repeat: neighbours in time share their disturbances."""
        return Timing(tuple(a / b for a, b in zip(self.seconds, other.seconds, strict=True)))

    def scaled(self, factor: float) -> Timing:
        """Of another amount of the same work.

        Example:
            >>> Timing((0.5, 1.0)).scaled(10)
            Timing(seconds=(5.0, 10.0))
        """
        return Timing(tuple(factor * seconds for seconds in self.seconds))

    def as_dict(self) -> dict[str, Any]:
        """For `write_results`."""
        return {"median": self.median, "min": self.spread[0], "max": self.spread[1], "repeats": list(self.seconds)}

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.spread[0]:.4g} to {self.spread[1]:.4g})"


def interleave(
    callables: Mapping[str, Callable[[], object]], repeats: int = 7, warmup: int = 1
) -> dict[str, Timing]:
    """Time competitors in alternation, A B then B A, so that a machine's drift and bursts fall on all of them alike.

    Args:
        callables: name -> what to time. One that starts work on a GPU must wait for it (`torch.cuda.synchronize()`);
            one that takes microseconds should loop inside.
        repeats: measured calls of each.
        warmup: calls of each before, not measured.

    Example:
        >>> timings = interleave({"ten": lambda: sum(range(10)), "million": lambda: sum(range(10**6))}, repeats=3)
        >>> timings["million"].ratio_to(timings["ten"]).median > 1
        True
    """
    for call in callables.values():
        for _ in range(warmup):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    for repeat in range(repeats):
        for name in list(callables)[:: -1 if repeat % 2 else 1]:
            start = time.perf_counter()
            callables[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


@contextmanager
def empty_compile_cache() -> Iterator[Path]:
    """An empty folder in which torch's compiler keeps what it makes, gone afterwards; call before it is imported."""
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[_CACHE] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop(_CACHE)
            if before is not None:
                os.environ[_CACHE] = before


def machine() -> dict[str, Any]:
    """The machine and the versions that a number was measured with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions(("torch", "pyro-ppl", "probae")),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package."""
    return {package: _version(package) for package in packages}


def write_results(name: str, results: Mapping[str, Any]) -> Path:
    """Write `results`, the machine and the date to benchmarks/results/<name>.json, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    date = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"benchmark": name, "date": date, "machine": machine(), "results": dict(results)}, indent=2)
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in aligned columns, the first to the left, the others to the right.

    Example:
        >>> print_table(["what", "ms"], [["eager", 3.2], ["compiled", 2.3]])
        what        ms
        eager      3.2
        compiled   2.3
    """
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells))


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
