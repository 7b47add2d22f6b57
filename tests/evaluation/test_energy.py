"""Likelihoods of energy models: what an estimate of log Z passes on, and which way its errors point."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine

from probae.data.protocol import Protocol
from probae.distributions.rbm import RestrictedBoltzmann
from probae.evaluation.energy import estimated_log_partitions, log_likelihood_of_energy, with_log_partition
from probae.evaluation.estimate import Direction, Estimate
from probae.inference.negative_phases import CD, Exact, NegativePhase

ENERGIES = torch.tensor([1.0, 2.0, 6.0])
OPPOSITE: dict[Direction, Direction] = {"exact": "exact", "lower": "upper", "upper": "lower", "estimate": "estimate"}


def log_z(direction: Direction = "lower", **options: object) -> Estimate:
    settings = {"stderr": 0.3, "ess": 50.0, "reliable": False, "reason": "a mode", **options}
    return Estimate(5.0, "log Z", direction, protocol=Protocol().using("AIS", 100), **settings)  # type: ignore[arg-type]


def test_values_and_errors() -> None:
    estimate = log_likelihood_of_energy(ENERGIES, log_z(), Protocol("digits", "test", "none"))
    assert estimate.value == pytest.approx(-2.0)
    assert estimate.per_example is not None
    assert estimate.per_example.tolist() == [-4, -3, 1]
    assert estimate.per_example.dtype == torch.float64
    assert estimate.stderr == 0.3
    assert estimate.stderr_data == pytest.approx(ENERGIES.std().item() / 3**0.5)
    assert (estimate.ess, estimate.reliable, estimate.reason) == (50.0, False, "a mode")
    assert str(estimate.protocol) == "digits/test, not binarized, log Z by AIS with 100 samples"
    assert log_likelihood_of_energy(ENERGIES[:1], log_z(), Protocol()).stderr_data is None


@pytest.mark.parametrize("direction", OPPOSITE)
def test_directions_flip(direction: Direction) -> None:
    estimate = log_likelihood_of_energy(ENERGIES, log_z(direction), Protocol())
    assert estimate.direction == OPPOSITE[direction]


@pytest.mark.parametrize(("lower", "upper"), [(4.5, None), (None, 5.5), (4.5, 5.75), (None, None), (5.0, 5.0)])
def test_bounds_change_sides(lower: float | None, upper: float | None) -> None:
    estimate = log_likelihood_of_energy(ENERGIES, log_z(lower=lower, upper=upper), Protocol())
    assert estimate.lower == (None if upper is None else pytest.approx(3.0 - upper))
    assert estimate.upper == (None if lower is None else pytest.approx(3.0 - lower))


@pytest.mark.parametrize(
    ("own", "of_log_z", "both"),
    [
        ("exact", "exact", "exact"), ("exact", "lower", "upper"), ("exact", "upper", "lower"),
        ("lower", "exact", "lower"), ("lower", "upper", "lower"), ("lower", "lower", "estimate"),
        ("lower", "estimate", "estimate"), ("exact", "estimate", "estimate"),
    ],
)  # fmt: skip
def test_bounds_of_both_kinds_together(own: Direction, of_log_z: Direction, both: Direction) -> None:
    likelihood = Estimate(-2.0, direction=own, stderr=0.4, reason="fine", protocol=Protocol().using("importance", 7))
    estimate = with_log_partition(likelihood, log_z(of_log_z))
    assert estimate.direction == both
    assert estimate.value == -2.0
    assert estimate.stderr == pytest.approx(0.5)
    assert not estimate.reliable
    assert estimate.reason == "fine; log Z: a mode"
    assert str(estimate.protocol) == "unknown data, importance, log Z by AIS with 7 samples"


def test_only_what_was_estimated_is_found() -> None:
    known, theta, v = log_z(), (torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)), torch.zeros(2, 3)

    def machine(phase: NegativePhase | None) -> RestrictedBoltzmann:
        return RestrictedBoltzmann(*theta, negative_phase=phase, log_partition=known)

    def program() -> None:
        with pyro.plate("data", 2):
            pyro.sample("a", machine(None), obs=v)
            pyro.sample("b", machine(CD()).mask(True), obs=v)
            pyro.sample("c", machine(Exact()), obs=v)
            pyro.sample("d", pyro.distributions.Normal(0.0, 1.0), obs=v[:, 0])

    found = estimated_log_partitions(poutine.trace(program).get_trace())
    assert found == [known, known]
