"""The classification RBM against sums over all its states: pixels, label and hidden units."""

from __future__ import annotations

import itertools
from typing import Any

import pyro
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import probae as pb
from probae.engine.batches import Batch
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.inference import stepping

D, H, K = 4, 3, 3
X = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)), dtype=torch.float64)
HIDDEN = torch.tensor(list(itertools.product([0.0, 1.0], repeat=H)), dtype=torch.float64)
LABELS = torch.eye(K, dtype=torch.float64)


def machine(scale: float = 1.0, **settings: Any) -> pb.ClassRBM:
    rbm = pb.ClassRBM(D, H, K, **settings).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in (rbm.joint.weight, rbm.joint.visible_bias, rbm.joint.hidden_bias):
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return rbm.eval()


def log_table(rbm: pb.ClassRBM) -> Tensor:
    """-E(x, y, h) of all states, (16, 3, 8), written out."""
    weight, bias = rbm.joint.weight, rbm.joint.visible_bias
    pixels = torch.einsum("xd,dj,hj->xh", X, weight[:D], HIDDEN)[:, None] + (X @ bias[:D])[:, None, None]
    labels = (weight[D:] @ HIDDEN.T + bias[D:, None])[None]
    return pixels + labels + HIDDEN @ rbm.joint.hidden_bias


def log_joint(rbm: pb.ClassRBM) -> Tensor:
    """log p(x, y), (16, 3)."""
    table = log_table(rbm)
    return table.logsumexp(-1) - table.flatten().logsumexp(0)


def numbers(estimate: pb.Estimate) -> Tensor:
    assert estimate.direction == "exact"
    assert estimate.per_example is not None
    return estimate.per_example


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-9)


# Probabilities.


def test_probabilities_are_those_of_all_states() -> None:
    rbm = machine()
    wanted = log_joint(rbm)
    for y in range(K):
        labels = torch.full((16,), y)
        close(numbers(rbm.log_likelihood(X, y=labels)), wanted[:, y])
        close(numbers(rbm.log_likelihood((X, labels), of="y")), wanted.log_softmax(1)[:, y])
    close(numbers(rbm.log_likelihood(X, of="x")), wanted.logsumexp(1))
    close(rbm.classify(X).probs, wanted.softmax(1))
    assert torch.equal(rbm.predict(X), wanted.argmax(1))
    assert rbm.error_rate(X, wanted.argmax(1)) == 0
    assert rbm.error_rate((X, (wanted.argmax(1) + (torch.arange(16) < 4)) % K)) == 0.25


def test_unknown_labels_are_summed_out() -> None:
    rbm = machine()
    y, wanted = torch.arange(16) % (K + 1) - 1, log_joint(rbm)
    mixed = torch.where(y < 0, wanted.logsumexp(1), wanted.gather(1, y.clamp(min=0)[:, None])[:, 0])
    estimate = rbm.log_likelihood(X, y=y)
    close(numbers(estimate), mixed)
    assert "log p(x, y where known)" in str(estimate.protocol)
    shift = log_table(rbm).flatten().logsumexp(0)
    close(rbm.free_energy(X, y), -mixed - shift)
    close(rbm.anomaly_score(X), -wanted.logsumexp(1) - shift)
    assert numbers(rbm.log_likelihood(X, y=y, of="y")).shape == (12,)
    assert rbm.error_rate(X, torch.where(y < 0, -1, wanted.argmax(1))) == 0


def test_hidden_means_are_those_of_all_states() -> None:
    rbm = machine()
    probability = log_table(rbm).flatten(0, 1).softmax(-1).reshape(16, K, -1)
    means = probability @ HIDDEN  # E[h given x, y], (16, 3, H)
    for y in range(K):
        close(rbm.embed(X, torch.full((16,), y)), means[:, y])
    summed = (log_joint(rbm).softmax(1)[..., None] * means).sum(1)
    close(rbm.embed(X), summed)
    close(rbm.embed(X, torch.full((16,), -1)), summed)
    close(rbm.reconstruct(X), (rbm.joint.visible_bias[:D] + summed @ rbm.joint.weight[:D].T).sigmoid())


def test_maps_are_the_conditionals_of_each_bit() -> None:
    rbm = machine()
    wanted = log_joint(rbm)
    labels = torch.arange(16) % K
    chosen = wanted[:, labels]  # (state, example)
    for given, scores in ((labels, chosen), (None, wanted.logsumexp(1)[:, None].expand(-1, 16))):
        maps = rbm.anomaly_map(X, given)
        for i in range(D):
            flip = 8 >> i  # the first unit is the slowest digit
            other = torch.arange(16) ^ flip
            pair = torch.stack([scores[torch.arange(16), torch.arange(16)], scores[other, torch.arange(16)]])
            close(maps[:, i], -pair.log_softmax(0)[0])
    with pytest.raises(NoLikelihoodError, match="bits only"):
        machine(visible="gaussian").anomaly_map(X)


def test_real_values_integrate_to_one() -> None:
    """p(x) of one Gaussian unit, by the trapezoidal rule, which is exact for what decays like this."""
    torch.manual_seed(0)
    rbm = pb.ClassRBM(1, 3, 2, {"name": "gaussian", "scale": 0.7}).double().eval()
    for parameter in rbm.joint.parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
    grid = torch.linspace(-15, 15, 3001, dtype=torch.float64)[:, None]
    for of, y in (("x", None), ("x, y", torch.zeros(3001, dtype=torch.long))):
        density = numbers(rbm.log_likelihood(grid, y=y, of=of)).exp()
        mass = torch.trapezoid(density, grid[:, 0]).item()
        assert (mass == pytest.approx(1, abs=1e-9)) == (of == "x")
        assert 0 < mass < 1 + 1e-9


def test_annealing_finds_the_joint_machines_log_z() -> None:
    rbm = machine(0.5).prepare((X, torch.arange(16) % K))
    exact = log_table(rbm).flatten().logsumexp(0).item()
    assert rbm.log_partition().value == pytest.approx(exact, abs=1e-9)
    annealed = rbm.log_partition("ais", num_chains=200, num_temperatures=200)
    assert abs(annealed.value - exact) < 0.1  # seeded; its standard error is below 0.01
    estimate = rbm.log_likelihood((X, torch.arange(16) % K), "ais", num_chains=10, num_temperatures=10)
    assert estimate.direction == "upper"


def test_the_pairs_likelihood_carries_the_doubts_of_log_z() -> None:
    rbm = machine(0.5).prepare((X, torch.arange(16) % K))
    data = (X, torch.arange(16) % K)
    rbm.log_partition("ais", num_chains=20, num_temperatures=50)
    estimate = pb.log_likelihood(rbm.model, rbm.guide, data, method="exact")
    assert estimate.direction == "upper"
    assert estimate.stderr > 0
    rbm.log_partition("exact")
    estimate = pb.log_likelihood(rbm.model, rbm.guide, data, method="exact")
    close(numbers(estimate), log_joint(rbm)[torch.arange(16), torch.arange(16) % K])


# Gradients.


def gradients(rbm: pb.ClassRBM, value: Tensor) -> list[Tensor | None]:
    rbm.zero_grad()
    value.backward()
    return [None if p.grad is None else p.grad.clone() for p in rbm.joint.parameters()]


def assert_equal(found: list[Tensor | None], wanted: list[Tensor | None]) -> None:
    for one, other in zip(found, wanted, strict=True):
        close(torch.zeros(()) if one is None else one, torch.zeros(()) if other is None else other)


@pytest.mark.parametrize("generative", [0.0, 0.3, 1.0, 2.0])
def test_gradients_are_those_of_all_states(generative: float) -> None:
    """log p(y given x) + generative log p(x), the first where the label is known."""
    rbm = machine(negative_phase="exact").train()
    y = torch.arange(16) % (K + 1) - 1
    loss = rbm.objective(generative)(rbm.model, rbm.guide, X, y)
    found = gradients(rbm, loss)
    joint = log_joint(rbm)
    of_y = joint.log_softmax(1).gather(1, y.clamp(min=0)[:, None])[:, 0]
    wanted = -(torch.where(y >= 0, of_y, 0.0) + generative * joint.logsumexp(1)).sum()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-9)
    assert_equal(found, gradients(rbm, wanted))


@pytest.mark.parametrize("generative", [0.3, 1.0])
def test_the_negative_phase_is_the_mean_over_its_particles(generative: float) -> None:
    rbm = machine(negative_phase=pb.PCD(num_chains=50)).prepare((X, torch.arange(16) % K)).train()
    rbm.joint.negative_phase.eval()  # its chains stay
    y = torch.arange(16) % K
    found = gradients(rbm, rbm.objective(generative)(rbm.model, rbm.guide, X, y))
    scores = log_table(rbm).logsumexp(-1)
    chains = rbm.joint.negative_phase.chains
    where = (chains[:, :D] @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long()
    negative = scores[where, chains[:, D:].argmax(1)].mean()
    of_y = scores.log_softmax(1)[torch.arange(16), y]
    wanted = -(of_y + generative * (scores.logsumexp(1) - negative)).sum()
    assert_equal(found, gradients(rbm, wanted))


def test_particles_are_examples_with_one_label_each() -> None:
    rbm = machine(negative_phase=pb.PCD(num_chains=50)).prepare((X, torch.arange(16) % K))
    rbm.fit((X, torch.arange(16) % K), epochs=3, seed=0)
    chains = rbm.joint.negative_phase.chains
    assert torch.equal(chains[:, D:].sum(1), torch.ones(50, dtype=torch.float64))


def test_discriminative_training_needs_no_chains_and_no_biases_of_pixels() -> None:
    rbm = machine().prepare((X, torch.arange(16) % K)).train()
    before = {name: value.clone() for name, value in rbm.state_dict().items()}
    clock = stepping.now()
    rbm.fit((X, torch.arange(16) % K), objective=rbm.objective(generative=0), epochs=2, seed=0)
    assert stepping.now() != clock
    after = rbm.state_dict()
    assert torch.equal(after["joint.negative_phase.chains"], before["joint.negative_phase.chains"])
    assert torch.equal(after["joint.visible_bias"][:D], before["joint.visible_bias"][:D])
    assert not torch.equal(after["joint.visible_bias"][D:], before["joint.visible_bias"][D:])
    assert not torch.equal(after["joint.weight"][:D], before["joint.weight"][:D])


# Samples.


def shares(x: Tensor) -> Tensor:
    """How often each of the 16 states comes."""
    where = (x @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long()
    return torch.bincount(where, minlength=16) / len(x)


@pytest.mark.parametrize("y", [None, 0, 2])
def test_samples_have_the_machines_shares(y: int | None) -> None:
    """20,000 chains of 30 steps each, which forget their start to 1e-6 here: shares are within 0.5 / sqrt(20,000) =

    0.0035 standard errors at most; 0.025 is seven, P < 16 * 3e-12.
    """
    rbm, n = machine(0.5), 20_000
    torch.manual_seed(0)
    x = rbm.sample(n, y=y, steps=30)
    wanted = log_joint(rbm).exp()
    wanted = wanted.sum(1) if y is None else wanted[:, y] / wanted[:, y].sum()
    assert (shares(x) - wanted).abs().max() < 0.025


def test_clamped_pixels_stay_and_the_others_follow_label_and_pixels() -> None:
    """As above, of p(x given x_0 = 1, y = 1)."""
    rbm, n = machine(0.5), 20_000
    torch.manual_seed(0)
    given = torch.full((n, D), torch.nan, dtype=torch.float64)
    given[:, 0] = 1
    mask = torch.tensor([True, False, False, False])
    for x in (rbm.inpaint(given, mask, y=1, steps=30), rbm.sample(given=given, mask=mask, y=[1] * n, steps=30)):
        wanted = torch.where(X[:, 0] == 1, log_joint(rbm)[:, 1].exp(), 0.0)
        assert (shares(x) - wanted / wanted.sum()).abs().max() < 0.025
    free = torch.where(X[:, 0] == 1, log_joint(rbm).exp().sum(1), 0.0)
    assert (shares(rbm.inpaint(given, mask, steps=30)) - free / free.sum()).abs().max() < 0.025


def test_the_model_draws_both() -> None:
    rbm = machine()
    trace = pyro.poutine.trace(rbm.model).get_trace(num_examples=5)
    assert trace.nodes["x"]["value"].shape == (5, D)
    assert set(trace.nodes["y"]["value"].tolist()) <= set(range(K))
    close(trace.nodes["y"]["fn"].probs, rbm.classify(trace.nodes["x"]["value"]).probs)
    assert rbm.sample(y=[0, 1, 2], steps=2).shape == (3, D)
    assert rbm.sample(y=1, steps=2).shape == (1, D)
    assert rbm.sample(steps=2).shape == (1, D)


# Learning.


@pytest.fixture(scope="module")
def digits() -> Any:
    return pb.data.load("digits")


def trained(digits: Any, generative: float, data: Any = None) -> pb.ClassRBM:
    torch.manual_seed(0)
    rbm = pb.ClassRBM((8, 8), 32, 10)
    settings: Any = {"optimizer": "adam", "learning_rate": 0.01, "epochs": 25, "seed": 0}
    rbm.fit(digits.train if data is None else data, objective=rbm.objective(generative), **settings)
    return rbm


def test_it_classifies_digits(digits: Any) -> None:
    """Chance is 0.9; more weight on p(y given x) classifies better, less of it generates better."""
    errors = [trained(digits, generative).error_rate(digits.test) for generative in (1.0, 0.05, 0.0)]
    assert errors[0] < 0.5
    assert max(errors[1:]) < 0.2


def test_monitors_are_what_they_say(digits: Any) -> None:
    rbm = machine()
    y = torch.arange(16) % K
    batch, joint = [Batch((X, y), {})], log_joint(rbm)
    wanted = {
        "classification": joint.log_softmax(1)[torch.arange(16), y].mean(),
        "accuracy": (joint.argmax(1) == y).double().mean(),
        "log_likelihood": joint[torch.arange(16), y].mean(),
    }
    for name, value in wanted.items():
        assert rbm.monitor(name).name == name
        with torch.no_grad():
            close(rbm.monitor(name).evaluate(batch), value)
    assert rbm.monitor().name == "classification"
    small = pb.ClassRBM(64, 8, 10)
    run = small.fit(digits.train[:200], valid=digits.valid, monitor=small.monitor("log_likelihood"), epochs=2, seed=0)
    assert "valid_log_likelihood" in run.history


def test_monitors_of_labels_look_at_known_labels_only() -> None:
    """Over batches of other shares of known labels, one batch without any."""
    rbm, y = machine(), torch.arange(16) % K
    known = torch.tensor([True] * 2 + [False] * 8 + [True] * 6)
    some = torch.where(known, y, -1)
    batches = [Batch((X[part], some[part]), {}) for part in (slice(0, 4), slice(4, 9), slice(9, 16))]
    conditional = log_joint(rbm).log_softmax(1)
    wanted = {
        "classification": conditional[torch.arange(16), y][known].mean(),
        "accuracy": (conditional.argmax(1) == y)[known].double().mean(),
    }
    for name, value in wanted.items():
        with torch.no_grad():
            close(rbm.monitor(name).evaluate(batches), value)
    with pytest.raises(DataError, match=r"^valid: expected examples with labels"):
        rbm.monitor().evaluate(batches[1:2])


def test_prepare_starts_at_the_means() -> None:
    y = torch.tensor([0] * 6 + [1] * 2 + [-1] * 8)
    torch.manual_seed(0)
    rbm = pb.ClassRBM(D, H, K).double().prepare((X, y))
    means = rbm.joint.mean_rates
    close(means[:D], X.mean(0))
    assert means[D:].sum().item() == pytest.approx(1)
    bits = F.one_hot(y.clamp(min=0), K).double()[:8].sum(0) / 16
    assert (means[D:] >= bits - 1e-12).all()
    torch.testing.assert_close(rbm.joint.visible_bias[:D], torch.logit(X.mean(0)))


# Doors.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 1}, "num_labels: expected"),
        ({"num_hidden": 0}, "num_hidden: expected"),
        ({"visible": "counts"}, "visible: expected"),
        ({"visible": "bernouli"}, "visible: expected .* Did you mean 'bernoulli'"),
        ({"negative_phase": "pdc"}, "negative_phase: expected"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        pb.ClassRBM(**{"data_shape": D, "num_hidden": H, "num_labels": K, **settings})


def test_wrong_labels_are_named() -> None:
    rbm, y = machine(), torch.arange(16) % K
    doors: list[tuple[str, Any]] = [
        ("data: expected examples with labels", lambda: rbm.fit(X)),
        ("data: expected labels from 0 to 2, or -1", lambda: rbm.fit((X, y + 1))),
        ("y: expected examples with labels", lambda: rbm.model(X)),
        ("y: expected labels of shape", lambda: rbm.embed(X, y[:3])),
        ("y: expected labels from 0 to 2", lambda: rbm.sample(y=-1)),
        ("y: expected labels of shape", lambda: rbm.sample(3, y=[1, 2])),
        ("given: expected", lambda: rbm.sample(given=X + 0.5, mask=torch.ones(D, dtype=torch.bool))),
        ("data: expected examples with labels", lambda: rbm.error_rate(X, torch.full((16,), -1))),
        ("data: expected", lambda: rbm.log_likelihood(X)),
    ]
    for message, door in doors:
        with pytest.raises(DataError, match=f"^{message}"):
            door()


def test_wrong_arguments_are_named() -> None:
    rbm, y = machine(), torch.arange(16) % K
    doors: list[tuple[str, Any]] = [
        ("y: expected None", lambda: rbm.model(y=y)),
        ("y: expected None", lambda: rbm.log_likelihood(X, y=y, of="x")),
        ("of: expected one of", lambda: rbm.log_likelihood(X, of="z")),
        ("method: expected None", lambda: rbm.log_likelihood((X, y), "ais", of="y")),
        ("generative: expected", lambda: rbm.objective(-1.0)),
        ("name: expected one of", lambda: rbm.monitor("elbo")),
        ("mask: expected", lambda: rbm.sample(given=X)),
        ("mask: expected", lambda: rbm.sample(given=X, mask=torch.ones(3, dtype=torch.bool))),
        ("num_examples: expected", lambda: rbm.sample(3, given=X, mask=torch.ones(D, dtype=torch.bool))),
        ("steps: expected", lambda: rbm.sample(3, steps=0)),
    ]
    for message, door in doors:
        with pytest.raises(ArgumentError, match=f"^{message}"):
            door()
