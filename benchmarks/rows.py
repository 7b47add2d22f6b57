"""The rows of the throughput table: each is a function that measures one work beside its rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyro
import torch

import probae as pb
from benchmarks import cuda_peers, importance_peers, peers, rbm_peers
from benchmarks.bare import BareLoop
from benchmarks.bars import Bar
from benchmarks.common import Timing, interleave
from benchmarks.programs import PROGRAMS
from benchmarks.race import ENGINE, Outcome, Turn, build, engine, race, waiter

HAND = "by hand, eager"
COMPILED = "by hand, torch.compile"
CAPTURED = "by hand, CUDA graph"
SVI = "pyro.infer.SVI"
PRODUCTS = "its matrix products alone"
SKLEARN = "scikit-learn"
BF16 = torch.bfloat16


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes:
        device: where everybody works.
        compile: how the engine runs.
        steps: of a turn.
        repeats: measured turns of each competitor.
        samples: K of importance sampling.
        images: that it judges.
        pythae_images: of those, how many pythae judges; its time is scaled to all.
        batch: size of a batch, and number of chains.
    """

    device: str = "cpu"
    compile: str = "auto"
    steps: int = 200
    repeats: int = 9
    samples: int = 5000
    images: int = 200
    pythae_images: int = 20
    batch: int = 128

    @property
    def race(self) -> dict[str, Any]:
        """For `race`."""
        return {"steps": self.steps, "repeats": self.repeats, "device": self.device}


@dataclass(frozen=True)
class Row:
    """One work: how to measure it, its bars, and the unit that it is printed in."""

    work: str
    measure: Callable[[Settings], Outcome]
    bars: tuple[Bar, ...] = ()
    unit: str = "ms"


def vae(given: Settings, *, floor: torch.dtype = torch.float32, precision: str | None = None) -> Outcome:
    """Steps of the VAE."""
    x, model = peers.bits(given.steps * given.batch, given.device), peers.vae(given.device)
    fit = engine(
        model.model, model.guide, x, objective=model.objective(), batch_size=given.batch, optimizer="adam",
        learning_rate=peers.RATE, compile=given.compile, **({"precision": precision} if precision else {}),
    )  # fmt: skip
    rivals: dict[str, Callable[[], Turn]] = {
        SVI: partial(peers.vae_svi, x, given.batch),
        HAND: partial(peers.vae_by_hand, x, given.batch),
        COMPILED: partial(peers.vae_by_hand, x, given.batch, compiled=True),
        "pythae's model": partial(peers.vae_pythae, x, given.batch),
        "pythae's trainer": partial(peers.vae_pythae_trainer, x, given.batch),
        PRODUCTS: partial(peers.vae_products, x, given.batch, floor),
    }
    if x.is_cuda:
        rivals[CAPTURED] = partial(cuda_peers.vae_captured, x, given.batch)
        rivals[f"{CAPTURED}, compiled"] = partial(cuda_peers.vae_captured, x, given.batch, compiled=True)
    return race(fit, rivals, **given.race)


def program(given: Settings, *, name: str) -> Outcome:
    """Steps of a Pyro program, written by a user who has not heard of us."""
    one = PROGRAMS[name]
    batches = [tuple(_to(part, given.device) for part in batch) for batch in one.data(0)]
    whole = one.batch_size is None  # all data at each step, so that an epoch is a step
    per_turn = -(-given.steps // len(batches))
    steps = per_turn * len(batches)

    def theirs() -> Turn:
        adam = pyro.optim.Adam({"lr": one.learning_rate})
        return peers.svi(*one.make(0), lambda: iter(batches * per_turn), one.elbo(), adam)

    model, guide = one.make(0)
    fit = engine(
        model, guide, batches[0] if whole else batches, batch_size=None if whole else 128, optimizer="adam",
        learning_rate=one.learning_rate, device=given.device, compile=given.compile,
    )  # fmt: skip
    with pyro.get_param_store().scope():
        return race(fit, {SVI: theirs}, epochs=per_turn, **{**given.race, "steps": steps})


def rbm(given: Settings, *, dtype: torch.dtype = torch.float32) -> Outcome:
    """Steps of PCD-1; scikit-learn and the rivals by hand are in float32 in every case, as the bars ask."""
    x = peers.bits(given.steps * given.batch, given.device)
    torch.manual_seed(0)
    machine = pb.RBM(rbm_peers.VISIBLE, rbm_peers.HIDDEN, negative_phase=pb.PCD(num_chains=given.batch))
    machine = machine.to(given.device)
    fit = engine(
        machine.model, machine.guide, x, objective=machine.objective(), batch_size=given.batch, optimizer="sgd",
        learning_rate=rbm_peers.RATE, compile=given.compile, **({"precision": "bf16"} if dtype == BF16 else {}),
    )  # fmt: skip
    rivals: dict[str, Callable[[], Turn]] = {
        HAND: partial(rbm_peers.rbm_by_hand, x, given.batch),
        f"{HAND}, bfloat16": partial(rbm_peers.rbm_by_hand, x, given.batch, BF16),
        PRODUCTS: partial(rbm_peers.rbm_products, x, given.batch, dtype),
    }
    if dtype == torch.float32:
        rivals |= {
            SVI: partial(_rbm_svi, x, given.batch),
            COMPILED: partial(rbm_peers.rbm_by_hand, x, given.batch, compiled=True),
            "learnergy (CD-1)": partial(rbm_peers.rbm_learnergy, x, given.batch),
        }
    if x.is_cuda:
        rivals[CAPTURED] = partial(cuda_peers.rbm_captured, x, given.batch, dtype)
    else:
        rivals[SKLEARN] = partial(rbm_peers.rbm_sklearn, x, given.batch)
    return race(fit, rivals, **given.race)


def _rbm_svi(x: torch.Tensor, batch: int) -> Turn:
    torch.manual_seed(0)
    machine = pb.RBM(rbm_peers.VISIBLE, rbm_peers.HIDDEN, negative_phase=pb.PCD(num_chains=batch)).to(x.device)
    batches, optimizer = lambda: ((part,) for part in peers.shuffled(x, batch)), pyro.optim.SGD({"lr": rbm_peers.RATE})
    return peers.svi(machine.model, machine.guide, batches, optimizer=optimizer)


def importance(given: Settings) -> Outcome:
    """log p(x) of test images by importance sampling from the guide."""
    model = peers.vae(given.device).eval()
    x, rows = peers.bits(given.images, given.device), 65536 if given.device == "cuda" else 4096
    few = x[: given.pythae_images]
    options = {"num_samples": given.samples, "chunk_size": rows, "progress": False, "compile": given.compile}
    ours = partial(pb.log_likelihood, model.model, model.guide, x, **options)
    rivals: dict[str, Callable[[], Turn]] = {
        ENGINE: lambda: ours,
        "by hand, batched": lambda: partial(importance_peers.plain_log_likelihood, model, x, given.samples, rows),
        "pythae's get_nll": lambda: importance_peers.pythae_nll(model, few, given.samples, 100),
        "pythae's get_nll, 1000 rows": lambda: importance_peers.pythae_nll(model, few, given.samples, 1000),
        PRODUCTS: lambda: importance_peers.decoder_products(x, given.samples, rows),
    }
    wait = waiter(given.device)
    built, seconds, skipped = build(rivals, wait)
    timings = interleave({name: partial(_waited, turn, wait) for name, turn in built.items()}, given.repeats, warmup=0)
    scale = {name: len(x) / len(few) if name.startswith("pythae") else 1.0 for name in timings}
    starts = {name: max(0.0, seconds[name] - timing.median) for name, timing in timings.items()}
    timings = {name: timing.scaled(scale[name]) for name, timing in timings.items()}
    note = f"pythae judged {len(few)} of {len(x)} images; its time is scaled to all"
    return Outcome(timings, starts, skipped, notes={"pythae": note, "samples": given.samples, "images": len(x)})


def overhead(given: Settings) -> Outcome:
    """A whole epoch of the engine beside the same steps in a bare loop."""
    x, model = peers.bits(390 * given.batch, given.device), peers.vae(given.device)  # an epoch of MNIST, or nearly
    bare = BareLoop(list(x.split(given.batch)))
    fit = engine(
        model.model, model.guide, x, extra=(bare,), objective=model.objective(), batch_size=given.batch,
        optimizer="adam", learning_rate=peers.RATE, compile=given.compile,
    )  # fmt: skip
    outcome = race(fit, {BARE: lambda: bare}, **{**given.race, "steps": len(bare.batches)})
    ratio = outcome.timings[ENGINE].ratio_to(outcome.timings[BARE])
    share = Timing(tuple(1 - 1 / value for value in ratio.seconds))
    return replace(outcome, notes={"share_of_an_epoch_outside_its_steps": share.as_dict()})


BARE = "its steps in a bare loop"


def _waited(turn: Turn, wait: Turn) -> None:
    turn()
    wait()


def _to(part: Any, device: str) -> Any:
    return part.to(device) if isinstance(part, torch.Tensor) else part


def _large(given: Settings) -> Settings:
    return replace(given, batch=8192, steps=max(1, given.steps // 10))


def _program_row(name: str, words: str) -> Row:
    return Row(words, partial(program, name=name), (Bar(SVI, 0.5),))


_VAE = "VAE 784-200-200-50"
_RBM = "RBM 784x500, PCD-1"

CPU_ROWS: dict[str, Row] = {
    "vae": Row(
        f"{_VAE}, batch 128", vae, (Bar(SVI, 0.45), Bar(HAND, 0.85), Bar(COMPILED, 0.95), Bar("pythae's model", 0.5))
    ),
    "semi_supervised_vae": _program_row("semi_supervised_vae", "semi-supervised VAE, labels enumerated"),
    "mixture": _program_row("mixture", "mixture, assignments enumerated"),
    "regression": _program_row("regression", "Bayesian regression, subsampled"),
    "rbm": Row(f"{_RBM}, batch 128", rbm, (Bar(HAND, 0.9), Bar(SKLEARN, 1 / 1.8), Bar(PRODUCTS, 1 / 0.7))),
    "rbm_bf16": Row(
        f"{_RBM}, batch 128, bfloat16", partial(rbm, dtype=BF16),
        (Bar(HAND, 0.5, unless=rbm_peers.lacks_amx()), Bar(SKLEARN, 1 / 4)),
    ),
    "importance": Row(
        f"{_VAE}, importance sampling", importance, (Bar("by hand, batched", 1.0), Bar("pythae's get_nll", 0.05)), "s"
    ),
    "overhead": Row(f"{_VAE}, an epoch's steps", overhead, (Bar(BARE, 1 / 0.95),)),
}  # fmt: skip
"""On two CPU cores. The last bar is that at most 5% of an epoch are spent outside its steps."""

GPU_ROWS: dict[str, Row] = {
    "vae": Row(f"{_VAE}, batch 128", vae, (Bar(CAPTURED, 1.2), Bar(SVI, 1 / 20))),
    "rbm": Row(f"{_RBM}, batch 128", rbm, (Bar(CAPTURED, 1.2), Bar(SVI, 1 / 20))),
    "vae_large": Row(
        f"{_VAE}, batch 8192, bfloat16", lambda given: vae(_large(given), floor=BF16, precision="bf16"),
        (Bar(PRODUCTS, 2.0),),
    ),
    "rbm_large": Row(
        f"{_RBM}, batch 8192, bfloat16", lambda given: rbm(_large(given), dtype=BF16), (Bar(PRODUCTS, 2.0),)
    ),
    "importance": Row(f"{_VAE}, importance sampling", lambda given: importance(replace(given, images=10_000)), (), "s"),
}  # fmt: skip
"""On one GPU. These have never run on one."""
