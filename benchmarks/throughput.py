"""How fast the engine trains and judges, beside Pyro's own loop, PyTorch by hand and other libraries: one table.

Rows side by side in one run. Within a row the competitors take turns, A B C then C B A: the engine is inside one
`pb.fit`, which a callback interrupts after each turn's epochs, so that its clock stands still meanwhile. Ratios are
formed repeat by repeat; their median is compared with the bar. What comes before steady state (building, compiling,
trying what is fastest; the compile cache is empty when the run starts) is in the column "start", and in no other. The
engine is told of a run so long that whatever it may prepare pays. Everybody has the same network, batch size, optimizer
and resident data, draws a new order for each epoch and gathers each batch from it; Pyro's checks are off. A turn of the
engine contains what it does at the end of an epoch.

Data are random bits, since only time is measured, or what the programs in benchmarks/programs make. VAE: tanh, Adam at
1e-3. RBM: SGD, 128 chains. The programs run in their "full" sizes. On a GPU the rows are others (--device cuda).

Peers from `pip install -e ".[benchmarks]"`; one that is not there is skipped, and the table says so. Run as

    python -m benchmarks.throughput [--rows vae rbm] [--repeats 9]
"""

from __future__ import annotations

import argparse
import gc
import sys
import traceback
from dataclasses import asdict
from typing import Any

import torch

from benchmarks import bars
from benchmarks.common import empty_compile_cache, print_table, versions, write_results
from benchmarks.rows import CPU_ROWS, GPU_ROWS, Row, Settings

PEERS = ("pythae", "learnergy", "scikit-learn")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", nargs="+", choices=sorted({*CPU_ROWS, *GPU_ROWS}), help="only these")
    made.add_argument("--device", choices=("cpu", "cuda"), default=Settings.device)
    made.add_argument("--compile", default=Settings.compile, help="how the engine runs, see pb.fit")
    made.add_argument("--repeats", type=int, default=Settings.repeats, help="measured turns of each competitor")
    made.add_argument("--steps", type=int, default=Settings.steps, help="of a turn")
    made.add_argument("--samples", type=int, default=Settings.samples, help="K of importance sampling")
    made.add_argument("--images", type=int, default=Settings.images, help="that importance sampling judges")
    made.add_argument("--pythae-images", type=int, default=Settings.pythae_images, help="of those, for pythae")
    made.add_argument("--threads", type=int, help="of torch")
    made.add_argument("--name", help="of the results file; throughput or throughput_gpu")
    return made


def main() -> int:
    """Measure, print the table, write results. The exit status is 1 where a row failed."""
    given = vars(parser().parse_args())
    chosen, threads, name = (given.pop(key) for key in ("rows", "threads", "name"))
    if threads:
        torch.set_num_threads(threads)
    settings = Settings(**given)
    rows = GPU_ROWS if settings.device == "cuda" else CPU_ROWS
    table: list[list[str]] = []
    results: dict[str, Any] = {}
    with empty_compile_cache():
        for key, row in rows.items():
            if chosen is None or key in chosen:
                lines, results[key] = measure(row, settings)
                table += [*lines, [""] * len(bars.HEADER)]
    print_table(bars.HEADER, table)
    default = "throughput_gpu" if settings.device == "cuda" else "throughput"
    protocol = {"description": __doc__, **asdict(settings), "peers": versions(PEERS)}
    print(f"written to {write_results(name or default, {'protocol': protocol, 'rows': results})}")
    return int(any("failed" in result for result in results.values()))


def measure(row: Row, settings: Settings) -> tuple[list[list[str]], dict[str, Any]]:
    """The lines and the results of a row; what went wrong where it cannot be measured, so that the others can."""
    print(f"measuring: {row.work}", file=sys.stderr, flush=True)
    gc.collect()
    torch.compiler.reset()
    try:
        outcome = row.measure(settings)
    except Exception as error:  # the other rows are worth having, and the table says what failed
        traceback.print_exc()
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200]
        line = [row.work, "failed", *[""] * (len(bars.HEADER) - 3), reason]
        return [line], {"work": row.work, "failed": reason}
    lines = bars.lines(row.work, row.unit, outcome, row.bars)
    return lines, {"work": row.work, **bars.as_dict(row.unit, outcome, row.bars)}


if __name__ == "__main__":
    sys.exit(main())
