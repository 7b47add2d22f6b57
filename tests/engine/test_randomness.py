"""One seed makes a run; without one it comes from torch's generator, which a run with a seed leaves alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import probae as pb
from probae.engine.randomness import check_seed, random_state, set_random_state, stream
from probae.engine.sources import batches
from tests.engine import pairs

CPU = torch.device("cpu")


def trained(seed: int | None, data: Any = None, **settings: Any) -> Tensor:
    net = pairs.Net()
    pb.fit(net.model, net.guide, pairs.data() if data is None else data, epochs=2, batch_size=8, seed=seed, **settings)
    return net.encoder.weight.detach().clone()


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(pairs.data()), batch_size=8, shuffle=True)


def test_seeds_of_any_size() -> None:
    found = [trained(seed) for seed in (0, 2**31, 2**63 - 1)]
    assert len({tuple(weight.flatten().tolist()) for weight in found}) == 3


@pytest.mark.parametrize("data", [None, loader()], ids=["resident", "loader"])
def test_a_seed_makes_a_run(data: Any) -> None:
    first = trained(1, data)
    torch.manual_seed(99)
    assert torch.equal(trained(1, data), first)
    assert not torch.equal(trained(2, data), first)


@pytest.mark.parametrize("data", [None, loader(), loader], ids=["resident", "loader", "validated by a loader"])
def test_a_run_with_a_seed_leaves_all_generators_alone(data: Any) -> None:
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    if data is loader:
        trained(1, valid=loader())
    else:
        trained(1, data, valid=pairs.data(9), progress=False)
    after = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_without_a_seed_it_comes_from_the_global_generator() -> None:
    torch.manual_seed(5)
    first, second = trained(None), trained(None)
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(trained(None), first)
    torch.manual_seed(5)
    seed = check_seed(None)
    assert torch.equal(trained(seed), first)


def test_the_seed_is_reported_and_resumed() -> None:
    net = pairs.Net()
    run = pb.fit(net.model, net.guide, pairs.data(), epochs=1)
    again = pb.fit(net.model, net.guide, pairs.data(), epochs=2, resume=run.state)
    assert run.seed == again.seed == run.state["seed"]


def test_a_stream_of_ones_own() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    first = torch.rand(2)
    with stream(7, CPU):
        inside = torch.rand(3)
        with stream(8, CPU):
            torch.rand(5)
        torch.rand(1)
    assert torch.equal(torch.cat([first, torch.rand(2)]), expected)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(3), inside)


def test_a_stream_ends_with_an_error_too() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with stream(1, CPU):
            raise ZeroDivisionError(torch.rand(1))

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_random_state_goes_on() -> None:
    torch.manual_seed(3)
    state = random_state(CPU)
    first = torch.rand(3)
    set_random_state(state, CPU)
    assert torch.equal(torch.rand(3), first)


def test_order_and_noise_are_apart() -> None:
    """The order of the examples in an epoch is never what the generator of the noise would have drawn first."""
    x = torch.arange(20.0)
    for seed in range(200):
        (batch,) = batches("data", x, batch_size=19, seed=seed, device=CPU).epoch(0, 1)
        order = torch.cat([part.args[0] for part in batches("data", x, batch_size=19, seed=seed, device=CPU).epoch(0)])
        assert torch.equal(order[-1:], batch.args[0])
        with stream(seed, CPU):
            assert not torch.equal(order, x[torch.randperm(20)])
