"""Two ways to the same numbers: our objective and Pyro's, a recorded program and the eager one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tests.inference import zoo
from tests.inference.zoo import Pair

PARTICLES = [
    pytest.param({}, id="one"),
    pytest.param({"num_particles": 3}, id="vectorized"),
    pytest.param({"num_particles": 3, "vectorize": False}, id="looped"),
]


def pyros(kind: Callable[..., Any], pair: Pair, num_particles: int = 1, vectorize: bool = True) -> Any:
    """Pyro's objective of this kind with the same particles."""
    return kind(num_particles=num_particles, vectorize_particles=vectorize, max_plate_nesting=pair.nesting)


def assert_equal(ours: Any, theirs: Any, pair: Pair, tolerance: float = 1e-10) -> None:
    """Value and all gradients, under the same noise."""
    ours(pair.model, pair.guide, *pair.args)
    pyro.set_rng_seed(1)
    loss = ours(pair.model, pair.guide, *pair.args)
    pyro.set_rng_seed(1)
    wanted = theirs.differentiable_loss(pair.model, pair.guide, *pair.args)
    torch.testing.assert_close(loss, wanted, rtol=tolerance, atol=tolerance)
    found, expected = zoo.gradients(loss), zoo.gradients(wanted)
    assert found
    assert any(g.abs().max() > 0 for g in expected.values())
    for name, gradient in found.items():
        difference = (gradient - expected[name]).abs().max()
        assert difference <= tolerance * (1 + expected[name].abs().max()), f"{name}: off by {difference}"


def recorded_and_eager(objective: Any, pair: Pair, other: tuple[Any, ...]) -> tuple[Any, Any]:
    """Loss and gradients on `other`, of the program that `make_fx` records on the pair's own batch, and of the pair."""
    objective(pair.model, pair.guide, *pair.args)

    def step(*batch: Any) -> tuple[Tensor, ...]:
        loss = objective(pair.model, pair.guide, *batch)
        return loss.detach(), *zoo.gradients(loss).values()

    with pyro.validation_enabled(False):
        program = make_fx(step)(*pair.args)
    numbers = []
    for run in (program, step):
        pyro.set_rng_seed(3)
        numbers.append(run(*other))
    return numbers[0], numbers[1]


def value_and_gradients(pair: Pair, objective: Any, seed: int = 5) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and its gradients under the noise of a seed."""
    objective(pair.model, pair.guide, *pair.args)
    pyro.set_rng_seed(seed)
    loss = objective(pair.model, pair.guide, *pair.args)
    return loss.detach(), zoo.gradients(loss)
