"""`compile=` changes how steps run and nothing else: after 100 steps a run leaves what eager steps leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.engine.player import Player
from tests.engine import pairs
from tests.engine.pairs import Net
from tests.engine.recordables import Encoding, bits, normalizing
from tests.engine.steps import assert_same, same_as_eager, train

EPOCHS = 34
"""Of three steps, the last one on two examples, a kind of its own, which is recorded when it has come 20 times."""


class Freezing(pb.Callback):
    """Freezes a layer at step 30, frees it at step 70."""

    def on_step_end(self, training: Any) -> None:
        if training.step in (30, 70):
            training.programs.model.__self__.encoder.requires_grad_(training.step == 70)


class Stream:
    """An iterable whose order comes from the generator that training draws from."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(pairs.data(10)[torch.randperm(10)].split(4))


def vae(**settings: Any) -> pb.VAE:
    return pb.VAE(9, latent_dim=2, hidden=8, **settings)


def rbm() -> pb.RBM:
    return pb.RBM(9, 4, negative_phase=pb.PCD(num_chains=8))


X, BITS = pairs.data(10), bits(0, 10, 9).args[0]
CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "parameters of statements": (pairs.params, {}),
    "schedule, clipping, warm-up": (
        Net, {"schedule": "cosine", "clip_norm": 0.5, "objective": partial(pb.ELBO, warmup=60)},
    ),
    "accumulation, momentum": (
        Net, {"accumulate": 2, "epochs": 50, "optimizer": partial(torch.optim.SGD, lr=0.01, momentum=0.9)},
    ),
    "frozen and set free": (Net, {"callbacks": Freezing}),
    "dropout, batch normalization, validation": (lambda: Encoding(normalizing()), {"valid": pairs.data(9)}),
    "stream": (Net, {"data": Stream()}),
    "IWAE": (Net, {"objective": partial(pb.IWAE, 3, "dreg")}),
    "enumeration": (pairs.mixture, {"learning_rate": 0.1}),
    "score function with a baseline": (pairs.scored, {}),
    "VAE in float64": (vae, {"data": BITS, "precision": "float64", "valid": BITS}),
    "VAE with bfloat16 products": (vae, {"data": BITS, "precision": "bf16"}),
    "RBM with persistent chains": (rbm, {"data": BITS, "valid": BITS}),
}  # fmt: skip


def settings_of(name: str) -> dict[str, Any]:
    return {"epochs": EPOCHS, "data": X, **CASES[name][1]}


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_run_is_the_eager_run_bit_by_bit(name: str) -> None:
    """Parameters, buffers, the optimizer's state, the random state and the history."""
    found = same_as_eager(CASES[name][0], **settings_of(name))
    assert found.left["position"]["step"] >= 100
    assert (found.way, found.told) == ("trace", [])
    assert list(found.run.state["ways"].values()) == ["trace"] * (3 if name == "frozen and set free" else 2)


def test_two_seeds_give_two_runs() -> None:
    """The comparison sees the noise, which a recording draws anew at each step."""
    one, other = (train(Net, "trace", X, seed=seed).left for seed in (3, 4))
    assert not torch.equal(one["tensors"]["module0.encoder.weight"], other["tensors"]["module0.encoder.weight"])


class Replace(pb.Callback):
    """In the middle of an epoch, between two comparisons."""

    def on_step_end(self, training: Any) -> None:
        net = training.programs.model.__self__
        if training.step == 7:
            net.encoder.weight = torch.nn.Parameter(2 * net.encoder.weight.detach())


def test_a_parameter_that_a_callback_replaces_is_recorded_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "probae")
    found = same_as_eager(Net, data=pairs.data(40), epochs=1, callbacks=Replace)
    assert (found.way, found.told) == ("trace", [])
    assert "parameters or buffers were replaced: what was recorded is forgotten" in caplog.messages


# A run that goes on.


class Stop(pb.Callback):
    def on_step_end(self, training: Any) -> None:
        if training.step == 50:
            training.stop("test")


@pytest.mark.parametrize("name", ["RBM with persistent chains", "dropout, batch normalization, validation"])
def test_a_resumed_run_takes_the_ways_from_the_checkpoint(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither times nor waits; and ends as the eager run that never stopped."""
    make, settings = CASES[name][0], settings_of(name)
    whole = train(make, "eager", **settings)
    half = train(make, "trace", callbacks=Stop, **settings)
    assert half.left["position"]["step"] == 50
    decided, made = [], Player._new

    def new(player: Player, kind: str) -> Any:
        take = made(player, kind)
        if kind in player.decided:
            decided.append(take)
        return take

    monkeypatch.setattr(Player, "_new", new)
    rest = train(make, "auto", resume=half.run.state, **{**settings, "seed": None})
    assert_same(rest.left, whole.left)
    assert (rest.way, rest.told) == ("trace", [])
    assert rest.run.state["ways"] == half.run.state["ways"]
    assert decided[0].recording is not None


@pytest.mark.parametrize(("asked", "way"), [("auto", "trace"), ("trace", "trace"), ("eager", "eager")])
def test_a_resumed_run_goes_as_it_is_asked_to(asked: str, way: str) -> None:
    half = train(Net, "trace", callbacks=Stop, epochs=10)
    assert train(Net, asked, resume=half.run.state, epochs=10).way == way


def test_a_resumed_run_that_is_asked_to_record_does() -> None:
    half = train(Net, "auto", callbacks=Stop, epochs=10)
    state = {**half.run.state, "ways": dict.fromkeys(half.run.state["ways"], "eager")}
    assert train(Net, "trace", resume=state, epochs=10).way == "trace"


# Compiled.


COMPILED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "noise drawn before": (lambda: Encoding(normalizing()), {"schedule": "linear", "learning_rate": 0.01}),
    "noise that hangs on values": (pairs.scored, {"precision": "float32"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_run_is_the_eager_run_up_to_rounding(name: str) -> None:
    """It draws the same noise, anew at each step: rounding alone differs, by less than 1e-5 after 100 steps."""
    make, settings = COMPILED[name][0], {"data": X, "epochs": 50, "batch_size": 5, **COMPILED[name][1]}
    eager, found = train(make, "eager", **settings), train(make, "inductor", **settings)
    assert (found.way, found.told, found.left["position"]["step"]) == ("inductor", [], 100)
    assert torch.equal(found.left["random"]["now"]["cpu"], eager.left["random"]["now"]["cpu"])
    assert found.left["history"]["train_loss"] == pytest.approx(eager.left["history"]["train_loss"], rel=1e-5)
    for key, value in eager.left["tensors"].items():
        torch.testing.assert_close(found.left["tensors"][key], value, rtol=1e-5, atol=1e-9, msg=key)
