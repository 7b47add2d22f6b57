"""Dropout of hidden units: each example, with the particle that starts there, has a thinned machine of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.errors import ArgumentError
from probae.inference.negative_phases import Exact
from probae.models import rbm as module

RATE = 0.25
FALSE_ALARM = 1e-7
"""The rate at which the stochastic test of this file may fail by chance."""
GATES = torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1]]).double() / (1 - RATE)
X = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [1, 1, 1, 1]]).double()


def machine(**settings: Any) -> pb.RBM:
    torch.manual_seed(0)
    rbm = pb.RBM(4, 2, **{"negative_phase": "cd", "dropout": RATE, **settings}).double()
    return rbm.set_parameters(*(torch.randn_like(p) for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias)))


def each(rbm: pb.RBM) -> list[RestrictedBoltzmann]:
    """The machine of each example, with weights of its own."""
    return [RestrictedBoltzmann(rbm.weight * gates, rbm.visible_bias, rbm.hidden_bias) for gates in GATES]


def gradient(loss: Tensor, rbm: pb.RBM) -> Tensor:
    found = torch.autograd.grad(loss, [rbm.weight, rbm.visible_bias, rbm.hidden_bias])
    return torch.cat([part.flatten() for part in found])


def test_a_thinned_machine_is_one_with_weights_of_its_own_for_each_value() -> None:
    rbm, h = machine(), X[:, :2]
    thinned = rbm.distribution().thinned(GATES)
    for found, wanted in (
        (thinned.energy(X, h), [one.energy(x, u) for one, x, u in zip(each(rbm), X, h, strict=True)]),
        (thinned.free_energy(X), [one.free_energy(x) for one, x in zip(each(rbm), X, strict=True)]),
        (thinned.hidden_mean(X), [one.hidden_mean(x) for one, x in zip(each(rbm), X, strict=True)]),
        (thinned.visible_mean(h), [one.visible_mean(u) for one, u in zip(each(rbm), h, strict=True)]),
    ):
        torch.testing.assert_close(found, torch.stack(wanted))
    torch.testing.assert_close(thinned.thinned(None).free_energy(X), rbm.free_energy(X))
    rbm.log_partition("exact")
    assert rbm.eval().distribution().log_partition is not None
    assert rbm.distribution().thinned(GATES).log_partition is None, "log Z is that of the whole machine"


@pytest.mark.parametrize("centering", [False, True])
def test_the_gradient_is_that_of_each_examples_machine(centering: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contrastive divergence with gates and noise held fixed; centred, the map is that of the weights as they are."""
    rbm = machine(centering=centering)
    monkeypatch.setattr(module, "random_bits", lambda stay: GATES * stay)
    torch.manual_seed(1)
    found = gradient(rbm.objective()(rbm.model, rbm.guide, X), rbm)
    torch.manual_seed(1)
    particles = rbm.distribution().thinned(GATES).gibbs(X)
    plain = machine(centering=centering)
    parts = [plain.weight, plain.visible_bias, plain.hidden_bias]
    whole = plain.distribution() if plain.centering is None else plain.centering(plain.distribution())
    loss = torch.zeros((), dtype=torch.float64)
    for gates, x, particle in zip(GATES, X, particles, strict=True):
        one = RestrictedBoltzmann(whole.weight * gates, whole.visible_bias, whole.hidden_bias)
        loss = loss + one.free_energy(x) - one.free_energy(particle)
    wanted = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parts)])
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(particles, X)


def test_units_stay_as_often_as_they_should_and_the_weights_are_right_in_the_mean() -> None:
    drawn = []
    rbm = machine()
    original = RestrictedBoltzmann.thinned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RestrictedBoltzmann, "thinned", lambda self, gates: drawn.append(gates) or original(self, gates))
        rbm.objective()(rbm.model, rbm.guide, X.repeat(400, 1))
    gates = drawn[0]
    assert set(gates.unique().tolist()) == {0.0, 1 / (1 - RATE)}
    assert stats.binomtest(int((gates > 0).sum()), gates.numel(), 1 - RATE).pvalue > FALSE_ALARM
    assert gates.shape == (2000, 2)


def test_whatever_is_asked_of_it_is_about_the_mean_weights() -> None:
    """In training mode, too: energies and likelihoods are not random."""
    rbm = machine()
    whole = RestrictedBoltzmann(rbm.weight, rbm.visible_bias, rbm.hidden_bias, negative_phase=Exact())
    assert rbm.training
    torch.testing.assert_close(rbm.free_energy(X), whole.free_energy(X))
    assert rbm.log_likelihood(X).value == pytest.approx(whole.log_prob(X).mean().item(), abs=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(rbm.model(X), X)


@pytest.mark.parametrize(("visible", "compile"), [("bernoulli", "eager"), ("bernoulli", "trace"), ("counts", "eager")])
def test_it_learns_with_everything_beside_it_and_is_saved(visible: str, compile: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    beside: dict[str, Any] = {"centering": True, "running_chains": 500} if visible == "bernoulli" else {}
    topics = torch.tensor([[3.0, 4.0, 3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0, 3.0, 3.0]])
    x = topics.repeat(8, 1) if visible == "counts" else (topics > 0).float().repeat(8, 1)
    rbm = pb.RBM(6, 8, visible, negative_phase=pb.CD(2), dropout=0.2, **beside).prepare(x)
    before = rbm.log_likelihood(x).value
    rbm.fit(x, epochs=150, learning_rate=0.1, seed=0, progress=False, compile=compile)
    after = rbm.log_likelihood(x)
    assert after.value > before + 0.5
    if beside:
        running = rbm.log_partition("running")
        assert abs(running.value - rbm.log_partition("exact").value) < 5.2 * running.stderr + 1e-3
    loaded = pb.load(rbm.save(tmp_path / "rbm"))
    assert loaded.config["dropout"] == 0.2
    assert loaded.log_likelihood(x).value == after.value


@pytest.mark.parametrize("phase", ["pcd", "parallel_tempering", "trajectory_tempering", "exact"])
def test_particles_that_belong_to_no_example_are_refused(phase: str) -> None:
    with pytest.raises(ArgumentError, match=r"^dropout: expected 0, or negative_phase='cd'"):
        pb.RBM(4, 3, negative_phase=phase, dropout=0.5)
