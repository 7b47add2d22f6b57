"""A Boltzmann machine as the prior of discrete codes: all gradients against the ELBO written out over all codes."""

import itertools
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.inference.negative_phases import Exact, NegativePhase

FALSE_ALARM = 1e-7
CODES, SIZE, HIDDEN = 3, 4, 2
ALL = torch.tensor(list(itertools.product([0.0, 1.0], repeat=CODES))).double()
X = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1]]).double()


class ExactSamples(NegativePhase):
    """Particles drawn from the machine itself, by enumeration: what a chain that mixes would give."""

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        return None

    @property
    def config(self) -> dict[str, Any]:
        return {}

    @torch.no_grad()
    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        return ALL[torch.multinomial((-machine.free_energy(ALL)).softmax(0), 50, replacement=True)]


class DiscreteVAE(nn.Module):
    """z from a machine of 3 x 2 units, x given z from a linear layer; bits everywhere."""

    def __init__(self, phase: NegativePhase) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.a, self.b = (nn.Parameter(torch.randn(s)) for s in ((CODES, HIDDEN), (CODES,), (HIDDEN,)))
        self.up, self.down = nn.Linear(SIZE, CODES), nn.Linear(CODES, SIZE)
        self.phase = phase
        self.double()

    def prior(self) -> RestrictedBoltzmann:
        theta = self.weight, self.a, self.b
        return RestrictedBoltzmann(*theta, negative_phase=self.phase, training=self.training, validate_args=False)

    def model(self, x: Tensor) -> None:
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", dist.Bernoulli(logits=self.down(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.up(x)).to_event(1))

    def exact_elbo(self, x: Tensor) -> Tensor:
        """Of all examples, by sums over all codes of an example and all states of the machine."""
        prior = -self.prior().free_energy(ALL)
        likelihood = dist.Bernoulli(logits=self.down(ALL)).to_event(1).log_prob(x.unsqueeze(1))
        q = dist.Bernoulli(logits=self.up(x).unsqueeze(1)).to_event(1).log_prob(ALL)
        return (q.exp() * (likelihood + prior - prior.logsumexp(0) - q)).sum()


@pytest.mark.parametrize("phase", [Exact, ExactSamples])
def test_the_score_function_gives_the_gradient_of_the_elbo(phase: type[NegativePhase]) -> None:
    """60 gradients of 200 copies of the data: each entry by a t-test, false alarm 1e-7."""
    vae, x = DiscreteVAE(phase()), X.repeat(200, 1)
    parameters = list(vae.parameters())
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(vae.exact_elbo(X) / 2, parameters)])
    objective, draws = pb.ELBO(), []
    torch.manual_seed(1)
    for _ in range(60):
        loss = objective(vae.model, vae.guide, x) / len(x)
        draws.append(-torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    found = torch.stack(draws)
    t = (found.mean(0) - truth) / (found.std(0) / len(found) ** 0.5).clamp(min=1e-12)
    assert t.abs().max() < stats.t.isf(FALSE_ALARM / 2 / len(truth), len(found) - 1)
    assert found.std(0).max() < 0.3


def test_a_discrete_vae_learns_through_the_engine_with_chains() -> None:
    """Eight patterns, two codes each: trained by persistent chains, judged by the exact ELBO."""
    torch.manual_seed(2)
    phase = pb.PCD(num_chains=200)
    vae = DiscreteVAE(phase)
    phase.allocate(vae.prior())
    phase.double()
    x = X[torch.arange(64) % 2]
    before = vae.exact_elbo(x).item() / 64
    pb.fit(vae.model, vae.guide, x, epochs=300, batch_size=64, learning_rate=0.03, seed=0, progress=False)
    after = vae.exact_elbo(x).item() / 64
    assert before < -2.5
    assert -1.1 < after <= -torch.tensor(2.0).log().item() + 1e-9, "two patterns with equal weights"


def test_relaxed_codes_are_scored_too() -> None:
    """Between zero and one the machine's energies go on: a relaxed guide's gradient is that of finite differences."""
    machine = DiscreteVAE(Exact()).prior()
    z = torch.tensor([[0.3, 0.9, 0.5]]).double().requires_grad_()
    (slope,) = torch.autograd.grad(machine.log_prob(z).sum(), z)
    for i in range(CODES):
        shift = 1e-6 * torch.eye(CODES).double()[i]
        rise = (machine.log_prob(z + shift) - machine.log_prob(z - shift)).item() / 2e-6
        assert slope[0, i].item() == pytest.approx(rise, rel=1e-6)


class StraightThrough(dist.Bernoulli):
    """Bits by a threshold, with the gradient of the relaxed bits before it (temperature 0.5)."""

    has_rsample = True

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.logit(torch.rand(self._extended_shape(sample_shape), dtype=torch.float64).clamp(1e-9, 1 - 1e-9))
        relaxed = ((self.logits + noise) / 0.5).sigmoid()
        return (relaxed > 0.5).to(relaxed) + (relaxed - relaxed.detach())


class RelaxedVAE(DiscreteVAE):
    def guide(self, x: Tensor) -> None:
        pyro.module("model", self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", StraightThrough(logits=self.up(x)).to_event(1))


def encoder_gradients(vae: DiscreteVAE, count: int = 200) -> tuple[Tensor, Tensor]:
    """The exact gradient of the ELBO by the encoder's parameters, and estimates of it, one row each."""
    parameters, objective, draws = list(vae.up.parameters()), pb.ELBO(), []
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(vae.exact_elbo(X) / 2, parameters)])
    for _ in range(count):
        loss = objective(vae.model, vae.guide, X) / len(X)
        draws.append(-torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    return truth, torch.stack(draws)


def test_straight_through_gradients_are_nearly_right() -> None:
    """Biased, as they are known to be, yet along the gradient, over 200 draws; the values stay bits."""
    torch.manual_seed(3)
    truth, relaxed = encoder_gradients(RelaxedVAE(Exact()))
    assert torch.cosine_similarity(relaxed.mean(0), truth, 0) > 0.8
    z = StraightThrough(logits=torch.zeros(1000).double()).rsample()
    assert ((z == 0) | (z == 1)).all()
    assert z.mean().item() == pytest.approx(0.5, abs=0.09)


def test_a_discrete_vae_learns_by_straight_through_gradients() -> None:
    """The eight patterns again, two codes each, by the biased gradient, with an exact log Z."""
    torch.manual_seed(2)
    vae, x = RelaxedVAE(Exact()), X[torch.arange(64) % 2]
    before = vae.exact_elbo(x).item() / 64
    pb.fit(vae.model, vae.guide, x, epochs=300, batch_size=64, learning_rate=0.03, seed=0, progress=False)
    after = vae.exact_elbo(x).item() / 64
    assert before < -2.5
    assert -1.1 < after <= -torch.tensor(2.0).log().item() + 1e-9
