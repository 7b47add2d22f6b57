"""Negative phases: the expectations of their gradients, and the clock that persistent chains follow."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from probae.distributions.rbm import RestrictedBoltzmann
from probae.errors import ArgumentError, NotPreparedError
from probae.inference import stepping
from probae.inference.negative_phases import CD, PCD, Exact, NegativePhase

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""


def states(num_units: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=num_units)), dtype=torch.float64)


def parameters(num_visible: int, num_hidden: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(num_visible, num_hidden), (num_visible,), (num_hidden,)]
    return [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]


def transition_matrix(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """p(v' | v) of one block Gibbs step, (2^D, 2^D), written out from the conditionals."""
    v, h = states(a.numel()), states(b.numel())
    on, up = torch.sigmoid(v @ weight + b)[:, None], torch.sigmoid(h @ weight.T + a)[:, None]
    return (h * on + (1 - h) * (1 - on)).prod(-1) @ (v * up + (1 - v) * (1 - up)).prod(-1)


def statistics(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """d(-F) / d(W, a, b) at each state, (2^D, number of parameters), in closed form."""
    v = states(a.numel())
    mean = torch.sigmoid(v @ weight + b)
    return torch.cat([(v[:, :, None] * mean[:, None]).flatten(1), v, mean], dim=1)


def gradient(scalar: Tensor, theta: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, theta)])


def assert_agrees(mean: Tensor, expected: Tensor, variance: Tensor) -> None:
    """z-tests with known variances of the mean, Bonferroni over the entries."""
    z = (mean - expected) / variance.sqrt()
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / (2 * z.numel())), z


class Machine(nn.Module):
    """The smallest model around the distribution, with any negative phase."""

    def __init__(self, phase: NegativePhase) -> None:
        super().__init__()
        weight, a, b = (p.detach() for p in parameters(6, 4))
        self.weight, self.a, self.b = nn.Parameter(weight), nn.Parameter(a), nn.Parameter(b)
        phase.allocate(RestrictedBoltzmann(weight, a, b))
        self.phase = phase

    def score(self) -> Tensor:
        theta = (self.weight, self.a, self.b)
        machine = RestrictedBoltzmann(*theta, negative_phase=self.phase, training=self.training)
        return machine.log_prob(states(6)[:8]).sum()

    @property
    def chains(self) -> Tensor:
        assert isinstance(self.phase, PCD)
        assert self.phase.chains is not None
        return self.phase.chains


def moves(machine: Machine) -> bool:
    before = machine.chains.clone()
    machine.score()
    return not torch.equal(before, machine.chains)


@pytest.mark.parametrize("steps", [1, 3])
def test_cd_gradient_has_the_expectation_of_its_transition_matrix(steps: int) -> None:
    """100,000 runs from each of four examples, variances from the exact matrix; false alarm 1e-7."""
    theta, batch, runs = parameters(4, 3), torch.tensor([0, 3, 9, 15]), 100_000
    with torch.no_grad():
        kernel = torch.linalg.matrix_power(transition_matrix(*theta), steps)[batch]
        phi = statistics(*theta)
        expected, variance = kernel @ phi, kernel @ phi**2 - (kernel @ phi) ** 2
        positive = phi[batch].mean(0)
    machine = RestrictedBoltzmann(*theta, negative_phase=CD(steps), training=True)
    mean = gradient(machine.log_prob(states(4)[batch].expand(runs, 4, 4)).mean(), theta)
    assert_agrees(mean, positive - expected.mean(0), variance.sum(0) / (runs * len(batch) ** 2))


def test_pcd_gradient_from_exact_chains_is_unbiased() -> None:
    """100,000 exact chains, moved by two steps; variances by enumeration; false alarm 1e-7."""
    theta, count = parameters(4, 3), 100_000
    phase = PCD(steps=2, num_chains=count)
    phase.allocate(RestrictedBoltzmann(*theta))
    machine = RestrictedBoltzmann(*theta, negative_phase=phase, training=True)
    p = (-machine.free_energy(states(4))).detach().softmax(0)
    assert phase.chains is not None
    phase.chains.copy_(states(4)[torch.multinomial(p, count, replacement=True)])
    phi = statistics(*theta).detach()
    mean = gradient(machine.log_prob(states(4)[:1]).sum(), theta)
    assert_agrees(phi[0] - mean, p @ phi, (p @ phi**2 - (p @ phi) ** 2) / count)


def test_exact_gradient_is_the_expectation() -> None:
    theta = parameters(4, 3)
    machine = RestrictedBoltzmann(*theta, negative_phase=Exact(), training=True)
    p, phi = (-machine.free_energy(states(4))).detach().softmax(0), statistics(*theta).detach()
    got = gradient(machine.log_prob(states(4)[[2, 7]]).sum(), theta)
    torch.testing.assert_close(got, phi[2] + phi[7] - 2 * p @ phi, rtol=0, atol=1e-8)


def test_exact_keeps_the_dtype_of_the_machine() -> None:
    theta = [p.detach().float() for p in parameters(4, 3)]
    assert RestrictedBoltzmann(*theta, negative_phase=Exact()).log_prob(torch.zeros(4)).dtype == torch.float32


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("fused", [False, True])
def test_chains_move_once_a_step_of_a_foreign_loop(optimizer: Any, fused: bool) -> None:
    machine = Machine(PCD(num_chains=16))
    adam, buffer = optimizer(machine.parameters(), lr=0.01, fused=fused), machine.chains
    for _ in range(3):
        assert moves(machine)
        assert not any(moves(machine) for _ in range(4))
        adam.zero_grad()
        (-machine.score()).backward()
        adam.step()
    assert machine.chains is buffer


def test_chains_move_once_a_step_of_an_engine() -> None:
    machine = Machine(PCD(num_chains=16))
    optimizer = torch.optim.SGD(machine.parameters(), lr=0.01)
    for _ in range(3):
        with stepping.training_step():
            assert moves(machine)
            machine.score().backward()
            optimizer.step()
            assert not moves(machine)


def test_chains_rest_in_eval_mode_and_without_gradients() -> None:
    machine = Machine(PCD(num_chains=16))
    with torch.no_grad():
        assert not moves(machine)
    machine.phase.eval()
    assert not moves(machine)
    machine.phase.train()
    distribution = RestrictedBoltzmann(machine.weight, machine.a, machine.b, training=False)
    before = machine.chains.clone()
    machine.phase(distribution, states(6))
    assert torch.equal(before, machine.chains)
    assert moves(machine)


def test_machines_do_not_share_their_chains_or_their_memory() -> None:
    one = Machine(PCD(num_chains=16))
    assert moves(one)
    other, twin = Machine(PCD(num_chains=16)), copy.deepcopy(one)
    assert moves(other)
    assert twin.chains is not one.chains
    assert not moves(twin)
    stepping.end_step()
    before = one.chains.clone()
    assert moves(twin)
    assert torch.equal(before, one.chains)
    assert moves(one)


def train(machine: Machine, steps: int) -> None:
    optimizer = torch.optim.SGD(machine.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        (-machine.score()).backward()
        optimizer.step()


def test_training_from_a_saved_state_continues_exactly() -> None:
    machine = Machine(PCD(num_chains=16))
    train(machine, 3)
    saved, noise = copy.deepcopy(machine.state_dict()), torch.get_rng_state()
    train(machine, 3)
    fresh = Machine(PCD(num_chains=16))
    for resumed in (fresh, machine):
        final = copy.deepcopy(machine.state_dict())
        resumed.load_state_dict(saved)
        torch.set_rng_state(noise)
        train(resumed, 3)
        for name, value in resumed.state_dict().items():
            torch.testing.assert_close(value, final[name], rtol=0, atol=0)


def test_loading_a_state_does_not_start_a_new_step() -> None:
    machine = Machine(PCD(num_chains=16))
    saved = copy.deepcopy(machine.state_dict())
    assert moves(machine)
    machine.load_state_dict(saved)
    assert not moves(machine)
    stepping.end_step()
    assert moves(machine)


def test_cd_draws_new_particles_at_each_call() -> None:
    torch.manual_seed(0)
    machine = Machine(CD())
    theta = [machine.weight, machine.a, machine.b]
    assert not torch.equal(gradient(machine.score(), theta), gradient(machine.score(), theta))
    assert not machine.phase.state_dict()


def test_particles_are_held_fixed() -> None:
    theta = parameters(4, 3)
    value = states(4).requires_grad_()
    machine = RestrictedBoltzmann(*theta, negative_phase=CD(), training=True)
    (got,) = torch.autograd.grad(machine.log_prob(value).sum(), value)
    (wanted,) = torch.autograd.grad(-machine.free_energy(value).sum(), value)
    torch.testing.assert_close(got, wanted)


def test_chains_start_as_fair_coins() -> None:
    """A z-test over 200,000 coins; false alarm 1e-7."""
    phase = PCD(num_chains=1000)
    phase.allocate(RestrictedBoltzmann(torch.zeros(200, 3), torch.zeros(200), torch.zeros(3)))
    assert phase.chains is not None
    assert phase.chains.shape == (1000, 200)
    assert set(phase.chains.unique().tolist()) == {0.0, 1.0}
    assert abs(phase.chains.mean().item() - 0.5) < stats.norm.isf(FALSE_ALARM / 2) * 0.5 / 200_000**0.5


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: CD(steps=0), "steps"),
        (lambda: CD(steps=1.5), "steps"),  # type: ignore[arg-type]
        (lambda: PCD(steps=0), "steps"),
        (lambda: PCD(num_chains=-1), "num_chains"),
    ],
)
def test_configuration_is_checked_at_the_door(make: Any, argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"{argument}: expected a positive integer"):
        make()


def test_errors_say_what_to_do() -> None:
    with pytest.raises(NotPreparedError, match="allocate"):
        RestrictedBoltzmann(*parameters(4, 3), negative_phase=PCD(), training=True).log_prob(states(4))
    large = [torch.zeros(26, 27), torch.zeros(26), torch.zeros(27)]
    with pytest.raises(ArgumentError, match=r"at most 2\^25 states"):
        RestrictedBoltzmann(*large, negative_phase=Exact()).log_prob(torch.zeros(1, 26))
