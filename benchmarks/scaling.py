"""How the cost of a step grows with batch, width, particles and sample sites: the engine's ways, and Pyro's SVI.

Batch, width and particles: the plain Pyro VAE of benchmarks/programs, 784-200-200-50, batch 128, one particle, with one
of these varied. Sites: a chain z_1, ..., z_n of Normals over vectors of 8, batch 128. Each competitor is measured for
half a second after its first steps, which contain the compilation; the median step is drawn, the quartiles are in the
results. They run one after the other, so that a difference of a tenth means nothing here: for that see
benchmarks/throughput.py. Run as

    python -m benchmarks.scaling [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

import probae as pb
from benchmarks.common import print_table, write_results
from benchmarks.peers import VISIBLE, bits, shuffled
from benchmarks.programs.vae import VAE

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "step_cost.png"
WAYS = ("eager", "trace", "inductor")
SVI = "pyro.infer.SVI"
AXES = {
    "batch": (32, 128, 512, 2048, 8192),
    "width": (50, 100, 200, 500, 1000),
    "particles": (1, 4, 16, 64),
    "sites": (1, 4, 16, 64),
}
QUICK = {"batch": (32, 128), "width": (50, 200), "particles": (1, 4), "sites": (1, 4)}
_BATCHES = 4  # in an epoch
_UNMEASURED, _FEWEST = 10, 15  # steps


class Chain(nn.Module):
    """z_1 ~ Normal(0, 1), z_i ~ Normal(z_(i-1), 1), x ~ Normal(z_n, 1); the guide's sites are independent."""

    def __init__(self, sites: int, size: int = 8) -> None:
        super().__init__()
        self.sites, self.size = sites, size
        self.loc = nn.Linear(size, sites * size)

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        pyro.module("chain", self)
        with pyro.plate("data", len(x)):
            z = x.new_zeros(len(x), self.size)
            for i in range(self.sites):
                z = pyro.sample(f"z{i}", dist.Normal(z, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z given x)."""
        pyro.module("chain", self)
        with pyro.plate("data", len(x)):
            for i, loc in enumerate(self.loc(x).chunk(self.sites, -1)):
                pyro.sample(f"z{i}", dist.Normal(loc, 0.5).to_event(1))


class Clock(pb.Callback):
    """Notes how long each step takes, and ends the run when there are enough of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.laps = seconds, list[float]()
        self.now = time.perf_counter()

    def on_step_end(self, training: Any) -> None:
        if self.lap():
            training.stop("measured")

    def lap(self) -> bool:
        """A step is over. Returns whether that was enough."""
        before, self.now = self.now, time.perf_counter()
        self.laps.append(self.now - before)
        return len(self.measured) >= _FEWEST and sum(self.measured) >= self.seconds

    @property
    def measured(self) -> list[float]:
        """Seconds of the steps after the first ones."""
        return self.laps[_UNMEASURED:]


def point(axis: str, value: int) -> tuple[Any, Tensor, int, int]:
    """A pair, data, batch size and particles: those of the middle, one of them changed."""
    torch.manual_seed(0)
    batch = value if axis == "batch" else 128
    if axis == "sites":
        return Chain(value), torch.randn(_BATCHES * batch, 8), batch, 1
    width = value if axis == "width" else 200
    return VAE(VISIBLE, width, 50), bits(_BATCHES * batch), batch, value if axis == "particles" else 1


def engine_laps(axis: str, value: int, way: str, seconds: float) -> list[float]:
    """Seconds of steps of `pb.fit` run in one way."""
    pair, x, batch, particles = point(axis, value)
    clock = Clock(seconds)
    run = pb.fit(
        pair.model, pair.guide, x, objective=pb.ELBO(num_particles=particles), batch_size=batch, epochs=1_000_000,
        compile=way, seed=0, progress=False, callbacks=clock,
    )  # fmt: skip
    if run.compile != way:
        raise RuntimeError(f"asked for {way!r}, the engine ran {run.compile!r}")
    return clock.measured


def svi_laps(axis: str, value: int, seconds: float) -> list[float]:
    """Seconds of steps of Pyro's own loop, its checks off."""
    pair, x, batch, particles = point(axis, value)
    loss = pyro.infer.Trace_ELBO(particles, vectorize_particles=particles > 1, max_plate_nesting=1)
    svi = pyro.infer.SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), loss=loss)
    clock = Clock(seconds)
    with pyro.validation_enabled(False):
        for part in _forever(x, batch):
            svi.step(part)
            if clock.lap():
                return clock.measured
    return []


def _forever(x: Tensor, batch: int) -> Iterator[Tensor]:
    while True:
        yield from shuffled(x, batch)


def measure(axis: str, value: int, seconds: float) -> dict[str, dict[str, float]]:
    """The cost of a step for each competitor at one point, in seconds."""
    runs: dict[str, Callable[[], list[float]]] = {SVI: lambda: svi_laps(axis, value, seconds)}
    for way in WAYS:
        runs[way] = lambda way=way: engine_laps(axis, value, way, seconds)
    found = {}
    for name, run in runs.items():
        with pyro.get_param_store().scope():
            laps = run()
        low, middle, high = statistics.quantiles(laps, n=4)
        found[name] = {"median": middle, "lower_quartile": low, "upper_quartile": high, "steps": len(laps)}
    return found


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Four panels, logarithmic both ways, a line for each competitor."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    from probae.plots.style import COLOURS, name_axes, tidy

    figure, panels = plt.subplots(2, 2, figsize=(8.4, 6.0), layout="constrained")
    for ax, (axis, points) in zip(panels.flat, results.items(), strict=True):
        values = [int(value) for value in points]
        for colour, name in zip((COLOURS[2], COLOURS[3], COLOURS[1], COLOURS[0]), (SVI, *WAYS), strict=True):
            times = [1e3 * point[name]["median"] for point in points.values()]
            label = name if name == SVI else f'pb.fit(compile="{name}")'
            tidy(ax).loglog(values, times, color=colour, marker="o", markersize=3.5, linewidth=1.6, label=label)
        ax.set_xticks(values, [str(value) for value in values], minor=False)
        ax.set_xticks([], minor=True)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_yticks([], minor=True)
        name_axes(ax, {"sites": "sample sites"}.get(axis, axis), "ms a step")
    panels[0, 0].legend(frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="two points an axis, few steps, nothing is kept")
    made.add_argument("--seconds", type=float, default=0.5, help="of steps measured at each point")
    return made


def main() -> None:
    """Measure, print a table, draw, write results."""
    given = parser().parse_args()
    axes, seconds = (QUICK, 0.02) if given.quick else (AXES, given.seconds)
    results = {axis: {str(v): measure(axis, v, seconds) for v in values} for axis, values in axes.items()}
    print_table(["ms a step", SVI, *WAYS], [
        [f"{axis} {value}", *(f"{1e3 * point[name]['median']:.3g}" for name in (SVI, *WAYS))]
        for axis, points in results.items() for value, point in points.items()
    ])  # fmt: skip
    if not given.quick:
        draw(results, PICTURE)
        protocol = {"description": __doc__, "seconds": seconds, "unit": "seconds a step"}
        print(f"written to {write_results('scaling', {'protocol': protocol, 'points': results})} and {PICTURE}")


if __name__ == "__main__":
    main()
