"""Validation judges parameters and changes nothing: not what is trained, not the noise, not the modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import probae as pb
from probae.engine.batches import Batch
from probae.engine.monitor import elbo_monitor, mean_over
from tests.engine import pairs
from tests.engine.pairs import Pair


class Net(pairs.Net):
    """With batch normalization and dropout, which validation must not touch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(3).double(), nn.Dropout(0.2)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(self.dropout(self.norm(x))), 0.3).to_event(1))


def fit(net: nn.Module | None = None, **settings: Any) -> tuple[dict[str, Tensor], pb.Run]:
    net = net or Net()
    defaults = {"epochs": 3, "batch_size": 8, "seed": 0}
    run = pb.fit(net.model, net.guide, pairs.data(), **{**defaults, **settings})  # pyright: ignore[reportArgumentType]
    return {name: value.clone() for name, value in net.state_dict().items()}, run


def scores(*values: float, selects: bool = True) -> pb.Monitor:
    """A monitor that says the given numbers, one an epoch."""
    said = iter(values)
    return pb.Monitor("said", lambda batches: torch.tensor(next(said)), selects)


LAST_STAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "validation": lambda folder: {"valid": pairs.data(9), "monitor": scores(1, 2, 3)},
    "the default monitor": lambda folder: {"valid": pairs.data(9), "monitor": declared(selects=False)},
    "a shuffled loader": lambda folder: {
        "valid": DataLoader(TensorDataset(pairs.data(9)), batch_size=4, shuffle=True),
        "monitor": declared(selects=False),
    },
    "a logger": lambda folder: {"logger": pb.CSVLogger(folder)},
    "a progress bar": lambda folder: {"progress": True},
    "a callback that draws in its own way": lambda folder: {"callbacks": Curious()},
}


def declared(selects: bool) -> pb.Monitor:
    """The default monitor of a pair that draws noise, on a net of its own."""
    net = Net().eval()
    return pb.Monitor("elbo", elbo_monitor(net.model, net.guide).evaluate, selects)


class Curious(pb.Callback):
    def on_step_end(self, training: Any) -> None:
        training.state()
        assert training.loss.isfinite()


@pytest.mark.parametrize("kind", LAST_STAYS)
def test_looking_does_not_change_what_is_trained(kind: str, tmp_path: Any) -> None:
    plain, run = fit()
    found, other = fit(**LAST_STAYS[kind](tmp_path))
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert other.history["train_loss"] == run.history["train_loss"]


def test_the_noise_is_the_same_for_every_epoch_and_run() -> None:
    """Frozen by a learning rate of zero, the monitor says the same number again and again; to the last bit."""
    net = pairs.Net()
    runs = [fit(net, valid=pairs.data(9), learning_rate=0.0, seed=seed)[1] for seed in (0, 1)]
    values = [value for run in runs for value in run.history["valid_elbo"]]
    assert len(set(values)) == 1
    longer = fit(net, valid=pairs.data(9), learning_rate=0.0, epochs=2, batch_size=3)[1]
    assert longer.history["valid_elbo"] == values[:2]


def test_the_default_is_the_plain_elbo() -> None:
    """Beta 1, no penalties, whatever the objective was: here it is exact, since the guide is the posterior."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pairs.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        half = pyro.param("half", 0.5 * pairs.ones())
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(half * x, 0.5**0.5).to_event(1))

    def moving(model: Any, guide: Any, x: Tensor) -> Tensor:
        return 0.0 * pyro.param("half")

    x, valid = pairs.data(), pairs.data(700)  # validation in batches of 512
    objective = pb.ELBO(beta=7.0, penalties=lambda batch, trace: batch.square().sum(-1))
    run = pb.fit(model, guide, x, valid=valid, objective=objective, learning_rate=0.0, epochs=1, batch_size=None)
    exact = dist.Normal(pairs.zeros(3), 2**0.5).to_event(1).log_prob(valid).mean()
    # z is drawn, so a number: the deviation of one draw is below 1 a dimension, 6 of their mean's deviations.
    assert run.history["valid_elbo"][0] == pytest.approx(exact.item(), abs=6 * 3 / 700**0.5)
    assert (run.monitor, run.best) == ("elbo", run.history["valid_elbo"][0])


def test_the_mean_is_over_examples_not_batches() -> None:
    batches = [Batch((torch.full((size, 1), float(size)),), {}) for size in (1, 2, 5)]
    assert mean_over(batches, lambda batch: batch.args[0].mean()) == (1 + 4 + 25) / 8


def test_validation_is_in_eval_mode_without_gradients_and_in_order() -> None:
    net, seen = Net(), []

    def evaluate(batches: Iterable[Batch]) -> Tensor:
        seen.append((net.training, net.norm.training, torch.is_grad_enabled(), [b.args[0].clone() for b in batches]))
        net.norm(pairs.data())
        return torch.zeros(())

    fit(net, valid=pairs.data(700), monitor=pb.Monitor("watch", evaluate), epochs=2)
    assert [flags[:3] for flags in seen] == [(False, False, False)] * 2
    for *_, batches in seen:
        assert [len(batch) for batch in batches] == [512, 188]
        assert torch.equal(torch.cat(batches), pairs.data(700))
    assert net.training


def test_the_best_epoch_is_kept() -> None:
    states, run = [], None

    class Keep(pb.Callback):
        def on_epoch_end(self, training: Any) -> None:
            states.append(training.programs.snapshot())

    net = Net()
    found, run = fit(net, valid=pairs.data(9), monitor=scores(1.0, 5.0, 2.0, 5.0), epochs=4, callbacks=Keep())
    assert (run.best_epoch, run.best, run.epochs) == (2, 5.0, 4)
    assert all(torch.equal(found[name], states[1][f"module0.{name}"]) for name in found), "buffers too"
    assert all(torch.equal(run.state["tensors"][name], states[3][name]) for name in states[3]), "the state is the last"


def test_a_monitor_that_does_not_select_keeps_the_last_epoch() -> None:
    plain, _ = fit()
    found, run = fit(valid=pairs.data(9), monitor=scores(3.0, 2.0, 1.0, selects=False))
    assert (run.best_epoch, run.best) == (3, 1.0)
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert run.history["valid_said"] == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("values", "best"),
    [((math.nan, 1.0, math.nan), 2), ((math.nan,) * 3, 3), ((-math.inf, -2.0, -3.0), 2), ((0.0, -1.0, -2.0), 1)],
)
def test_a_nan_never_wins(values: tuple[float, ...], best: int) -> None:
    _, run = fit(valid=pairs.data(9), monitor=scores(*values))
    assert run.best_epoch == best


def test_patience() -> None:
    _, run = fit(valid=pairs.data(9), monitor=scores(1.0, 3.0, 2.0, 2.5, 9.0), epochs=5, patience=2)
    assert (run.stopped, run.epochs, run.best_epoch) == ("early stopping", 4, 2)
    _, run = fit(valid=pairs.data(9), monitor=scores(1.0, 3.0, 2.0, 4.0, 3.0), epochs=5, patience=2)
    assert (run.stopped, run.epochs, run.best_epoch) == ("finished", 5, 4)
    _, run = fit(valid=pairs.data(9), monitor=scores(math.nan, math.nan, 1.0), epochs=3, patience=2)
    assert (run.stopped, run.epochs) == ("early stopping", 2)


def test_patience_and_a_resumed_run() -> None:
    said = (1.0, 3.0, 2.0, 2.5, 9.0)
    net = Net()
    _, part = fit(net, valid=pairs.data(9), monitor=scores(*said), epochs=3, patience=2)
    _, run = fit(net, valid=pairs.data(9), monitor=scores(*said[3:]), epochs=5, patience=2, resume=part.state)
    assert (run.stopped, run.epochs, run.best_epoch, run.best) == ("early stopping", 4, 2, 3.0)


def test_pairs_that_subsample_themselves_are_judged_whole() -> None:
    """With `batch_size=None` validation passes everything at once too."""
    seen: list[int] = []
    pair = pairs.subsampled(20)

    def model(x: Tensor) -> None:
        seen.append(len(x))
        pair.model(x)

    run = pb.fit(model, pair.guide, pairs.data(), valid=pairs.data(), batch_size=None, epochs=2, seed=0)
    assert set(seen) == {20}
    assert abs(run.history["valid_elbo"][0] or 0.0) < 20, "per example"


def test_objectives_in_eval_mode_have_no_warm_up() -> None:
    elbo = pb.ELBO(warmup=100)
    pair: Pair = pairs.params()
    monitor = elbo_monitor(*pair, objective=elbo)
    assert not elbo.training
    assert monitor.selects
    monitor.evaluate([Batch((pairs.data(),), {})])
    assert elbo.beta.steps_taken == 0


def test_beside_iwae_validation_judges_by_what_it_trains() -> None:
    x = (torch.rand(40, 6, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    vae = pb.VAE(6, 2, 8)
    runs = [vae.fit(x, valid=x, epochs=1, learning_rate=0.0, seed=0, objective=o) for o in (pb.ELBO(), pb.IWAE(50))]
    assert [run.monitor for run in runs] == ["elbo", "iwae"]
    elbo, iwae = (run.best for run in runs)
    assert elbo is not None
    assert iwae is not None
    assert iwae > elbo
    assert pb.fit(vae.model, vae.guide, x, valid=x, epochs=1, objective=pb.IWAE(3, "dreg")).monitor == "iwae"
    rbm = pb.RBM(6, 3)
    assert rbm.fit(x, valid=x, epochs=1, objective=pb.IWAE(2)).monitor == rbm.monitor().name
