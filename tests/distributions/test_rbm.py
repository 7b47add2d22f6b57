"""The restricted Boltzmann machine against brute force, and as a site of Pyro programs."""

from __future__ import annotations

from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from scipy import stats
from torch import Tensor, nn

from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units.functions import softplus
from probae.errors import ArgumentError, DataError, UnnormalizedError
from probae.evaluation.estimate import Estimate
from probae.inference.negative_phases import CD, PCD, Exact, NegativePhase

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""


def states(num_units: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=num_units)), dtype=torch.float64)


def parameters(num_visible: int, num_hidden: int, scale: float = 0.7, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(num_visible, num_hidden), (num_visible,), (num_hidden,)]
    return [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]


def brute_joint(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """-E(v, h) for all v, h, one term of the sum at a time."""
    v, h = states(a.numel()), states(b.numel())
    return torch.einsum("vi,ij,hj->vh", v, weight, h) + (v @ a)[:, None] + h @ b


def exact_samples(theta: list[Tensor], count: int) -> Tensor:
    joint = brute_joint(*theta).detach()
    return states(theta[1].numel())[torch.multinomial(joint.logsumexp(1).softmax(0), count, replacement=True)]


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """The mean of independent draws (N, ...) against `expected`: t-tests, Bonferroni over the entries."""
    count = len(draws)
    z = (draws.mean(0) - expected) / (draws.std(0) / count**0.5)
    bound = stats.t.isf(FALSE_ALARM / (2 * z.numel()), count - 1)
    assert z.abs().max() < bound, z


class Machine(nn.Module):
    """The smallest model around the distribution."""

    def __init__(self, phase: NegativePhase, num_visible: int = 5, num_hidden: int = 3, seed: int = 0) -> None:
        super().__init__()
        weight, a, b = (p.detach() for p in parameters(num_visible, num_hidden, seed=seed))
        self.weight, self.a, self.b = nn.Parameter(weight), nn.Parameter(a), nn.Parameter(b)
        phase.allocate(RestrictedBoltzmann(weight, a, b))
        self.phase = phase

    def machine(self) -> RestrictedBoltzmann:
        return RestrictedBoltzmann(
            self.weight, self.a, self.b, negative_phase=self.phase, training=self.training, log_partition=None
        )

    def model(self, x: Tensor) -> None:
        pyro.module("machine", self)
        with pyro.plate("data", len(x)):
            pyro.sample("v", self.machine(), obs=x)

    def guide(self, x: Tensor) -> None:
        pass


@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1)])
def test_energies_match_brute_force(sizes: tuple[int, int]) -> None:
    theta = parameters(*sizes)
    machine, joint = RestrictedBoltzmann(*theta), brute_joint(*theta)
    v, h = states(sizes[0]), states(sizes[1])
    torch.testing.assert_close(machine.energy(v[:, None], h), -joint, rtol=0, atol=1e-9)
    torch.testing.assert_close(machine.free_energy(v), -joint.logsumexp(1), rtol=0, atol=1e-9)
    torch.testing.assert_close(machine.hidden_mean(v), joint.softmax(1) @ h, rtol=0, atol=1e-9)
    torch.testing.assert_close(machine.visible_mean(h), joint.softmax(0).T @ v, rtol=0, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5)])
def test_exact_log_prob_and_its_gradient(sizes: tuple[int, int], training: bool) -> None:
    theta = parameters(*sizes)
    machine = RestrictedBoltzmann(*theta, negative_phase=Exact(), training=training)
    v, joint = states(sizes[0]), brute_joint(*theta)
    expected, log_prob = joint.logsumexp(1) - joint.logsumexp((0, 1)), machine.log_prob(v)
    torch.testing.assert_close(log_prob, expected, rtol=0, atol=1e-9)
    assert abs(log_prob.exp().sum().item() - 1) < 1e-12
    data = torch.tensor([0, 3, 3, 6])
    for got, wanted in zip(
        torch.autograd.grad(log_prob[data].sum(), theta),
        torch.autograd.grad(expected[data].sum(), theta),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-8)


def test_extreme_logits_stay_finite_and_right() -> None:
    theta = [(1000 * p.detach()).requires_grad_() for p in parameters(4, 3)]
    machine, v = RestrictedBoltzmann(*theta, negative_phase=Exact()), states(4)
    joint = brute_joint(*theta)
    log_prob = machine.log_prob(v)
    torch.testing.assert_close(log_prob, joint.logsumexp(1) - joint.logsumexp((0, 1)), rtol=1e-12, atol=1e-9)
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), theta))
    assert set(machine.gibbs(v).flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_and_its_derivatives(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-120, 120, 4801), torch.tensor([-1e4, 0.0, 1e4])]).to(dtype).requires_grad_()
    (slope,) = torch.autograd.grad(softplus(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    error = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(softplus(x), torch.logaddexp(x, torch.zeros_like(x)), rtol=error, atol=error)
    torch.testing.assert_close(slope, x.sigmoid(), rtol=error, atol=error)
    torch.testing.assert_close(curvature, x.sigmoid() * (-x).sigmoid(), rtol=error, atol=error)


def test_gibbs_matrix_leaves_the_distribution_invariant() -> None:
    theta = parameters(5, 3, scale=1.5)
    machine, v, h = RestrictedBoltzmann(*theta), states(5), states(3)
    up = dist.Bernoulli(machine.hidden_mean(v)[:, None]).log_prob(h).sum(-1).exp()
    down = dist.Bernoulli(machine.visible_mean(h)[:, None]).log_prob(v).sum(-1).exp()
    p = brute_joint(*theta).logsumexp(1).softmax(0)
    assert (p @ (up @ down) - p).abs().max() < 1e-12


def test_gibbs_chains_from_exact_samples_stay_exact() -> None:
    """Chi-square over all states; false alarm 1e-7."""
    theta, count = parameters(4, 3), 100_000
    chains = RestrictedBoltzmann(*theta).gibbs(exact_samples(theta, count), steps=3)
    counts = torch.bincount((chains @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=16)
    expected = count * brute_joint(*theta).detach().logsumexp(1).softmax(0)
    assert expected.min() > 50
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM


def test_samples_are_bits_of_the_right_distribution() -> None:
    """Chi-square over all states of a machine that mixes in a few of the 50 steps; false alarm 1e-7."""
    theta = parameters(3, 2)
    v = RestrictedBoltzmann(*theta).expand([5]).sample(torch.Size([10_000]), steps=50)
    assert v.shape == (10_000, 5, 3)
    assert v.dtype == torch.float64
    assert not v.requires_grad
    counts = torch.bincount((v.flatten(0, 1) @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=8)
    expected = 50_000 * brute_joint(*theta).detach().logsumexp(1).softmax(0)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM


SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@settings(max_examples=25)
@given(batch=SHAPES, data=SHAPES, phase=st.sampled_from([CD(), Exact()]))
def test_log_prob_broadcasts(batch: tuple[int, ...], data: tuple[int, ...], phase: NegativePhase) -> None:
    try:
        shape = torch.broadcast_shapes(batch, data)
    except RuntimeError:
        return
    machine = RestrictedBoltzmann(*parameters(3, 2), negative_phase=phase, training=True).expand(batch)
    assert machine.batch_shape == batch
    assert machine.event_shape == (3,)
    v = torch.ones(*data, 3, dtype=torch.float64)
    alone = RestrictedBoltzmann(*parameters(3, 2), negative_phase=phase, training=True).log_prob(v)
    torch.testing.assert_close(machine.log_prob(v), alone.expand(shape))
    assert machine.sample(torch.Size([2]), steps=1).shape == (2, *batch, 3)


def test_eval_mode_needs_log_partition() -> None:
    theta, v = parameters(3, 2), states(3)
    with pytest.raises(UnnormalizedError, match="log_partition"):
        RestrictedBoltzmann(*theta, negative_phase=CD()).log_prob(v)
    known = RestrictedBoltzmann(*theta, negative_phase=CD(), log_partition=Estimate(2.5))
    torch.testing.assert_close(known.log_prob(v), -known.free_energy(v) - 2.5)
    with torch.no_grad():
        torch.testing.assert_close(known.log_prob(v), -known.free_energy(v) - 2.5)
    assert known.expand([4]).log_partition is known.log_partition


def test_training_without_a_negative_phase_is_an_error() -> None:
    with pytest.raises(UnnormalizedError, match="negative phase"):
        RestrictedBoltzmann(*parameters(3, 2), training=True).log_prob(states(3))


def test_in_training_the_value_is_the_free_energy_and_a_given_log_partition() -> None:
    theta, v = parameters(3, 2), states(3)
    for estimate, offset in ((None, 0.0), (Estimate(2.5), 2.5)):
        machine = RestrictedBoltzmann(*theta, negative_phase=CD(), training=True, log_partition=estimate)
        torch.testing.assert_close(machine.log_prob(v), -machine.free_energy(v) - offset)


@pytest.mark.parametrize("shapes", [[(3,), (3,), (2,)], [(3, 2), (2,), (2,)], [(3, 2), (3,), (1,)]])
def test_parameters_that_do_not_fit(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ArgumentError, match="expected shape"):
        RestrictedBoltzmann(*(torch.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("value", [torch.full((2, 3), 0.5), torch.zeros(2, 4)])
def test_values_are_checked_when_arguments_are(value: Tensor) -> None:
    theta = [p.detach().float() for p in parameters(3, 2)]
    with pytest.raises(DataError, match="value"):
        RestrictedBoltzmann(*theta, negative_phase=Exact(), validate_args=True).log_prob(value)
    if value.shape == (2, 3):
        RestrictedBoltzmann(*theta, negative_phase=Exact(), validate_args=False).log_prob(value)


def test_boolean_values_are_bits() -> None:
    machine, v = RestrictedBoltzmann(*parameters(3, 2), negative_phase=Exact()), states(3)
    torch.testing.assert_close(machine.log_prob(v.bool()), machine.log_prob(v))


@pytest.mark.parametrize("phase", [PCD(num_chains=200), CD(steps=5), Exact()], ids=repr)
@pytest.mark.parametrize("vectorize", [True, False])
def test_pyro_trains_it(phase: NegativePhase, vectorize: bool) -> None:
    """The gap to the truth that is closed was 0.998 ± 0.004 over 25 seeds, so that 0.9 is over 20 deviations away."""
    rbm = Machine(phase)
    x = exact_samples(parameters(5, 3, scale=2.0, seed=1), 300)

    def log_likelihood() -> float:
        theta = [rbm.weight, rbm.a, rbm.b]
        return RestrictedBoltzmann(*theta, negative_phase=Exact()).log_prob(x).mean().item()

    before, truth = log_likelihood(), RestrictedBoltzmann(*parameters(5, 3, scale=2.0, seed=1), negative_phase=Exact())
    elbo = Trace_ELBO(num_particles=5, vectorize_particles=vectorize, max_plate_nesting=1)
    svi = SVI(rbm.model, rbm.guide, pyro.optim.Adam({"lr": 0.05}), loss=elbo)
    for _ in range(60):
        svi.step(x)
    assert log_likelihood() > before + 0.9 * (truth.log_prob(x).mean().item() - before)


def test_subsampling_scales_value_and_gradient() -> None:
    rbm, x, index = Machine(Exact()), states(5), torch.tensor([1, 5, 12])

    def subsampled() -> None:
        with pyro.plate("data", len(x), subsample=index) as i:
            pyro.sample("v", rbm.machine(), obs=x[i])

    whole = rbm.machine().log_prob(x[index]).sum() * len(x) / len(index)
    part = poutine.trace(subsampled).get_trace().log_prob_sum()
    assert isinstance(part, Tensor)
    torch.testing.assert_close(part, whole)
    theta = [rbm.weight, rbm.a, rbm.b]
    for got, wanted in zip(torch.autograd.grad(part, theta), torch.autograd.grad(whole, theta), strict=True):
        torch.testing.assert_close(got, wanted)


class DiscreteVAE(nn.Module):
    """Three latent bits under a machine's prior, four visible ones; all of it enumerable."""

    def __init__(self, phase: NegativePhase) -> None:
        super().__init__()
        self.prior = Machine(phase, 3, 2)
        self.decoder, self.encoder = nn.Linear(3, 4).double(), nn.Linear(4, 3).double()

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z: Any = pyro.sample("z", self.prior.machine())
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.encoder(x)).to_event(1))

    def exact_elbo(self, x: Tensor) -> Tensor:
        z, joint = states(3), brute_joint(self.prior.weight, self.prior.a, self.prior.b)
        log_prior = joint.logsumexp(1) - joint.logsumexp((0, 1))
        log_likelihood = dist.Bernoulli(logits=self.decoder(z)).to_event(1).log_prob(x[:, None])
        log_guide = dist.Bernoulli(logits=self.encoder(x)[:, None]).to_event(1).log_prob(z)
        return (log_guide.exp() * (log_prior + log_likelihood - log_guide)).sum()


@pytest.mark.parametrize("phase", [Exact(), PCD(num_chains=500)], ids=repr)
def test_gradients_of_a_discrete_vae_are_unbiased(phase: NegativePhase) -> None:
    """All gradients of Pyro's Trace_ELBO against the enumerated bound; PCD's chains start exact. False alarm 1e-7."""
    vae, x = DiscreteVAE(phase), states(4)[[3, 5, 14]]
    elbo = Trace_ELBO(num_particles=500, vectorize_particles=True, max_plate_nesting=1)
    theta = list(vae.parameters())

    def gradient(loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, theta)])

    draws = []
    for _ in range(200):
        if isinstance(phase, PCD) and phase.chains is not None:
            phase.chains.copy_(exact_samples([vae.prior.weight, vae.prior.a, vae.prior.b], 500))
        draws.append(gradient(elbo.differentiable_loss(vae.model, vae.guide, x)))
    assert_mean(torch.stack(draws), gradient(-vae.exact_elbo(x)))
