"""How long `import probae` takes beside `import pyro`, each in fresh interpreters: python -m benchmarks.import_time.

The house's limit is 1.3 times as long. Nothing is asserted here; tests/test_import.py keeps heavy modules out.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.common import Timing, interleave, print_table, write_results

ROOT = Path(__file__).parents[1]


def run_python(code: str) -> None:
    """Run `code` in a fresh interpreter and wait for it."""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def measure(pairs: int = 7) -> dict[str, Timing]:
    """Seconds of a bare interpreter, of `import pyro` and of `import probae`, in interleaved rounds."""
    codes = {"python": "pass", "import pyro": "import pyro", "import probae": "import probae"}
    return interleave({name: partial(run_python, code) for name, code in codes.items()}, repeats=pairs)


def main() -> None:
    """Measure, print a table, keep the results."""
    timings = measure()
    ratio = timings["import probae"].ratio_to(timings["import pyro"])
    print_table(["process", "seconds: median (fastest to slowest)"], timings.items())
    print(f"import probae / import pyro: {ratio}")
    results = {name: timing.as_dict() for name, timing in timings.items()}
    print("written:", write_results("import_time", {"seconds": results, "ratio": ratio.as_dict()}))


if __name__ == "__main__":
    main()
