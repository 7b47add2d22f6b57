"""Errors that come when some of the training is done: what was trained stays; and Ctrl-C beside a loader's workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.engine.training import Training
from probae.errors import ArgumentError, DataError


class Fails(pb.Callback):
    """Refuses to go on after an epoch, as a callback does that cannot save."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, training: Training) -> None:
        if training.epoch == self.epoch:
            raise ArgumentError("path", "a folder with room in it", "a full disk")


def weights(model: pb.Autoencoder) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_what_was_trained_stays_when_a_callback_fails() -> None:
    torch.manual_seed(0)
    model, x = pb.Autoencoder(6, 2, 8), torch.rand(20, 6)
    before = weights(model)
    with pytest.raises(ArgumentError, match="full disk"):
        model.fit(x, epochs=5, seed=0, callbacks=Fails(3), progress=False)
    other = pb.Autoencoder(6, 2, 8)
    other.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    wanted = pb.Autoencoder(6, 2, 8)
    wanted.fit(x, epochs=3, seed=0, progress=False)
    assert not torch.equal(weights(other), before)
    assert torch.equal(weights(other), weights(wanted))


@pytest.mark.parametrize("epoch", [1, 2])
def test_what_was_trained_for_an_epoch_stays_when_a_later_batch_is_wrong(epoch: int) -> None:
    class Source:
        epoch = -1  # the engine looks at a first batch before it begins

        def __iter__(self) -> Iterator[Tensor]:
            self.epoch += 1
            yield torch.rand(10, 6)
            yield torch.rand(10, 5 if self.epoch == epoch else 6)

    torch.manual_seed(0)
    model = pb.Autoencoder(6, 2, 8)
    before = weights(model)
    with pytest.raises(DataError):
        model.fit(Source(), epochs=3, seed=0, progress=False)
    assert torch.equal(weights(model), before) == (epoch == 1)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("place", [0, 1])
def test_an_empty_batch_is_named(place: int, accumulate: int) -> None:
    batches = [torch.rand(10, 6).round(), torch.rand(10, 6).round()]
    batches.insert(place, batches[0][:0])
    for model in (pb.Autoencoder(6, 2, 8), pb.RBM(6, 3, negative_phase="cd", dropout=0.5)):
        with pytest.raises(DataError, match=r"expected .*at least one example") as raised:
            model.fit(batches, epochs=1, accumulate=accumulate, seed=0, progress=False)
        assert raised.value.argument == ("data" if place else "x"), "a first batch is looked at by the model itself"


def test_nothing_changes_when_nothing_was_trained() -> None:
    torch.manual_seed(0)
    model = pb.Autoencoder(6, 2, 8)
    before = weights(model)
    with pytest.raises(ArgumentError):
        model.fit(torch.rand(10, 6), epochs=2, learning_rate=-1.0)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("pressed", [True, False])
def test_workers_that_ctrl_c_has_ended_end_the_run_and_nothing_else(pressed: bool) -> None:
    """A loader complains of its workers, which got the signal as well: the run is returned with what it has."""

    class Source:
        def __iter__(self) -> Iterator[Tensor]:
            yield torch.rand(10, 6)
            yield torch.rand(10, 6)
            if pressed:
                os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("DataLoader worker (pid(s) 1) exited unexpectedly")

    model, handler = pb.Autoencoder(6, 2, 8), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if pressed:
            run = model.fit(Source(), epochs=3, seed=0, progress=False)
            assert run.stopped == "interrupted"
            assert run.state["position"]["step"] == 2
        else:
            with pytest.raises(RuntimeError, match="DataLoader worker"):
                model.fit(Source(), epochs=3, seed=0, progress=False)
    finally:
        signal.signal(signal.SIGINT, handler)


class Counted(torch.nn.Module):
    """A pair with a buffer of some size, whose mean is multiplied by a number that the recording cannot see."""

    seen: Tensor

    def __init__(self, size: float) -> None:
        super().__init__()
        self.loc = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.tensor(size))
        self.factors = [1.0]

    def model(self, x: Tensor) -> None:
        pyro.module("counted", self)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.loc * self.factors[0], 1.0).to_event(1), obs=x)


@pytest.mark.parametrize("size", [0.0, 1e6])
def test_a_large_buffer_hides_no_number_that_has_changed(size: float) -> None:
    """What a callback changes is noticed in the gradient, however large another number of the state is."""
    found = []
    for way in ("eager", "trace"):
        pair = Counted(size)

        class Doubles(pb.Callback):
            def on_epoch_end(self, training: Training, pair: Counted = pair) -> None:
                if training.epoch == 16:  # after which a step is compared with an eager one
                    pair.factors[0] = 2.0

        pb.fit(pair.model, lambda x: None, torch.full((8, 3), 5.0), epochs=40, optimizer="sgd", learning_rate=0.01,
               compile=way, callbacks=Doubles(), seed=0, progress=False)  # fmt: skip
        found.append(pair.loc.detach().clone())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(("epochs", "seconds"), [(4, 3600.0), (None, 0.2)])
def test_a_schedule_runs_to_whichever_ends_the_run(epochs: int | None, seconds: float) -> None:
    rates: list[float] = []

    class Watch(pb.Callback):
        def on_step_end(self, training: Training) -> None:
            rates.append(training.progress)

    model = pb.Autoencoder(6, 2, 8)
    model.fit(torch.rand(40, 6), epochs=epochs, max_time=seconds, schedule="linear", batch_size=10, seed=0,
              callbacks=Watch(), progress=False)  # fmt: skip
    assert rates == sorted(rates)
    assert rates[-1] == 1.0


@pytest.mark.parametrize("use", [
    lambda x: pb.data.Dataset(x),
    lambda x: pb.Autoencoder(6, 2, 8).fit(x, epochs=1),
    lambda x: pb.Autoencoder(6, 2, 8).embed(x),
    lambda x: pb.ProbabilisticPCA(6, 2).log_likelihood(x),
])  # fmt: skip
def test_a_masked_array_does_not_lose_its_mask(use: object) -> None:
    x = np.ma.MaskedArray(np.random.default_rng(0).random((20, 6), dtype=np.float32), mask=np.eye(20, 6, dtype=bool))
    assert callable(use)
    with pytest.raises(DataError, match="without a mask"):
        use(x)
