"""The door of `pb.fit`: what it takes, and that a wrong argument is named before anything has changed."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceGraph_ELBO
from pyro.optim import PyroOptim
from torch.utils._pytree import tree_map_only

import probae as pb
from probae.engine import door
from probae.engine.programs import Programs
from probae.errors import ArgumentError, SiteError
from tests.engine import pairs
from tests.engine.pairs import Pair


def fit(pair: Pair | None = None, **settings: Any) -> pb.Run:
    return pb.fit(*(pair or pairs.params()), pairs.data(), **{"epochs": 2, "batch_size": 8, "seed": 0, **settings})


NOT_SELECTING = pb.Monitor("curiosity", lambda batches: torch.zeros(()), selects=False)

WRONG = [
    ({"epochs": 0}, "epochs: expected a positive integer; got 0"),
    ({"epochs": -1}, "epochs: expected a positive integer; got -1"),
    ({"epochs": 1.5}, "epochs: expected a positive integer; got 1.5"),
    ({"epochs": True}, "epochs: expected a positive integer; got True"),
    ({"optimizer": "adma"}, "optimizer: expected one of .* got 'adma'. Did you mean 'adamax' or 'adam'"),
    ({"optimizer": "Adam"}, "optimizer: expected one of .* got 'Adam'. Did you mean 'adam'"),
    ({"optimizer": 3}, "optimizer: expected a name"),
    ({"optimizer": PyroOptim(torch.optim.Adam, {"lr": 0.1})}, "optimizer: .*Pyro's optimizers wrap torch's"),
    ({"optimizer": lambda parameters: "none"}, "optimizer: .* got a callable that makes a str"),
    ({"optimizer": torch.optim.LBFGS}, "optimizer: expected one whose step needs no closure; got LBFGS"),
    ({"optimizer": torch.optim.SGD([torch.zeros(1)])}, "optimizer: expected one over the parameters of this model"),
    ({"learning_rate": -1.0}, "learning_rate: expected a finite number at least 0; got -1.0"),
    ({"learning_rate": "fast"}, "learning_rate: expected a finite number"),
    ({"learning_rate": float("nan")}, "learning_rate: expected a finite number"),
    ({"learning_rate": 0.1, "optimizer": torch.optim.SGD([torch.zeros(1)])}, "learning_rate: expected None beside"),
    ({"schedule": "cosin"}, "schedule: expected one of .* Did you mean 'cosine'"),
    ({"schedule": 0.1}, "schedule: expected one of"),
    ({"clip_norm": 0.0}, "clip_norm: expected a finite number above 0"),
    ({"clip_norm": -1}, "clip_norm: expected a finite number above 0"),
    ({"max_time": 0}, "max_time: expected a finite number above 0"),
    ({"max_time": "1h"}, "max_time: expected a finite number above 0"),
    ({"patience": 0, "valid": pairs.data()}, "patience: expected a positive integer"),
    ({"patience": 3}, "patience: expected validation data beside it"),
    ({"patience": 3, "valid": pairs.data(), "monitor": NOT_SELECTING}, "patience: expected a monitor .* 'curiosity'"),
    ({"monitor": "elbo", "valid": pairs.data()}, "monitor: expected a pb.Monitor; got 'elbo'"),
    ({"monitor": NOT_SELECTING}, "monitor: expected validation data beside it"),
    ({"monitor": "elbo"}, "monitor: expected a pb.Monitor; got 'elbo'"),
    ({"device": "gpu"}, "device: expected a device of this machine, such as 'cpu'; got 'gpu'"),
    ({"device": 1.5}, "device: expected a device of this machine"),
    ({"precision": "float16"}, "precision: expected one of 'bf16', 'float32', 'float64', 'tf32'"),
    ({"precision": torch.float64}, "precision: expected one of"),
    ({"seed": -1}, "seed: expected an integer of at least 0"),
    ({"seed": 1.0}, "seed: expected an integer of at least 0"),
    ({"seed": 2**64}, r"seed: expected an integer below 2\*\*63"),
    ({"callbacks": "progress"}, "callbacks: expected pb.Callback objects; got 'p'"),
    ({"callbacks": [pb.Callback]}, "callbacks: expected pb.Callback objects; got <class"),
    ({"callbacks": 3}, "callbacks: expected pb.Callback objects; got 3"),
    ({"logger": "runs/vae"}, "logger: expected an object with log_metrics and log_hyperparams; got 'runs/vae'"),
    ({"logger": pb.CSVLogger}, "logger: expected an object with log_metrics"),
    ({"logger": [object()]}, "logger: expected an object with log_metrics"),
    ({"objective": "elbo"}, "objective: expected a callable .* got 'elbo'"),
    ({"objective": pb.ELBO}, "objective: expected a callable .* got <class"),
    ({"objective": TraceGraph_ELBO()}, "objective: .* It has no differentiable_loss"),
    ({"objective": RenyiELBO()}, "objective: .* It has no differentiable_loss"),
    ({"objective": lambda *_: 1.0}, "objective: expected one that returns a scalar tensor; got .* a float"),
    ({"objective": lambda *_: None}, "objective: .* returns a NoneType"),
    ({"objective": Trace_ELBO().loss}, "objective: .* returns a float"),
    ({"objective": lambda *_: torch.ones(3, requires_grad=True)}, r"objective: .* returns a tensor of shape \(3,\)"),
    ({"objective": lambda *_: torch.ones(())}, "objective: expected a loss that depends on the parameters"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_wrong_argument_is_named_before_anything_changes(settings: dict[str, Any], message: str) -> None:
    net, generator = pairs.Net(), torch.get_rng_state()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ArgumentError, match=f"^{message}") as caught:
        fit(Pair(net.model, net.guide), **settings)
    assert caught.value.argument == message.partition(":")[0]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without CUDA")
def test_cuda_without_cuda() -> None:
    with pytest.raises(ArgumentError, match=r"^device: expected a device of this machine, .* got 'cuda'"):
        fit(device="cuda")


def test_where_it_trains_by_default() -> None:
    """Beside the parameters of modules; without any, beside the data."""
    x, on_meta = torch.zeros(3), torch.zeros(3, device="meta")
    functions, methods = Programs(*pairs.params(), print), Programs(*pairs.methods(), print)
    assert door.device(None, methods, on_meta) == torch.device("cpu")
    for data in (on_meta, (on_meta, x), {"x": on_meta}):
        assert door.device(None, functions, data) == torch.device("meta")
    for data in (x, [on_meta], pb.data.Dataset(x[None]), x.numpy()):
        assert door.device(None, functions, data) == torch.device("cpu")


@pytest.mark.parametrize(("argument", "model", "guide"), [("model", None, print), ("guide", print, pairs.Encoder)])
def test_model_and_guide_are_callables(argument: str, model: Any, guide: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: expected a Pyro callable"):
        pb.fit(model, guide, pairs.data())


def test_sites_that_do_not_match() -> None:
    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("zz", dist.Normal(pyro.param("loc", pairs.zeros(3)), 1.0).to_event(1))

    with pytest.raises(SiteError, match=r"'zz'.*'z'"):
        fit(Pair(pairs.local_model, guide))
    assert torch.equal(pyro.param("loc"), pairs.zeros(3))


def test_shapes_and_supports_are_checked_in_the_first_step_alone() -> None:
    """Pyro's and torch's checks see the first step; they are as they were afterwards, and off in between."""
    flags: list[bool] = []

    def guide(x: torch.Tensor) -> None:
        flags.append(dist.Normal(0.0, 1.0)._validate_args)
        pairs.params().guide(x)

    fit(Pair(pairs.local_model, guide))
    assert flags == [True, True, *[False] * 5]  # the run that looks for parameters, and the first step
    assert dist.Normal(0.0, 1.0)._validate_args
    with pytest.raises(SiteError, match=r"'x'.*support"):
        pb.fit(lambda x: pyro.sample("x", dist.Bernoulli(pyro.param("p", torch.tensor(0.5))).expand([len(x)]), obs=x),
               lambda x: None, 0.3 + torch.zeros(4))  # fmt: skip


def test_defaults() -> None:
    net = pairs.Net()
    run = pb.fit(net.model, net.guide, pairs.data(300))
    assert (run.epochs, run.stopped, run.monitor, run.best_epoch, run.best) == (10, "finished", None, 10, None)
    assert run.state["position"]["step"] == 30
    assert run.state["optimizer"]["name"] == "Adam"
    assert run.state["optimizer"]["state"]["param_groups"][0]["lr"] == 1e-3
    assert list(run.history) == ["epoch", "seconds", "learning_rate", "train_loss"]
    assert repr(run) == f"Run(finished after 10 epochs, {run.seconds:.1f} s, seed {run.seed})"


def test_the_time_limit() -> None:
    """Without epochs it alone ends a run, and a schedule runs over it."""

    class Slow(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            training.seconds += 1.0

    run = fit(epochs=None, max_time=6.5, callbacks=Slow(), schedule="linear", learning_rate=1.0)
    assert run.stopped == "time"
    assert run.state["position"]["step"] == 7
    rates = run.history["learning_rate"]
    assert rates == pytest.approx([1 - 2 / 6.5, 1 - 5 / 6.5], abs=0.05)
    assert fit(epochs=1, max_time=1e6).stopped == "finished"


@pytest.mark.parametrize("size", [1, 7, 8, 9, 20])
def test_batches_of_any_size(size: int) -> None:
    """An odd last batch, a batch of one, one larger than the data."""
    net = pairs.Net()
    run = pb.fit(net.model, net.guide, pairs.data(size), batch_size=8, epochs=2)
    assert run.state["position"]["step"] == 2 * -(-size // 8)


def test_bfloat16_parameters_are_left_as_they_are() -> None:
    net = pairs.Net()
    run = pb.fit(net.model, net.guide, pairs.data().float(), precision="float64", epochs=1)
    assert {t.dtype for t in run.state["tensors"].values()} == {torch.float64}
    net = pairs.Net().float()
    run = pb.fit(net.model, net.guide, pairs.data(), precision="float32", epochs=1)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    """Trains there from data on the CPU, and its state continues on the CPU."""
    x = (torch.rand(64, 9) < 0.4).float()
    vae = pb.VAE(9, latent_dim=2, hidden=8)
    run = vae.fit(x, valid=x[:16], epochs=4, batch_size=8, device="cuda", seed=0)
    assert vae.device.type == "cuda"
    assert run.history["train_loss"][-1] < run.history["train_loss"][0]  # pyright: ignore[reportOperatorIssue]
    twin = pb.VAE(9, latent_dim=2, hidden=8)
    state = tree_map_only(torch.Tensor, torch.Tensor.cpu, run.state)
    again = twin.fit(x, valid=x[:16], epochs=5, batch_size=8, device="cpu", resume=state)
    assert again.epochs == 5
    assert twin.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["scored", "autonormal"])
def test_buffers_and_parameters_that_come_late_are_on_the_gpu(kind: str) -> None:
    x = pairs.data().cuda()
    with torch.device("cuda"):
        pair = pairs.SAMPLED[kind]()
        run = pb.fit(*pair, x, epochs=2, batch_size=8, device="cuda", seed=0)
    assert {tensor.device.type for tensor in run.state["tensors"].values()} == {"cuda"}


@pytest.mark.gpu
def test_a_gpu_run_is_reproducible_and_leaves_its_generator_alone() -> None:
    found = []
    for _ in range(2):
        net, before = pairs.Net(), torch.cuda.get_rng_state()
        pb.fit(net.model, net.guide, pairs.data(), epochs=2, batch_size=8, device="cuda", seed=0)
        assert torch.equal(torch.cuda.get_rng_state(), before)
        found.append(net.encoder.weight.detach().clone())
        torch.cuda.manual_seed(3)
    assert torch.equal(*found)


@pytest.mark.gpu
def test_steps_on_a_gpu_do_not_wait() -> None:
    """Only the guard does, every 200 steps."""
    waited: list[int] = []

    class Watch(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            torch.cuda.set_sync_debug_mode("error" if 3 < training.step < 190 else "default")
            waited.append(training.step)

    net = pairs.Net()
    try:
        pb.fit(net.model, net.guide, pairs.data(1600), epochs=1, batch_size=8, device="cuda", callbacks=Watch())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waited) == 200
