"""`accumulate=k` over batches of b examples takes the steps of batches of k * b."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import probae as pb
from tests.engine import pairs
from tests.engine.steps import Outcome, assert_same, train

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9), "schedule": "cosine"},
    "adam, clipped": {"clip_norm": 0.1, "learning_rate": 0.05},
}
EXAMPLES = 22


def mixture(way: str = "eager", **settings: Any) -> Outcome:
    """A pair without noise, whose loss is a sum over examples."""
    return train(pairs.mixture, way, pairs.data(EXAMPLES), **settings)


def assert_close(found: Outcome, expected: Outcome) -> None:
    for key, value in expected.left["tensors"].items():
        torch.testing.assert_close(found.left["tensors"][key], value, rtol=1e-9, atol=0)
    for name, column in expected.left["history"].items():
        assert found.left["history"][name] == pytest.approx(column, rel=1e-9)
    assert found.left["position"]["step"] == expected.left["position"]["step"]


@pytest.mark.parametrize(("count", "way"), [(2, "eager"), (3, "eager"), (4, "eager"), (10, "eager"), (3, "trace")])
@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_one_large_batch(name: str, count: int, way: str) -> None:
    """Batches of 4, 4, 4, 4, 4 and 2 examples; the last group has fewer of them, or is the only one."""
    settings = {"epochs": 5, **SETTINGS[name]}
    whole = mixture(batch_size=4 * count, **settings)
    parts = mixture(way, batch_size=4, accumulate=count, **settings)
    assert parts.way == way
    assert whole.left["position"]["step"] == 5 * -(-EXAMPLES // (4 * count))
    assert_close(parts, whole)


def test_it_is_not_the_small_batches() -> None:
    """The comparison tells them apart."""
    with pytest.raises(AssertionError):
        assert_close(mixture(batch_size=4, accumulate=3), mixture(batch_size=4))


def test_a_callback_sees_steps_not_batches() -> None:
    seen: list[tuple[int, int]] = []

    class Watch(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            seen.append((training.step, training.batch))

    mixture(batch_size=4, accumulate=4, epochs=2, callbacks=Watch)
    assert seen == [(1, 4), (2, 6), (3, 4), (4, 6)]


class Stop(pb.Callback):
    def on_step_end(self, training: Any) -> None:
        if training.step == 3:
            training.stop("test")


def test_it_goes_on_between_two_groups() -> None:
    """With noise: the groups, their noise and the loss of the epoch are those of the run that never stopped."""
    settings = {"batch_size": 4, "accumulate": 4}
    whole = train(pairs.Net, "eager", **settings)
    half = train(pairs.Net, "eager", callbacks=Stop, **settings)
    assert half.left["position"]["batch"] == 4
    assert_same(train(pairs.Net, "eager", resume=half.run.state, **{**settings, "seed": None}).left, whole.left)
