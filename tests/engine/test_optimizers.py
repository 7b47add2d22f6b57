"""Any torch optimizer trains; schedules are functions of the progress."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.engine.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from tests.engine import pairs


def fit(net: pairs.Net, **settings: Any) -> pb.Run:
    return pb.fit(net.model, net.guide, pairs.data(), **{"epochs": 2, "batch_size": 8, "seed": 0, **settings})


def trained(optimizer: Any, **settings: Any) -> list[Tensor]:
    net = pairs.Net()
    fit(net, optimizer=optimizer(net) if getattr(optimizer, "by_net", False) else optimizer, **settings)
    return [p.detach().clone() for p in net.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names_and_classes(name: str) -> None:
    """The same steps by name (fused where torch can) and by class."""
    by_name = trained(name, learning_rate=0.01)
    by_class = trained(OPTIMIZERS[name], learning_rate=0.01)
    start = [p.detach() for p in pairs.Net().parameters()]
    for one, other, before in zip(by_name, by_class, start, strict=True):
        torch.testing.assert_close(one, other)
        assert not torch.equal(one, before)


def test_partials_functions_and_instances() -> None:
    expected = trained("sgd", learning_rate=0.1)
    for given in (partial(torch.optim.SGD, lr=0.1), lambda parameters: torch.optim.SGD(parameters, lr=0.1)):
        assert all(torch.equal(a, b) for a, b in zip(trained(given), expected, strict=True))
    net = pairs.Net()
    fit(net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected, strict=True))


def test_groups_with_rates_of_their_own() -> None:
    """Under a schedule each keeps its ratio; what an optimizer leaves out stays."""
    net, rates = pairs.Net(), []

    class Watch(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            rates.append([group["lr"] for group in training.descent.optimizer.param_groups])

    groups = [{"params": [net.encoder.weight], "lr": 0.1}, {"params": [net.decoder.weight], "lr": 0.01}]
    before = net.decoder.bias.detach().clone()
    fit(net, optimizer=torch.optim.SGD(groups), schedule="linear", callbacks=Watch())
    assert rates == [pytest.approx([0.1 * (1 - step / 6), 0.01 * (1 - step / 6)]) for step in range(6)]
    assert torch.equal(net.decoder.bias, before)


def test_a_callback_may_add_and_change_groups() -> None:
    net, extra = pairs.Net(), torch.nn.Parameter(torch.ones(()))

    class Add(pb.Callback):
        def on_epoch_end(self, training: Any) -> None:
            if training.epoch == 1:
                training.descent.optimizer.add_param_group({"params": [extra], "lr": 1.0})

    run = fit(net, optimizer="sgd", learning_rate=0.1, callbacks=Add(), schedule="linear")
    rates = [group["lr"] for group in run.state["optimizer"]["state"]["param_groups"]]
    assert rates == pytest.approx([0.1 / 6, 1.0 / 6])


def test_the_gradient_is_clipped() -> None:
    """With SGD no step is longer than rate x clip_norm, and those below it are not changed."""
    steps: dict[float | None, list[float]] = {}
    for clip in (None, 1e9, 0.5):
        net, lengths = pairs.Net(), []

        class Watch(pb.Callback):
            before: Tensor

            def on_fit_start(self, training: Any, net: Any = net) -> None:
                self.before = torch.cat([p.detach().flatten() for p in net.parameters()])

            def on_step_end(self, training: Any, lengths: Any = lengths, net: Any = net) -> None:
                before = self.before
                self.on_fit_start(training, net)
                lengths.append((self.before - before).norm().item())

        fit(net, optimizer="sgd", learning_rate=0.1, clip_norm=clip, callbacks=Watch())
        steps[clip] = lengths
    assert steps[None] == steps[1e9]
    assert max(steps[None]) > 0.1
    assert steps[0.5] == pytest.approx([min(0.05, length) for length in steps[0.5]])
    assert max(steps[0.5]) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    run = fit(pairs.Net(), schedule=name, learning_rate=0.1, epochs=4)
    progress = [(3 * epoch - 1) / 12 for epoch in (1, 2, 3, 4)]
    exact = {
        "constant": [0.1] * 4,
        "linear": [0.1 * (1 - p) for p in progress],
        "cosine": [0.05 * (1 + math.cos(math.pi * p)) for p in progress],
    }
    assert run.history["learning_rate"] == pytest.approx(exact[name])


def test_a_schedule_of_ones_own() -> None:
    seen: list[float] = []

    def own(progress: float) -> float:
        seen.append(progress)
        return 2.0

    run = fit(pairs.Net(), schedule=own, learning_rate=0.1)
    assert seen == pytest.approx([step / 6 for step in range(6)])
    assert run.history["learning_rate"] == [0.2, 0.2]
    assert make_schedule(None) is None
    assert make_schedule("constant") is None


def test_a_rate_of_zero_moves_nothing() -> None:
    start = [p.detach() for p in pairs.Net().parameters()]
    assert all(torch.equal(a, b) for a, b in zip(trained("adam", learning_rate=0.0), start, strict=True))


def test_adam_is_fused() -> None:
    (group,) = make_optimizer("adam", [torch.nn.Parameter(torch.ones(2))], None).param_groups
    assert group["fused"]
    assert group["lr"] == 1e-3
