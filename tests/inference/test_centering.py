"""Centred gradients against the gradients of a machine that is written with offsets."""

import itertools

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import GaussianUnits
from probae.errors import ArgumentError
from probae.inference import stepping
from probae.inference.centering import Centering
from probae.inference.negative_phases import CD, Exact

SIZE, HIDDEN = 5, 3
DATA = torch.tensor(list(itertools.product([0.0, 1.0], repeat=SIZE))).double()[3:17]


def parameters() -> list[Tensor]:
    torch.manual_seed(0)
    shapes = (SIZE, HIDDEN), (SIZE,), (HIDDEN,)
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def centring() -> Centering:
    offsets = Centering(SIZE, HIDDEN).double()
    offsets.visible_offset.copy_(torch.linspace(0.1, 0.9, SIZE))
    offsets.hidden_offset.copy_(torch.tensor([0.2, 0.5, 0.7]))
    return offsets


def log_likelihood(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    machine = RestrictedBoltzmann(weight, a, b, negative_phase=Exact())
    return machine.log_prob(DATA).mean()


def test_a_step_is_a_step_of_the_machine_with_offsets() -> None:
    """d(W, a, b) of the energy -(v - m)'W(h - l) - a'(v - m) - b'(h - l), taken back to plain biases."""
    weight, a, b = parameters()
    offsets = centring()
    m, l = offsets.visible_offset, offsets.hidden_offset  # noqa: E741
    centred = [x.detach().requires_grad_() for x in (weight, a + weight @ l, b + m @ weight)]
    plain = log_likelihood(centred[0], centred[1] - centred[0] @ l, centred[2] - m @ centred[0])
    steps = torch.autograd.grad(plain, centred)
    moved = [x + 1e-6 * step for x, step in zip(centred, steps, strict=True)]
    wanted = moved[0], moved[1] - moved[0] @ l, moved[2] - m @ moved[0]

    machine = offsets(RestrictedBoltzmann(weight, a, b))
    got = torch.autograd.grad(log_likelihood(machine.weight, machine.visible_bias, machine.hidden_bias), [weight, a, b])
    for parameter, step, target in zip((weight, a, b), got, wanted, strict=True):
        torch.testing.assert_close(parameter + 1e-6 * step, target, rtol=0, atol=1e-14)


def test_it_is_the_same_machine_and_always_an_ascent() -> None:
    weight, a, b = parameters()
    machine = centring()(RestrictedBoltzmann(weight, a, b))
    torch.testing.assert_close(machine.free_energy(DATA), RestrictedBoltzmann(weight, a, b).free_energy(DATA))
    plain = torch.autograd.grad(log_likelihood(weight, a, b), [weight, a, b])
    moved = machine.weight, machine.visible_bias, machine.hidden_bias
    centred = torch.autograd.grad(log_likelihood(*moved), [weight, a, b])
    assert sum((one * other).sum() for one, other in zip(plain, centred, strict=True)) > 0


@pytest.mark.parametrize("centering", [True, False])
def test_inverted_data_is_learned_along_inverted_steps(centering: bool) -> None:
    """The point of centring: where bits of the data flip, the machine flips, and nothing else changes."""
    torch.manual_seed(1)
    weight, a, b = (0.1 * torch.randn(s, dtype=torch.float64) for s in ((SIZE, HIDDEN), (SIZE,), (HIDDEN,)))
    machines = (DATA, (weight, a, b)), (1 - DATA, (-weight, -a, b + weight.sum(0)))
    values = []
    for x, start in machines:
        rbm = pb.RBM(SIZE, HIDDEN, negative_phase="exact", centering=centering).double().set_parameters(*start)
        rbm.fit(x, epochs=20, batch_size=None, learning_rate=0.5, seed=0)
        values.append(rbm.log_likelihood(x).value)
    assert values[0] > -3.1  # independent bits: -3.4
    assert (abs(values[0] - values[1]) < 1e-9) == centering


def test_offsets_follow_the_hidden_means_once_a_step() -> None:
    weight, a, b = parameters()
    offsets = centring()
    before = offsets.hidden_offset.clone()
    machine = RestrictedBoltzmann(weight, a, b, negative_phase=CD(), training=True, centering=offsets)
    means = machine.hidden_mean(DATA).mean(0).detach()
    with stepping.training_step():
        for _ in range(3):
            machine.log_prob(DATA)
    torch.testing.assert_close(offsets.hidden_offset, before + 0.01 * (means - before))
    offsets.eval()
    with stepping.training_step():
        machine.log_prob(DATA)
    torch.testing.assert_close(offsets.hidden_offset, before + 0.01 * (means - before))


def test_gradients_of_a_step_use_the_offsets_that_it_began_with() -> None:
    weight, a, b = parameters()
    for training in (True, False):
        offsets = centring().train(training)
        torch.manual_seed(2)
        machine = RestrictedBoltzmann(weight, a, b, negative_phase=CD(), training=True, centering=offsets)
        with stepping.training_step():
            gradients = torch.autograd.grad(machine.log_prob(DATA).mean(), [weight, a, b])
        if training:
            first = gradients
    for one, other in zip(first, gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_documents_are_centred_by_the_word() -> None:
    rbm = pb.RBM(4, 2, "counts", centering=True)
    rbm.prepare(torch.tensor([[2.0, 0, 0, 2], [0, 2, 0, 0]]))
    assert rbm.centering is not None
    torch.testing.assert_close(rbm.centering.visible_offset, torch.tensor([1.0, 1, 0, 1]) / 3)


@pytest.mark.parametrize("scale", [2.0, "learned"])
def test_real_values_are_centred_in_units_of_their_variance(scale: float | str) -> None:
    """dW' = dW - m db' - da l' with m the mean of v / s^2, whatever s is by now."""
    torch.manual_seed(0)
    x = 100 + 10 * torch.randn(200, 3).double()
    rbm = pb.RBM(3, 2, {"name": "gaussian", "scale": scale}, negative_phase="exact", centering=True).double().prepare(x)
    with torch.no_grad():
        rbm.weight.normal_()
        if isinstance(rbm.visible, GaussianUnits) and rbm.visible.log_scale is not None:
            rbm.visible.log_scale.sub_(1.0)
    parameters, centring = [rbm.weight, rbm.visible_bias, rbm.hidden_bias], rbm.centering
    assert centring is not None
    l = centring.hidden_offset.clone()  # noqa: E741
    centred = torch.autograd.grad(rbm.objective()(rbm.model, rbm.guide, x), parameters)
    rbm.centering = None
    dw, da, db = torch.autograd.grad(rbm.objective()(rbm.model, rbm.guide, x), parameters)
    assert isinstance(rbm.visible, GaussianUnits)
    m = x.mean(0) / rbm.visible.scale**2
    wanted = dw - m[:, None] * db - da[:, None] * l
    torch.testing.assert_close(centred, (wanted, da - wanted @ l, db - m @ wanted))


def test_rates_are_checked() -> None:
    with pytest.raises(ArgumentError, match="rate: "):
        Centering(3, 2, rate=1.5)
