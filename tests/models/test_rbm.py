"""The restricted Boltzmann machine as a model: its verbs against brute force, and the log Z that comes and goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from scipy import stats
from torch import Tensor

import probae as pb
from probae.engine.batches import Batch
from probae.errors import ArgumentError, DataError, NotPreparedError, UnnormalizedError

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""


def states(num_units: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=num_units)))


def machine(num_visible: int = 4, num_hidden: int = 3, scale: float = 1.0, **settings: Any) -> pb.RBM:
    generator = torch.Generator().manual_seed(0)
    rbm = pb.RBM(num_visible, num_hidden, **settings)
    shapes = [(num_visible, num_hidden), (num_visible,), (num_hidden,)]
    return rbm.set_parameters(*(scale * torch.randn(shape, generator=generator) for shape in shapes))


def joint(rbm: pb.RBM) -> Tensor:
    """-E(v, h) of all states, (2^D, 2^H), one term of the sum at a time, in float64."""
    weight, a, b = (p.detach().double() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    v, h = states(rbm.num_visible).double(), states(rbm.num_hidden).double()
    return torch.einsum("vi,ij,hj->vh", v, weight, h) + (v @ a)[:, None] + h @ b


def test_verbs_match_brute_force() -> None:
    rbm = machine()
    v, h, energies = states(4), states(3), joint(rbm)
    pairs = rbm.energy(v.repeat_interleave(8, 0), h.repeat(16, 1)).reshape(16, 8)
    torch.testing.assert_close(pairs.double(), -energies, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rbm.free_energy(v).double(), -energies.logsumexp(1), rtol=1e-5, atol=1e-5)
    assert rbm.log_partition().value == pytest.approx(energies.logsumexp((0, 1)).item(), abs=1e-6)
    estimate = rbm.log_likelihood(v)
    expected = energies.logsumexp(1) - energies.logsumexp((0, 1))
    torch.testing.assert_close(estimate.per_example, expected, rtol=0, atol=1e-5)
    assert (estimate.direction, estimate.stderr, estimate.reliable) == ("exact", 0.0, True)
    torch.testing.assert_close(rbm.embed(v).double(), energies.softmax(1) @ h.double(), rtol=1e-5, atol=1e-5)


def test_energies_are_differentiable_and_check_their_input() -> None:
    rbm = machine()
    rbm.free_energy(states(4)).sum().backward()
    assert rbm.weight.grad is not None
    bad = [
        (lambda: rbm.energy(states(3), states(3)), "v: "),
        (lambda: rbm.energy(states(4), states(4)), "h: "),
        (lambda: rbm.energy(states(4), states(3)), "h: expected 16 rows"),
        (lambda: rbm.energy(states(3).new_zeros(1, 4), torch.full((1, 3), 0.5)), "h: expected bits"),
        (lambda: rbm.free_energy(0.5 * states(4)), "v: expected bits"),
    ]
    for call, message in bad:
        with pytest.raises(DataError, match=message):
            call()


def test_log_prob_needs_log_partition_in_eval_mode() -> None:
    rbm = machine().eval()
    with pytest.raises(UnnormalizedError, match="log_partition"):
        rbm.distribution().log_prob(states(4))
    rbm.log_partition()
    assert rbm.distribution().log_prob(states(4)).exp().sum().item() == pytest.approx(1, abs=1e-6)
    rbm.train()
    torch.testing.assert_close(rbm.distribution().log_prob(states(4)), -rbm.free_energy(states(4)))


def optimizer_step(kind: Any, **options: Any) -> Callable[[pb.RBM], Any]:
    def step(rbm: pb.RBM) -> None:
        rbm.free_energy(states(4)).sum().backward()
        kind(rbm.parameters(), lr=0.1, **options).step()

    return step


def pyro_step(rbm: pb.RBM) -> None:
    SVI(rbm.train().model, rbm.guide, pyro.optim.Adam({"lr": 0.1}), loss=Trace_ELBO()).step(states(4))
    rbm.eval()


@torch.no_grad()
def in_place(rbm: pb.RBM) -> None:
    rbm.weight[0, 0] += 0.5


CHANGES: dict[str, Callable[[pb.RBM], Any]] = {
    "in place": in_place,
    "through .data": lambda rbm: rbm.hidden_bias.data.mul_(2),
    "SGD": optimizer_step(torch.optim.SGD),
    "fused SGD": optimizer_step(torch.optim.SGD, fused=True),
    "fused Adam": optimizer_step(torch.optim.Adam, fused=True),
    "load_state_dict": lambda rbm: rbm.load_state_dict(machine(scale=2.0).state_dict()),
    "set_parameters": lambda rbm: rbm.set_parameters(rbm.weight + 1, rbm.visible_bias, rbm.hidden_bias),
    "fit": lambda rbm: rbm.fit(states(4), epochs=1),
    "Pyro": pyro_step,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_log_partition_is_forgotten_when_parameters_change(change: Callable[[pb.RBM], Any]) -> None:
    rbm = machine().eval()
    rbm.log_partition()
    rbm.load_state_dict(rbm.state_dict())  # the same values: still current
    assert copy.deepcopy(rbm).distribution().log_prob(states(4)).exp().sum().item() == pytest.approx(1, abs=1e-6)
    change(rbm)
    with pytest.raises(UnnormalizedError, match="log_partition"):
        rbm.distribution().log_prob(states(4))
    rbm.log_partition()
    assert rbm.distribution().log_prob(states(4)).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_state_dict_carries_tensors_only() -> None:
    rbm = machine()
    rbm.log_partition()
    assert set(rbm.state_dict()) == {"weight", "visible_bias", "hidden_bias", "mean_rates", "negative_phase.chains"}
    assert rbm.state_dict()._metadata[""] == {"version": 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("training", [True, False])
def test_the_general_estimator_agrees(training: bool) -> None:
    """Also in training mode, where log Z counts as zero: a value without it was once reported as exact."""
    rbm, x = machine().train(training), states(4)[3:9]
    with pytest.raises(UnnormalizedError):
        pb.log_likelihood(rbm.model, rbm.guide, x, method="exact")
    own = rbm.log_likelihood(x)
    for method in ("exact", "importance"):
        estimate = pb.log_likelihood(rbm.model, rbm.guide, x, method=method, num_samples=30)
        assert estimate.value == pytest.approx(own.value, abs=1e-5)
        assert estimate.reliable
    assert rbm.training == training


def test_the_error_of_log_partition_travels() -> None:
    rbm, x = machine().prepare(states(4)), states(4)[3:9]
    z = rbm.log_partition("ais", num_chains=10, num_temperatures=5, examine=False)
    assert z.stderr > 0
    estimate = pb.log_likelihood(rbm.model, rbm.guide, x, method="exact")
    assert (estimate.direction, estimate.stderr, estimate.reliable) == ("upper", z.stderr, False)
    assert "cannot see a mode" in estimate.reason
    assert "AIS" in str(estimate.protocol)
    own = rbm.log_likelihood(x, "ais", num_chains=10, num_temperatures=5, examine=False)
    assert (own.value, own.direction) == (pytest.approx(estimate.value, abs=1e-5), "upper")
    importance = pb.log_likelihood(rbm.model, rbm.guide, x, num_samples=30)
    assert (importance.direction, importance.stderr) == ("upper", z.stderr), "there is nothing to sample"


def test_ais_is_seeded_and_leaves_the_global_state() -> None:
    rbm = machine().prepare(states(4))
    before = torch.get_rng_state()
    values = [rbm.log_partition("ais", num_chains=5, num_temperatures=5, seed=seed).value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_ais_starts_from_the_data_or_from_what_is_given() -> None:
    rbm, rates = machine(), torch.tensor([0.1, 0.9, 0.5, 0.5])
    with pytest.raises(NotPreparedError, match=r"prepare.*base="):
        rbm.log_partition("ais")
    given = rbm.log_partition("ais", base=rates, num_chains=5, num_temperatures=5)
    rbm.mean_rates.copy_(rates)
    assert rbm.log_partition("ais", num_chains=5, num_temperatures=5).value == given.value
    for base in (rates[:3], 2 * rates, torch.full((4,), torch.nan), 0.5):
        with pytest.raises(ArgumentError, match=r"^base: "):
            rbm.log_partition("ais", base=base)  # type: ignore[arg-type]


def test_large_machines_use_ais_by_default() -> None:
    rbm = pb.RBM(27, 26).prepare(torch.rand(50, 27).round())
    assert "AIS" in str(rbm.log_partition(num_chains=2, num_temperatures=2).protocol)
    with pytest.raises(ArgumentError, match=r"at most 2\^25 states"):
        rbm.log_partition("exact")


def test_conditional_samples_are_exact() -> None:
    """Chi-square of 40,000 chains over the four states that two observed bits leave; false alarm 1e-7."""
    rbm = machine(scale=1.5)
    mask, count = torch.tensor([True, False, True, False]), 40_000
    given = torch.tensor([1.0, torch.nan, 0.0, torch.nan]).expand(count, 4)
    v = rbm.sample(given=given, mask=mask, steps=50)
    assert torch.equal(v[:, mask], given[:, mask])
    fits = ((states(4) == given[0]) | ~mask).all(1)
    expected = count * joint(rbm).logsumexp(1)[fits].softmax(0)
    counts = torch.bincount((v[:, 1] * 2 + v[:, 3]).long(), minlength=4)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM


def test_free_samples_are_exact() -> None:
    """Chi-square of 40,000 chains over all states; false alarm 1e-7."""
    rbm, count = machine(3, 2), 40_000
    v = rbm.sample(count, steps=50)
    counts = torch.bincount((v @ torch.tensor([4.0, 2.0, 1.0])).long(), minlength=8)
    expected = count * joint(rbm).logsumexp(1).softmax(0)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM


def test_masks_of_every_shape() -> None:
    rbm = pb.RBM((2, 3), 4)
    given, observed = torch.rand(5, 6).round(), torch.rand(5, 6) < 0.5
    for values in (given, given.reshape(5, 2, 3)):
        for mask in (observed, observed.reshape(5, 2, 3), observed[0], observed[0].reshape(2, 3)):
            v = rbm.sample(given=values, mask=mask, steps=2)
            where = mask.reshape(-1, 6).expand(5, 6)
            assert torch.equal(v[where], given[where])


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"num_examples": 0}, "num_examples"),
        ({"steps": 0}, "steps"),
        ({"given": torch.zeros(2, 4)}, "mask"),
        ({"mask": torch.ones(4, dtype=torch.bool)}, "mask"),
        ({"given": torch.zeros(2, 4), "mask": torch.ones(4)}, "mask"),
        ({"given": torch.zeros(2, 4), "mask": [True] * 4}, "mask"),
        ({"given": torch.zeros(2, 4), "mask": torch.ones(3, 4, dtype=torch.bool)}, "mask"),
        ({"given": torch.zeros(2, 3), "mask": torch.ones(3, dtype=torch.bool)}, "given"),
        ({"given": torch.full((2, 4), torch.nan), "mask": torch.ones(4, dtype=torch.bool)}, "given"),
        ({"given": torch.full((2, 4), 0.5), "mask": torch.ones(4, dtype=torch.bool)}, "given"),
        ({"given": torch.zeros(2, 4), "mask": torch.ones(4, dtype=torch.bool), "num_examples": 3}, "num_examples"),
    ],
)
def test_sample_checks_its_arguments(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        machine().sample(**options)


def test_prepare_starts_biases_and_chains_at_the_data() -> None:
    """The chains' mean against the data's rates, a z-test for each unit; false alarm 1e-7."""
    rbm, x = pb.RBM(3, 2, negative_phase=pb.PCD(num_chains=10_000)), torch.tensor([[0.0, 1, 1], [0, 1, 0], [0, 0, 1]])
    rbm.prepare(x)
    rates = x.mean(0)
    torch.testing.assert_close(rbm.mean_rates, rates)
    torch.testing.assert_close(rbm.visible_bias.detach(), torch.logit(rates.clamp(0.001, 0.999)))
    assert isinstance(rbm.negative_phase, pb.PCD)
    assert rbm.negative_phase.chains is not None
    near = rates.clamp(0.001, 0.999)
    z = (rbm.negative_phase.chains.mean(0) - near) / (near * (1 - near) / 10_000).sqrt()
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / 6)
    chains, bias = rbm.negative_phase.chains.clone(), rbm.visible_bias.detach().clone()
    rbm.prepare(1 - x)
    assert torch.equal(rbm.visible_bias, bias), "what is trained stays"
    assert torch.equal(rbm.negative_phase.chains, chains)
    torch.testing.assert_close(rbm.mean_rates, 1 - rates)


def test_the_monitor_is_exact_where_that_is_cheap() -> None:
    rbm, x = machine(), states(4)[:10]
    monitor = rbm.monitor()
    assert (monitor.name, monitor.selects) == ("log_likelihood", True)
    for batches in ([Batch((x,), {})], [Batch((x[:7],), {}), Batch((), {"x": x[7:]})]):
        assert monitor.evaluate(batches).item() == pytest.approx(rbm.log_likelihood(x).value, abs=1e-5)


def test_the_monitor_is_the_pseudo_likelihood_elsewhere_and_selects_nothing() -> None:
    x = torch.rand(40, 30).round()
    rbm = pb.RBM(30, 25)
    assert (rbm.monitor().name, rbm.monitor().selects) == ("pseudo_likelihood", False)
    run = rbm.fit(x, valid=x, epochs=3)
    assert run.best_epoch == 3
    before = rbm.state_dict()["weight"].clone()
    assert torch.equal(rbm.weight, before)


@pytest.mark.parametrize(
    ("given", "kind", "config"),
    [
        (None, pb.PCD, {"name": "pcd", "steps": 1, "num_chains": 128, "fast_rate": 0.0}),
        ("cd", pb.CD, {"name": "cd", "steps": 1}),
        ("exact", pb.Exact, {"name": "exact"}),
        (
            {"name": "pcd", "steps": 2, "num_chains": 7},
            pb.PCD,
            {"name": "pcd", "steps": 2, "num_chains": 7, "fast_rate": 0.0},
        ),
        (pb.CD(steps=3), pb.CD, {"name": "cd", "steps": 3}),
    ],
)
def test_negative_phases_by_name_and_configuration(given: Any, kind: type, config: dict[str, Any]) -> None:
    rbm = pb.RBM(4, 3, negative_phase=given)
    assert type(rbm.negative_phase) is kind
    assert rbm.negative_phase.config == rbm.config["negative_phase"] == config
    if isinstance(rbm.negative_phase, pb.PCD):
        assert rbm.negative_phase.chains is not None
        assert rbm.negative_phase.chains.shape == (config["num_chains"], 4)


def test_a_negative_phase_is_copied() -> None:
    phase = pb.PCD(num_chains=5)
    one, other = pb.RBM(4, 3, negative_phase=phase), pb.RBM(6, 3, negative_phase=phase)
    assert one.negative_phase is not other.negative_phase
    assert phase.chains is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_hidden": 0}, "num_hidden: expected a positive integer"),
        ({"num_hidden": 3, "visible": "gausian"}, "visible: expected one of .*gaussian"),
        ({"num_hidden": 3, "hidden": "bernouli"}, "Did you mean 'bernoulli'"),
        ({"num_hidden": 3, "negative_phase": "pcg"}, "negative_phase: .*Did you mean 'pcd'"),
        ({"num_hidden": 3, "negative_phase": {"name": "cd", "chains": 3}}, r"negative_phase: .*\(steps\); got chains"),
        ({"num_hidden": 3, "negative_phase": 1}, "negative_phase: "),
        ({"num_hidden": 3, "data_shape": (2, 0)}, "data_shape: "),
        ({"num_hidden": 3, "dropout": 1.0}, "dropout: expected a finite number at least 0 and below 1"),
    ],
)
def test_the_constructor_checks_its_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pb.RBM(**{"data_shape": 4, **options})


def test_set_parameters_takes_all_or_nothing() -> None:
    rbm = machine()
    before = [p.detach().clone() for p in rbm.parameters()]
    weight, a, b = (torch.ones_like(p) for p in before)
    bad: list[tuple[str, Any]] = [
        ("weight", (weight.T, a, b)),
        ("visible_bias", (weight, b, b)),
        ("hidden_bias", (weight, a, [1.0] * 3)),
        ("hidden_bias", (weight, a, b * torch.nan)),
    ]
    for name, values in bad:
        with pytest.raises(ArgumentError, match=f"^{name}: "):
            rbm.set_parameters(*values)
        assert all(map(torch.equal, rbm.parameters(), before))
    rbm.set_parameters(weight.double(), a, b)
    assert (rbm.weight == 1).all()
    assert rbm.weight.dtype == torch.float32


def test_a_learning_rate_alone_keeps_the_machines_own_optimizer() -> None:
    x = states(4)
    assert pb.RBM(4, 3).fit(x, epochs=1).history["learning_rate"] == [0.05]
    rbm = machine()
    twin = copy.deepcopy(rbm)
    assert rbm.fit(x, epochs=3, learning_rate=0.2, seed=0).history["learning_rate"] == [0.2] * 3
    twin.fit(x, epochs=3, optimizer=partial(torch.optim.SGD, lr=0.2, momentum=0.5), seed=0)
    torch.testing.assert_close(twin.state_dict(), rbm.state_dict(), rtol=0, atol=0, equal_nan=True)
    assert pb.RBM(4, 3).fit(x, epochs=1, optimizer="adam").history["learning_rate"] == [1e-3]
    with pytest.raises(ArgumentError, match="learning_rate"):
        pb.RBM(4, 3).fit(x, epochs=1, learning_rate=-1.0)


@pytest.mark.parametrize(("phase", "gap"), [("exact", 0.8), ("pcd", 0.8), ("cd", 1.6)])
def test_it_learns_a_distribution(phase: str, gap: float) -> None:
    """Bars and stripes, from 3.6 nats below the best that is possible; seeded."""
    data = pb.data.load("bars_and_stripes", size=3).train
    best = -torch.tensor(float(len(data))).log().item()
    torch.manual_seed(0)
    rbm = pb.RBM(9, 8, negative_phase=phase)
    rbm.fit(data, epochs=1500, batch_size=None, learning_rate=0.2, schedule="linear", seed=0)
    assert best - gap < rbm.log_likelihood(data).value <= best + 1e-4


def test_masks_and_lengths_are_refused() -> None:
    rbm, x = machine(), states(4)
    for name in ("mask", "lengths"):
        for program in (rbm.model, rbm.guide):
            with pytest.raises(ArgumentError, match=f"^{name}: expected None"):
                program(x, **{name: torch.ones(16)})  # type: ignore[operator]
