"""Whole steps captured, on a pretend accelerator whose graphs hold operations and memory as CUDA's do."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.engine import backends, capture, plans, take
from probae.engine.batches import Batch
from probae.engine.recording import pinned
from probae.inference import stepping
from tests.accelerator import FAR, Accelerator, accelerator

X = (torch.rand(44, 9, generator=torch.Generator().manual_seed(0)) < 0.4).float()
ADAM = partial(torch.optim.Adam, lr=1e-2, fused=True)
SGD = partial(torch.optim.SGD, lr=1e-1, momentum=0.5, fused=True)


class Played:
    """In place of a recording, which cannot be made of pretended tensors: the function itself."""

    def __init__(self, function: Any, batch: Batch, programs: Any, device: torch.device) -> None:
        self.function, self.programs, self.state, self.constants = function, programs, programs.leaves(), []

    def inputs(self, batch: Batch) -> list[Batch]:
        return [batch]

    def outputs(self, tensors: Any) -> Any:
        return tensors

    def change_since(self, other: Any) -> None:
        return None


def program(recording: Any) -> Callable[[list[Any]], Any]:
    def run(inputs: list[Any]) -> Any:
        stepping.end_step()  # what moves once a step is part of a recording, and moves whenever that runs
        with stepping.training_step(), torch.enable_grad(), pinned(recording.programs):
            return recording.function(*inputs)

    return run


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Generator[Accelerator]:
    """Where steps can be captured."""
    optimizers = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["cpu", "meta"])
    monkeypatch.setattr(capture, "_DEVICES", {"meta"})
    monkeypatch.setattr(take, "record", Played)
    for module in (take, plans):
        monkeypatch.setattr(module, "seconds_to_compile", lambda recording: 0.0)
    monkeypatch.setitem(backends.BACKENDS, "inductor", program)
    with accelerator() as counts:
        monkeypatch.setattr(capture, "captured", counts.captured)
        yield counts


def trained(
    make: Callable[[], pb.VAE | pb.RBM], way: str, device: Any = FAR, **settings: Any
) -> tuple[list[Any], dict[str, Tensor]]:
    """Losses and what a training leaves."""
    torch.manual_seed(0)
    pyro.clear_param_store()
    model = make()
    given = {"epochs": 3, "batch_size": 8, "optimizer": ADAM, **copy.deepcopy(settings)}
    run = model.fit(X, seed=0, device=device, progress=False, compile=way, **given)
    return run.history["train_loss"], {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def assert_same(make: Callable[[], Any], **settings: Any) -> None:
    losses, state = trained(make, "eager", **settings)
    captured_losses, captured_state = trained(make, "cudagraph", **settings)
    assert captured_losses == pytest.approx(losses, rel=1e-5)
    for name, tensor in state.items():
        torch.testing.assert_close(captured_state[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def vae(**settings: Any) -> pb.VAE:
    return pb.VAE(9, 2, 8, **settings)


def batch_normalized() -> pb.VAE:
    encoder = nn.Sequential(nn.Linear(9, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 4))
    return pb.VAE(9, 2, encoder=encoder)


MODELS: dict[str, Callable[[], Any]] = {
    "VAE": vae,
    "batch normalization, dropout": batch_normalized,
    "RBM": lambda: pb.RBM(9, 4, negative_phase=pb.PCD(num_chains=8)),
    "centred": lambda: pb.RBM(9, 4, centering=True),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "SGD": {"optimizer": SGD},
    "schedule": {"schedule": "linear"},
    "clipped": {"clip_norm": 0.1},
    "warm-up": {"objective": pb.ELBO(warmup=10)},
    "bfloat16": {"precision": "bf16"},
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_models_train_alike(device: Accelerator, make: Callable[[], Any]) -> None:
    assert_same(make)
    assert sum(graph.replays for graph in device.graphs) > 8


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_train_alike(device: Accelerator, settings: dict[str, Any]) -> None:
    assert_same(vae, **settings)
    (graph,) = device.graphs
    assert graph.replays > 8


def test_it_is_tried_with_the_other_ways(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "trace", program)
    monkeypatch.setattr(plans, "_SECONDS_TO_RECORD", 0.0)
    assert trained(vae, "auto", epochs=12)[0] == pytest.approx(trained(vae, "eager", epochs=12)[0], rel=1e-5)
    assert device.graphs[0].replays > 5


def test_each_step_has_its_own_noise(device: Accelerator) -> None:
    losses: list[Tensor] = []

    class Note(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            losses.append(training.loss)

    trained(vae, "cudagraph", optimizer=partial(SGD, lr=0.0), epochs=20, batch_size=44, callbacks=[Note()])
    assert device.graphs[0].replays > 8
    assert len({loss.item() for loss in losses}) == 20


def test_steps_do_not_wait(device: Accelerator) -> None:
    waits = []
    for epochs in (30, 31):  # no comparison falls between
        device.waits.clear()
        trained(vae, "cudagraph", epochs=epochs, batch_size=22, optimizer=SGD)
        waits.append(device.waits.total())
    per_epoch = 2  # of the mean loss, and of the guard
    assert waits[1] - waits[0] <= per_epoch


class Set(pb.Callback):
    """Sets a number of the optimizer after some steps."""

    def __init__(self, key: str, value: Callable[[int], float], steps: set[int]) -> None:
        self.key, self.value, self.steps = key, value, steps

    def on_step_end(self, training: Any) -> None:
        if training.step in self.steps:
            for group in training.descent.optimizer.param_groups:
                group[self.key] = self.value(training.step)


def test_learning_rates_set_by_hand_are_heard(device: Accelerator) -> None:
    assert_same(vae, callbacks=[Set("lr", lambda step: 0.1 / step, set(range(20)))])
    assert len(device.graphs) == 1


def test_other_settings_are_captured_anew(device: Accelerator) -> None:
    assert_same(vae, callbacks=[Set("weight_decay", lambda step: 0.1, {9})])
    assert len(device.graphs) == 2


def test_settings_that_keep_changing_are_launched_apart(device: Accelerator) -> None:
    with pytest.warns(UserWarning, match="cannot be captured: the settings of the optimizer change again"):
        assert_same(vae, callbacks=[Set("weight_decay", lambda step: 0.01 * step, set(range(20)))])


class Looks(torch.optim.SGD):
    """An optimizer that looks at numbers."""

    def step(self, closure: Any = None) -> None:
        if all(p.grad.abs().max().item() < 1e6 for group in self.param_groups for p in group["params"]):
            super().step()


def test_an_optimizer_that_looks_at_numbers_is_launched_apart(device: Accelerator) -> None:
    with pytest.warns(UserWarning, match="cannot be captured: operation not permitted"):
        assert_same(vae, optimizer=partial(Looks, lr=0.1))
    assert not device.graphs


class Counts(torch.optim.SGD):
    """An optimizer that counts in Python, as many do."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["count"] = self.state[p].get("count", 0) + 1
                p.data.add_(p.grad, alpha=-0.1 / self.state[p]["count"])


def test_an_optimizer_that_counts_in_python_is_launched_apart(device: Accelerator) -> None:
    with pytest.warns(UserWarning, match="cannot be captured: the optimizer counts in Python"):
        assert_same(vae, optimizer=partial(Counts, lr=0.1))
    assert not device.graphs


def test_by_itself_nobody_is_told_what_cannot_be_captured(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "trace", program)
    monkeypatch.setattr(plans, "_SECONDS_TO_RECORD", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(vae, "auto", epochs=12, optimizer=partial(Looks, lr=0.1))
    assert not device.graphs


def test_with_batches_in_pieces_the_gradient_is_captured(device: Accelerator) -> None:
    assert_same(vae, accumulate=2)
    assert device.graphs[0].replays > 8


def test_two_kinds_of_batch_hear_one_schedule(device: Accelerator) -> None:
    assert_same(vae, epochs=40, batch_size=22 - 4, schedule="linear", optimizer=SGD)
    assert [graph.replays > 8 for graph in device.graphs] == [True, True]


class Move(pb.Callback):
    """Puts a parameter elsewhere."""

    def on_step_end(self, training: Any) -> None:
        if training.step == 9:
            for p in training.descent.player.programs.parameters():
                p.near = p.near.clone()  # as `p.data = ...` does where tensors are real


def test_parameters_that_lie_elsewhere_are_captured_anew(device: Accelerator) -> None:
    assert_same(vae, callbacks=[Move()])
    assert len(device.graphs) == 2


def test_double_precision(device: Accelerator) -> None:
    losses, _ = trained(vae, "eager", precision="float64", optimizer=SGD)
    assert trained(vae, "cudagraph", precision="float64", optimizer=SGD)[0] == pytest.approx(losses, rel=1e-7)
    assert device.graphs[0].replays > 8


def test_what_is_frozen_midway_is_captured_anew(device: Accelerator) -> None:
    class Freeze(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            if training.step == 20:
                training.programs.model.__self__.encoder[0].requires_grad_(False)

    assert_same(vae, epochs=20, batch_size=11, callbacks=[Freeze()])
    assert len(device.graphs) == 2


class Scaled(nn.Module):
    """An encoder with a number on the CPU, which a captured step freezes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 4)
        self.factor = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.factor


def test_a_number_of_the_cpu_that_changes_is_noticed(device: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(take, "_CHECK_EVERY", 8)

    class Change(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            if training.step == 12:
                training.programs.model.__self__.encoder.factor.fill_(2.0)

    with pytest.warns(UserWarning, match="cannot be captured: a replay does not do what"):
        trained(lambda: pb.VAE(9, 2, encoder=Scaled()), "cudagraph", callbacks=[Change()], epochs=5)


def test_a_run_goes_on_captured(device: Accelerator) -> None:
    losses, state = trained(vae, "cudagraph", epochs=4)
    torch.manual_seed(0)
    model = vae()
    settings = {"batch_size": 8, "optimizer": ADAM, "seed": 0, "device": FAR, "progress": False}
    first = model.fit(X, epochs=2, compile="cudagraph", **settings)
    second = model.fit(X, epochs=4, compile="cudagraph", resume=first.state, **settings)
    assert second.history["train_loss"] == pytest.approx(losses, rel=1e-5)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), state[name], rtol=1e-5, atol=1e-6)


def test_nothing_is_said_where_all_is_well(device: Accelerator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(vae, "cudagraph")


GPU: dict[str, dict[str, Any]] = {
    **SETTINGS,
    "two kinds of batch": {"epochs": 40, "batch_size": 18, "schedule": "linear"},
    "in pieces": {"accumulate": 2},
    "float64": {"precision": "float64"},
}


@pytest.mark.gpu
@pytest.mark.parametrize("settings", GPU.values(), ids=GPU.keys())
def test_a_gpu_trains_alike(settings: dict[str, Any]) -> None:
    assert_same(vae, device="cuda", **settings)


@pytest.mark.gpu
def test_a_gpu_trains_on_where_a_step_cannot_be_captured() -> None:
    with pytest.warns(UserWarning, match="cannot be captured"):
        assert_same(vae, device="cuda", optimizer=partial(Looks, lr=0.1))
    assert_same(vae, device="cuda")
