"""Whether chains have mixed: right on chains whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError
from probae.evaluation.mixing import Chains, chains_of


def autoregressive(correlation: float, steps: int = 2000, chains: int = 8, size: int = 3) -> Tensor:
    """(T, M, D) of variance one, whose effective sample size is (1 - c) / (1 + c) of their number."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(steps, chains, size, generator=generator, dtype=torch.float64)
    x = [noise[0]]
    for step in noise[1:]:
        x.append(correlation * x[-1] + math.sqrt(1 - correlation**2) * step)
    return torch.stack(x)


def judged(x: Tensor, every: int = 1) -> Chains:
    return chains_of(x, x.square().sum(-1), every)


def two_modes(size: int = 12) -> pb.RBM:
    """Half of the mass at all zeros, half at all ones, with 5 nats a unit between: no Gibbs chain gets across."""
    weight = torch.full((size, 1), 10.0)
    return pb.RBM(size, 1).set_parameters(weight, -weight[:, 0] / 2, -weight.sum(0) / 2)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_effective_sample_sizes_are_those_of_autoregressive_chains(correlation: float) -> None:
    """Smallest over five numbers: a little below. Squares of the values decorrelate faster."""
    chains = judged(autoregressive(correlation))
    wanted = 16_000 * (1 - correlation) / (1 + correlation)
    assert 0.75 * wanted < chains.ess < 1.1 * wanted
    assert chains.rhat < 1.01
    assert chains.mixed
    assert chains.time == pytest.approx(16_000 / chains.ess)
    assert judged(autoregressive(correlation), 10).time == pytest.approx(10 * chains.time)
    assert str(chains).endswith("| mixed")


def test_chains_at_different_places_have_not_mixed() -> None:
    """Of the same free energy; apart along one of twenty directions."""
    x = autoregressive(0.5, size=20)
    x[:, :4, 7] += 8
    chains = chains_of(x, autoregressive(0.5, size=1)[..., 0])
    assert chains.rhat > 2
    assert chains.ess < 50
    assert not chains.mixed
    assert str(chains).endswith("NOT MIXED")


def test_chains_that_drift_have_not_mixed() -> None:
    x = autoregressive(0.0) + torch.linspace(0, 2, 2000, dtype=torch.float64)[:, None, None]
    assert judged(x).rhat > 1.1


def test_few_states_are_too_few() -> None:
    assert not judged(autoregressive(0.0, steps=10)).mixed


def test_chains_that_stand_still() -> None:
    """All at one place is where a machine of one state is; each at its own place is as bad as can be."""
    here = torch.ones(100, 8, 3)
    assert judged(here).mixed
    there = here.clone()
    there[:, :4] = 0
    assert judged(there).rhat > 100
    assert not judged(there).mixed


def test_machines_that_mix_and_machines_that_do_not() -> None:
    torch.manual_seed(0)
    assert pb.RBM(20, 10).chains(steps=400).mixed
    stuck = two_modes().chains(steps=400)
    assert stuck.rhat > 2
    assert not stuck.mixed


def test_states_are_those_asked_for_and_repeat_with_the_seed() -> None:
    torch.manual_seed(0)
    rbm = pb.RBM(12, 5).prepare((torch.rand(50, 12) < 0.2).float())
    state = torch.get_rng_state()
    chains, again, other = (rbm.chains(6, steps=100, every=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert chains.states.shape == (10, 6, 12)
    assert chains.free_energy.shape == (10, 6)
    torch.testing.assert_close(chains.free_energy[3], rbm.free_energy(chains.states[3]).detach())
    assert torch.equal(chains.states, again.states)
    assert chains.rhat == again.rhat
    assert not torch.equal(chains.states, other.states)


def test_both_kinds_of_starts_are_needed() -> None:
    """Prepared with data in one of two modes: half of the chains start there, half go where the other pulls them."""
    rbm = two_modes(30)
    with torch.no_grad():
        rbm.hidden_bias.add_(110.0)  # from fair coins all go to the other mode
    assert rbm.chains(steps=400).mixed
    rbm.prepare((torch.rand(500, 30) < 0.01).float())
    assert not rbm.chains(steps=400).mixed


def test_other_units_and_documents() -> None:
    torch.manual_seed(0)
    assert pb.RBM(5, 3, "gaussian").chains(steps=400).mixed
    counts = pb.RBM(6, 3, "counts").prepare(torch.randint(1, 9, (50, 6)).float())
    assert torch.equal(counts.chains(steps=100, length=7).states.sum(-1), torch.full((50, 20), 7.0))
    assert counts.lengths is not None
    chains = counts.chains(steps=400)
    assert (chains.states.sum(-1) == counts.lengths.median()).all()
    assert chains.mixed


def test_the_verdict_is_a_function_of_the_states() -> None:
    x = autoregressive(0.9, steps=100, size=50)
    state = torch.get_rng_state()
    one, other = judged(x), judged(x)
    assert (one.rhat, one.ess) == (other.rhat, other.ess)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("num_chains", {"num_chains": 3}), ("steps", {"steps": 10}), ("every", {"steps": 80, "every": 11}),
        ("every", {"every": 0}), ("length", {"length": 3}), ("seed", {"seed": -1}),
    ],
)  # fmt: skip
def test_errors_name_the_argument(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=rf"^{name}: "):
        pb.RBM(4, 3).chains(**options)
