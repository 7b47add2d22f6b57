"""What training changes is found, named, copied and put back; what is not trained is said."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import probae as pb
from probae.engine.programs import Programs
from probae.errors import ArgumentError
from tests.engine import pairs
from tests.engine.pairs import Pair


def closure(net: nn.Module, name: str | None) -> Pair:
    """A guide around a module that it registers under a name, or not at all."""

    def guide(x: Tensor) -> None:
        if name is not None:
            pyro.module(name, net)
        gain = pyro.param("gain", pairs.ones())
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(gain * net(x), 0.3).to_event(1))

    return Pair(pairs.local_model, guide)


def fit(pair: Pair, **settings: Any) -> pb.Run:
    return pb.fit(*pair, pairs.data(), **{"epochs": 1, "batch_size": 8, "seed": 0, **settings})


def test_an_unregistered_module_is_named_and_stays_as_it_is() -> None:
    net = pairs.linear()
    before = net.weight.detach().clone()
    with pytest.warns(UserWarning, match=r"weight, bias get gradients but are not trained: no pyro\.module") as caught:
        fit(closure(net, None))
    assert len(caught) == 1
    assert torch.equal(net.weight, before)
    assert net.weight.grad is not None


def test_the_second_module_of_one_name_is_named() -> None:
    fit(closure(pairs.linear(), "net"))
    with pytest.warns(UserWarning, match=r"its name is another module's in the parameter store"):
        fit(closure(pairs.linear(), "net"))
    pyro.clear_param_store()
    fit(closure(pairs.linear(), "net"))  # no warning, which would be an error


@pytest.mark.parametrize("kind", [*pairs.SAMPLED, "mixture"])
def test_no_warning_where_all_is_well(kind: str) -> None:
    make = pairs.SAMPLED.get(kind, pairs.mixture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(make(), batch_size=None if kind == "subsampled" else 8)


def test_no_warning_for_a_frozen_or_detached_module_or_one_that_has_old_gradients() -> None:
    frozen, detached, stale = pairs.linear(), pairs.linear(), pairs.linear()
    frozen.requires_grad_(False)
    stale.weight.grad = torch.ones_like(stale.weight)

    def guide(x: Tensor) -> None:
        loc = frozen(x) + detached(x).detach() + pyro.param("shift", pairs.zeros(3))
        if x.sum() > 1e9:
            loc = stale(loc)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.3).to_event(1))

    fit(Pair(pairs.local_model, guide))


def test_old_gradients_do_not_enter_the_first_step() -> None:
    found = []
    for old in (None, 100.0):
        net = pairs.Net()
        for p in net.parameters():
            p.grad = None if old is None else torch.full_like(p, old)
        fit(Pair(net.model, net.guide), optimizer="sgd")
        found.append(net.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_no_gradients_are_left_behind() -> None:
    net = pairs.Net()
    fit(Pair(net.model, net.guide))
    assert all(p.grad is None for p in net.parameters())


def test_a_model_of_ours_inside_a_function_trains() -> None:
    """It names itself while the engine looks, and leaves nothing in Pyro's store."""
    vae = pb.VAE(3, latent_dim=2, hidden=4, likelihood="normal").double()
    x, before = pairs.data(), {name: p.detach().clone() for name, p in vae.named_parameters()}
    pb.fit(lambda x: vae.model(x), lambda x: poutine.scale(vae.guide, scale=1.0)(x), x, epochs=2, seed=0)
    assert len(pyro.get_param_store()) == 0
    assert not any(torch.equal(p, before[name]) for name, p in vae.named_parameters())


def test_a_model_of_ours_that_nothing_shows_trains_in_training_mode() -> None:
    """Found only because it names itself in the first run; its chains move, and its mode comes back."""

    class Holder:
        def __init__(self, rbm: pb.RBM) -> None:
            self.secret = {"deeper": (rbm,)}

        def model(self, x: Tensor) -> None:
            self.secret["deeper"][0].model(x)

    rbm = pb.RBM(4, 3).eval()
    chains = rbm.state_dict()["negative_phase.chains"].clone()
    bits = (torch.rand(20, 4) < 0.5).float()
    run = pb.fit(Holder(rbm).model, lambda x: None, bits, epochs=2, seed=0)
    assert not torch.equal(rbm.state_dict()["negative_phase.chains"], chains)
    assert torch.equal(run.state["tensors"]["module1.negative_phase.chains"], rbm.state_dict()["negative_phase.chains"])
    assert not rbm.training


def test_an_objective_with_parameters_inside_a_function_trains() -> None:
    class Penalty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(pairs.ones())

        def forward(self, batch: Any, trace: Any) -> Tensor:
            return (self.scale - 3.0).square()

    penalty = Penalty()
    elbo = pb.ELBO(penalties=penalty)
    fit(pairs.params(), objective=lambda model, guide, x: elbo(model, guide, x), epochs=30, learning_rate=0.3)
    assert 2.5 < penalty.scale.item() < 3.5


def test_the_first_run_moves_no_buffer_and_no_generator() -> None:
    """The run that looks for parameters, of the pair and of an objective that is not ours."""
    norm = nn.BatchNorm1d(3).double()
    before = {name: value.clone() for name, value in norm.state_dict().items()}

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(norm(x), 0.3).to_event(1))

    class Stop(pb.Callback):
        def on_fit_start(self, training: Any) -> None:
            noise.append(torch.rand(1))
            training.stop("test")

    noise: list[Tensor] = []
    pair, objective = Pair(pairs.local_model, poutine.scale(guide, scale=1.0)), pb.ELBO()
    for given in (objective, lambda model, guide, x: objective(model, guide, x) + norm(x).sum()):
        fit(Pair(pair.model, lambda x: pyro.module("norm", norm) and guide(x)), objective=given, callbacks=Stop())
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.manual_seed(0)
    assert [value.item() for value in noise] == [torch.rand(1).item()] * 2


def test_lazy_layers_are_made_in_the_first_run() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(3))

        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.net(x), 0.3).to_event(1))

    lazy = Lazy()
    run = pb.fit(pairs.local_model, lazy.guide, pairs.data().float(), precision="float64", epochs=2, seed=0)
    assert {p.dtype for p in lazy.parameters()} == {torch.float64}
    assert "module0.net.0.weight" in run.state["tensors"]


def test_modules_are_one_each_and_outermost() -> None:
    net = pairs.Net()
    programs = Programs(lambda x: net.model(x), net.guide, lambda model, guide, x: net.encoder(x).sum())
    assert programs.modules == [net]
    assert {id(p) for p in programs.parameters()} == {id(p) for p in net.parameters()}


def test_tensors_are_parameters_persistent_buffers_and_statements() -> None:
    norm = nn.BatchNorm1d(3)
    norm.register_buffer("scratch", torch.zeros(1), persistent=False)
    programs = Programs(norm, pairs.params().guide, pb.ELBO(warmup=5))
    programs.adopt(poutine.trace(pairs.params().guide).get_trace(pairs.data()))
    assert set(programs.tensors()) == {
        "module0.weight", "module0.bias", "module0.running_mean", "module0.running_var", "module0.num_batches_tracked",
        "module1.beta.steps_taken", "param.loc", "param.scale",
    }  # fmt: skip
    assert pyro.param("scale").min() > 0.1
    assert torch.equal(programs.tensors()["param.scale"], dict(pyro.get_param_store().named_parameters())["scale"])


def test_a_snapshot_is_a_copy_and_restoring_writes_in_place() -> None:
    net = pairs.Net()
    programs = Programs(net.model, net.guide, pb.ELBO())
    snapshot, weight = programs.snapshot(), net.encoder.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    assert not torch.equal(snapshot["module0.encoder.weight"], weight)
    programs.restore(snapshot)
    assert net.encoder.weight is weight
    assert torch.equal(weight, before)
    storage = {name: tensor.data_ptr() for name, tensor in snapshot.items()}
    again = programs.snapshot(snapshot)
    assert {name: tensor.data_ptr() for name, tensor in again.items()} == storage


def test_modes_come_back_as_they_were() -> None:
    net = pairs.Net()
    net.decoder.eval()
    modes: list[tuple[bool, bool]] = []

    class Watch(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            modes.append((net.encoder.training, net.decoder.training))

    fit(Pair(net.model, net.guide), callbacks=Watch())
    assert modes == [(True, True)] * 3
    assert (net.training, net.encoder.training, net.decoder.training) == (True, True, False)


def test_precision_and_statements() -> None:
    """Modules, `pyro.param` statements and data change their dtype; parameters keep their identity."""
    net = pairs.linear().float()

    def guide(x: Tensor) -> None:
        pyro.module("net", net)
        shift = pyro.param("shift", torch.zeros(3))
        assert x.dtype == torch.float64
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net(x) + shift, 0.3).to_event(1))

    weight = net.weight
    fit(Pair(pairs.local_model, guide), precision="float64")
    assert net.weight is weight
    assert weight.dtype == pyro.param("shift").dtype == torch.float64


@pytest.mark.parametrize("given", ["nothing", "frozen", "unregistered"])
def test_nothing_to_train_is_an_error(given: str) -> None:
    net = pairs.linear().requires_grad_(given != "frozen")
    pair = {
        "nothing": Pair(lambda x: None, lambda x: None),
        "frozen": Pair(net.forward, lambda x: None),
        "unregistered": Pair(lambda x: net(x).sum(), lambda x: None),
    }[given]
    hints = {"nothing": "no parameters in either", "frozen": "requires_grad=False", "unregistered": "pyro.module"}
    with pytest.raises(ArgumentError, match=rf"^model: expected .*{hints[given]}"):
        pb.fit(*pair, pairs.data())


def test_frozen_parameters_stay_and_freed_ones_train() -> None:
    """A callback freezes one layer and frees the other between two epochs."""
    net = pairs.Net()
    net.encoder.requires_grad_(False)
    seen: list[list[Tensor]] = []

    class Swap(pb.Callback):
        def on_fit_start(self, training: Any) -> None:
            seen.append([p.detach().clone() for p in net.parameters()])

        def on_epoch_end(self, training: Any) -> None:
            self.on_fit_start(training)
            net.encoder.requires_grad_(True)
            net.decoder.requires_grad_(False)

    fit(Pair(net.model, net.guide), epochs=2, callbacks=[Swap()], optimizer="adamw")
    moved = [[not torch.equal(a, b) for a, b in zip(*pair, strict=True)] for pair in pairwise(seen)]
    assert moved == [[False, False, True, True], [True, True, False, False]]


def test_parameters_that_come_later_are_adopted() -> None:
    calls = [0]

    def guide(x: Tensor) -> None:
        calls[0] += torch.is_grad_enabled()
        loc = pyro.param("loc", pairs.zeros(3))
        if calls[0] > 2:
            loc = loc + pyro.param("late", pairs.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.3).to_event(1))

    run = fit(Pair(pairs.local_model, guide), optimizer="sgd", learning_rate=0.1)
    # 3 steps: "late" takes part in the last one, and moves in it as far as "loc" does.
    assert run.state["optimizer"]["state"]["param_groups"][1]["lr"] == 0.1
    late = pyro.param("late").detach()
    assert late.abs().min() > 0
    pyro.clear_param_store()
    calls[0] = -100
    fit(Pair(pairs.local_model, guide), optimizer="sgd", learning_rate=0.1, callbacks=StopAt(2))
    two = pyro.param("loc").detach().clone()
    pyro.clear_param_store()
    calls[0] = -100
    fit(Pair(pairs.local_model, guide), optimizer="sgd", learning_rate=0.1)
    torch.testing.assert_close(late, pyro.param("loc").detach() - two)


class StopAt(pb.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, training: Any) -> None:
        if training.step == self.step:
            training.stop("test")
