"""How long a random bit takes: `random_bits`, eager and compiled, beside torch's own ways and a copy of as many floats.

Probabilities are float32 and uniform in [0, 1]. A turn draws bits of one shape many times over. Run as

    python -m benchmarks.random_bits [--device cpu] [--threads 1] [--repeats 15] [--bits 4000000] [--name random_bits]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Timing, interleave, print_table, write_results
from benchmarks.race import waiter
from probae.distributions.bits import random_bits

SHAPES = ((128, 500), (128, 784), (1024, 500))
OURS = "random_bits"


def ways() -> dict[str, Callable[[Tensor], Tensor]]:
    """Name -> what makes bits of probabilities; the copy is the speed of memory."""
    return {
        OURS: random_bits,
        f"{OURS}, torch.compile": torch.compile(random_bits, dynamic=False),
        "torch.rand < p": lambda p: (torch.rand_like(p) < p).to(p.dtype),
        "torch.bernoulli": torch.bernoulli,
        "copy": torch.clone,
    }


def turn(way: Callable[[Tensor], Tensor], p: Tensor, bits: int) -> Callable[[], None]:
    """Draws at least `bits` bits."""
    wait = waiter(p.device.type)

    def draw() -> None:
        for _ in range(-(-bits // p.numel())):
            way(p)
        wait()

    return draw


def measure(shape: tuple[int, int], device: str, bits: int, repeats: int) -> dict[str, Timing]:
    """Nanoseconds a bit of each way."""
    p = torch.rand(shape, device=device)
    timings = interleave({name: turn(way, p, bits) for name, way in ways().items()}, repeats)
    drawn = -(-bits // p.numel()) * p.numel()
    return {name: timing.scaled(1e9 / drawn) for name, timing in timings.items()}


def as_dict(timings: dict[str, Timing]) -> dict[str, Any]:
    """For the results: the nanoseconds, and ours over each other one."""
    ratios = {name: timings[OURS].ratio_to(timing) for name, timing in timings.items() if name != OURS}
    kept = {"nanoseconds": timings, f"{OURS} over": ratios}
    return {what: {name: timing.as_dict() for name, timing in by.items()} for what, by in kept.items()}


def main() -> None:
    """Measure, print a table, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--bits", type=int, default=4_000_000, help="in a turn")
    parser.add_argument("--name", default="random_bits", help="of the file of results")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = {f"{a} x {b}": measure((a, b), given.device, given.bits, given.repeats) for a, b in SHAPES}
    print_table(["nanoseconds a bit: median (fastest to slowest)", *found], [
        [name, *(timings[name] for timings in found.values())] for name in ways()
    ])  # fmt: skip
    settings = {key: value for key, value in vars(given).items() if key != "name"}
    path = write_results(given.name, {
        "protocol": {"description": __doc__, "seed": 0, **settings},
        "shapes": {shape: as_dict(timings) for shape, timings in found.items()},
    })  # fmt: skip
    print("written:", path)


if __name__ == "__main__":
    main()
