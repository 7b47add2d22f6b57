"""log Z of Boltzmann machines: how long annealed importance sampling takes, and whether its errors are as it says.

speed: an RBM 784-500, trained on MNIST (dynamic bits, PCD-1 with 256 chains, centred, bfloat16) for a minute; log Z
over 14,500 equal temperatures with 100 chains, not examined, once in each repeat, competitors in alternation: the
library with products in bfloat16, in float32, in bfloat16 with adaptive temperatures, and the same in float32 by hand,
in eager PyTorch. Recording is in each time, compiling in the first, whose cache is empty. Bar: 12 s on two cores.

truth: an RBM 784-20 trained the same way, whose log Z is enumerated; the estimates' errors in nats, over seeds.

calibration: RBMs 64-20 on scikit-learn's digits (rows of bits, 80 epochs of PCD-1 in batches of 50), enumerated; the
errors of AIS, and of the estimates that were kept while they trained (`running_chains`), beside the standard errors
that they state, over seeds. "rms of z" is the root mean square of error over stated error: 1 is right, less cautious.

MNIST is looked for in the folder that PROBAE_DATA names. Run as

    PROBAE_DATA=... python -m benchmarks.partition [--parts speed truth calibration] [--repeats 3] [--threads 2]

which keeps the results of parts that it does not run anew.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

import probae as pb
from benchmarks.common import RESULTS, empty_compile_cache, interleave, machine, print_table, write_results
from probae.evaluation.ais import log_mean_weight
from probae.evaluation.estimate import Estimate

TEMPERATURES, CHAINS, BAR = 14_500, 100, 12.0
LADDERS = {"AIS, 100 temperatures": 100, "AIS, 1,000 temperatures": 1000, "AIS, 10,000 temperatures": 10_000}
RUNNING = {"running, 100 chains, rate 0.01": (100, 0.01), "running, 100 chains, rate 0.05": (100, 0.05),
           "running, 1,000 chains, rate 0.05": (1000, 0.05)}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3, help="of each competitor's time, and seeds for the truth")
    parser.add_argument("--seeds", type=int, default=12, help="for the calibration")
    parser.add_argument("--temperatures", type=int, default=TEMPERATURES)
    parser.add_argument("--seconds", type=float, default=60.0, help="of training on MNIST")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    path = RESULTS / "partition.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["results"]["parts"] if path.exists() else {}
    for name in given.parts:
        kept[name] = {"machine": machine(), "rows": PARTS[name](given)}
        write_results("partition", {"protocol": __doc__, "bar": BAR, "parts": kept})
    for name, part in kept.items():
        rows: dict[str, dict[str, Any]] = part["rows"]
        columns = [key for key, value in next(iter(rows.values())).items() if isinstance(value, float)]
        print_table([name, *columns], [[who, *(f"{row[key]:.3f}" for key in columns)] for who, row in rows.items()])


def speed(given: argparse.Namespace) -> dict[str, Any]:
    """The seconds of each way to the same estimate, and the estimates."""
    rbm, found = on_mnist(500, given.seconds), dict[str, list[Estimate]]()
    ways: dict[str, Callable[[int], Estimate]] = {
        "bfloat16": lambda seed: ais(rbm, given.temperatures, seed, precision="bf16"),
        "float32": lambda seed: ais(rbm, given.temperatures, seed),
        "bfloat16, adaptive": lambda seed: ais(rbm, given.temperatures, seed, precision="bf16", spacing="adaptive"),
        "by hand, eager": lambda seed: by_hand(rbm, given.temperatures, seed),
    }

    def turn(name: str) -> None:
        found.setdefault(name, []).append(ways[name](len(found.get(name, []))))

    with empty_compile_cache():
        timings = interleave({name: partial(turn, name) for name in ways}, repeats=given.repeats, warmup=0)
    return {
        name: {
            "seconds": timing.median, **timing.as_dict(),
            "by hand / it": timings["by hand, eager"].ratio_to(timing).median,
            "log Z": mean([estimate.value for estimate in found[name]]),
            "values": [estimate.value for estimate in found[name]],
            "stderr": mean([estimate.stderr for estimate in found[name]]),
            "ess": mean([estimate.ess for estimate in found[name]]),
        }
        for name, timing in timings.items()
    }  # fmt: skip


def truth(given: argparse.Namespace) -> dict[str, Any]:
    """Errors of the estimates of a large machine that can be enumerated."""
    rbm = on_mnist(20, given.seconds / 3)
    exact = rbm.log_partition("exact").value
    return {
        name: errors([ais(rbm, given.temperatures, seed, precision=precision) for seed in range(given.repeats)], exact)
        for name, precision in (("bfloat16", "bf16"), ("float32", None))
    }


def calibration(given: argparse.Namespace) -> dict[str, Any]:
    """Errors of estimates beside the errors that they state."""
    rows = {}
    for name, temperatures in LADDERS.items():
        rbm = on_digits(0, 0.05, 0)
        found = [ais(rbm, temperatures, seed, examine=True) for seed in range(given.seeds)]
        rows[name] = errors(found, rbm.log_partition("exact").value)
    for name, (chains, rate) in RUNNING.items():
        pairs = []
        for seed in range(given.seeds):
            rbm = on_digits(seed, rate, chains)
            pairs.append((rbm.log_partition("running"), rbm.log_partition("exact").value))
        rows[name] = errors(*map(list, zip(*pairs, strict=True)))
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "speed": speed, "truth": truth, "calibration": calibration
}  # fmt: skip


def errors(estimates: list[Estimate], exact: float | list[float]) -> dict[str, Any]:
    """How far they are off, and how far they say they are."""
    truths = exact if isinstance(exact, list) else [exact] * len(estimates)
    off = [estimate.value - value for estimate, value in zip(estimates, truths, strict=True)]
    return {
        "mean error": mean(off),
        "rms error": rms(off),
        "largest": max(map(abs, off)),
        "stated": mean([estimate.stderr for estimate in estimates]),
        "rms of z": rms([one / estimate.stderr for one, estimate in zip(off, estimates, strict=True)]),
        "reliable": mean([float(estimate.reliable) for estimate in estimates]),
        "errors": off,
    }


def on_mnist(num_hidden: int, seconds: float) -> pb.RBM:
    """A machine that was trained on MNIST for so long."""
    mnist = pb.data.load("mnist", binarize="dynamic", seed=0)
    torch.manual_seed(0)
    rbm = pb.RBM((1, 28, 28), num_hidden, negative_phase=pb.PCD(num_chains=256), centering=True)
    rbm.fit(
        mnist.train, max_time=seconds, batch_size=128, learning_rate=0.1, schedule="linear", precision="bf16", seed=0,
        progress=False,
    )  # fmt: skip
    return rbm


def on_digits(seed: int, rate: float, chains: int) -> pb.RBM:
    """A machine that was trained on scikit-learn's digits."""
    torch.manual_seed(seed)
    rbm = pb.RBM(64, 20, running_chains=chains)
    digits = pb.data.load("digits", binarize="stochastic", seed=0)
    rbm.fit(digits.train, epochs=80, batch_size=50, learning_rate=rate, seed=seed, compile="trace", progress=False)
    return rbm


def ais(rbm: pb.RBM, temperatures: int, seed: int, *, examine: bool = False, **options: Any) -> Estimate:
    """By the library."""
    return rbm.log_partition("ais", num_temperatures=temperatures, seed=seed, examine=examine, **options)


@torch.no_grad()
def by_hand(rbm: pb.RBM, temperatures: int, seed: int) -> Estimate:
    """The same estimate as one would write it for this machine alone, in eager PyTorch."""
    torch.manual_seed(seed)
    weight, a, b = rbm.weight.detach(), rbm.visible_bias.detach(), rbm.hidden_bias.detach()
    base = torch.logit(rbm.mean_rates.clamp(0.001, 0.999))
    v = (torch.rand(CHAINS, len(a)) < base.sigmoid()).float()
    log_weights = torch.zeros(CHAINS, dtype=torch.float64)
    for step in range(temperatures):
        beta, following = step / temperatures, (step + 1) / temperatures
        inputs = torch.addmm(b, v, weight)
        change = (F.softplus(following * inputs) - F.softplus(beta * inputs)).sum(1, dtype=torch.float64)
        log_weights += change + (v @ (a - base)).double() * (following - beta)
        h = (torch.rand_like(inputs) < (following * inputs).sigmoid()).float()
        field = torch.addmm(a, h, weight.T)
        v = (torch.rand_like(v) < (following * field + (1 - following) * base).sigmoid()).float()
    log_weights += F.softplus(base.double()).sum() + len(b) * math.log(2)
    value, stderr, ess = log_mean_weight(log_weights)
    return Estimate(value, "log Z", "lower", stderr, ess=ess)


def mean(values: Sequence[float]) -> float:
    """Of some numbers."""
    return sum(values) / len(values)


def rms(values: Sequence[float]) -> float:
    """The root of their mean square."""
    return math.sqrt(mean([value**2 for value in values]))


if __name__ == "__main__":
    main()
