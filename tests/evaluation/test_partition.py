"""log Z by enumeration and by annealing, against brute force."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from probae.distributions.rbm import RestrictedBoltzmann
from probae.errors import ArgumentError, NotPreparedError
from probae.evaluation.ais import ais_log_partition, ais_log_weights
from probae.evaluation.partition import exact_log_partition, log_partition

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""


def states(num_units: int) -> Tensor:
    return torch.tensor(list(product([0.0, 1.0], repeat=num_units)), dtype=torch.float64)


def parameters(num_visible: int, num_hidden: int, scale: float = 0.7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(num_visible, num_hidden), (num_visible,), (num_hidden,)]
    return [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]


def brute_log_partition(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    v, h = states(a.numel()), states(b.numel())
    return (torch.einsum("vi,ij,hj->vh", v, weight, h) + (v @ a)[:, None] + h @ b).logsumexp((0, 1))


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """The mean of independent draws (N, ...) against `expected`: t-tests, Bonferroni over the entries."""
    z = (draws.mean(0) - expected) / (draws.std(0) / len(draws) ** 0.5)
    assert z.abs().max() < stats.t.isf(FALSE_ALARM / (2 * z.numel()), len(draws) - 1), z


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 64])
@pytest.mark.parametrize("sizes", [(7, 4), (4, 7), (5, 5), (1, 9)])
def test_exact_value_and_gradient(sizes: tuple[int, int], chunk_size: int | None) -> None:
    theta = parameters(*sizes, scale=2.0)
    value, brute = exact_log_partition(RestrictedBoltzmann(*theta), chunk_size=chunk_size), brute_log_partition(*theta)
    torch.testing.assert_close(value, brute, rtol=0, atol=1e-9)
    for got, wanted in zip(torch.autograd.grad(3 * value, theta), torch.autograd.grad(3 * brute, theta), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sizes", [(7, 4), (4, 7)])
def test_extreme_machines_can_be_enumerated(sizes: tuple[int, int]) -> None:
    theta = parameters(*sizes, scale=1000.0)
    value = exact_log_partition(RestrictedBoltzmann(*theta))
    torch.testing.assert_close(value, brute_log_partition(*theta), rtol=1e-13, atol=0)
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, theta))


def test_float32_machines_are_accumulated_in_float64() -> None:
    theta = [p.detach().float().requires_grad_() for p in parameters(9, 6)]
    value = exact_log_partition(RestrictedBoltzmann(*theta))
    assert value.dtype == torch.float64
    torch.testing.assert_close(value, brute_log_partition(*(p.double() for p in theta)), rtol=0, atol=1e-9)
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(value, theta))


def test_exact_estimate() -> None:
    machine = RestrictedBoltzmann(*parameters(4, 7))
    z = log_partition(machine)
    assert z.value == z.lower == z.upper == exact_log_partition(machine).item()
    assert (z.quantity, z.direction, z.stderr, z.reliable) == ("log Z", "exact", 0.0, True)
    assert z.reason == "enumerated 16 states"


@pytest.mark.parametrize(
    "temperatures", [1, 2, 3, torch.tensor([0.0, 0.7, 0.9, 1.0]), torch.linspace(0, 1, 5)], ids=str
)
@pytest.mark.parametrize("sizes", [(5, 3), (3, 4)])
def test_annealed_weights_are_unbiased(sizes: tuple[int, int], temperatures: int | Tensor) -> None:
    """E[w] = Z at any number of temperatures: a t-test over 100,000 chains; false alarm 1e-7."""
    machine, rates = RestrictedBoltzmann(*parameters(*sizes)), torch.tensor([0.9, 0.5, 0.2, 0.3, 0.6])[: sizes[0]]
    log_z = exact_log_partition(machine).detach()
    weights = ais_log_weights(machine, rates, num_chains=100_000, num_temperatures=temperatures)
    assert weights.dtype == torch.float64
    assert_mean((weights - log_z).exp().unsqueeze(-1), torch.ones(1, dtype=torch.float64))


def test_annealing_converges_and_its_error_bar_is_right() -> None:
    """t-test of the mean weight over 200 chains, 500 temperatures; false alarm 1e-7."""
    machine, rates = RestrictedBoltzmann(*parameters(12, 8)), torch.full((12,), 0.5)
    z, exact = (
        log_partition(machine, "ais", base_rates=rates, num_chains=200, num_temperatures=500),
        log_partition(machine),
    )
    assert z.stderr < 0.05
    assert abs(z.value - exact.value) < stats.t.isf(FALSE_ALARM / 2, 199) * z.stderr
    assert z.ess is not None
    assert 100 < z.ess <= 200


def test_annealing_underestimates_in_expectation() -> None:
    """Jensen's gap with two chains and one temperature, over 20,000 estimates: 5 standard errors where 107 are due."""
    machine, rates = RestrictedBoltzmann(*parameters(5, 3, scale=1.5)), torch.full((5,), 0.5)
    weights = ais_log_weights(machine, rates, num_chains=40_000, num_temperatures=1).reshape(-1, 2)
    values = weights.logsumexp(1) - torch.tensor(2.0).log()
    gap = values.mean() - exact_log_partition(machine)
    assert gap / (values.std() / len(values) ** 0.5) < -5


def test_annealed_estimate_is_honest() -> None:
    machine = RestrictedBoltzmann(*parameters(5, 3))
    options = {"base_rates": torch.full((5,), 0.5), "num_chains": 10, "num_temperatures": 7, "examine": False}
    z = log_partition(machine, "ais", **options)
    assert (z.quantity, z.direction, z.lower, z.upper) == ("log Z", "lower", z.value, None)
    assert not z.reliable
    assert "cannot see a mode" in z.reason
    assert "effective sample size" in z.reason
    assert str(z.protocol) == "unknown data, AIS over 7 temperatures with 10 samples"


def test_constant_pixels() -> None:
    """Mean rates of 0 and 1, and a float32 machine that disagrees with them; t-test, false alarm 1e-7."""
    theta = [p.detach().float() for p in parameters(4, 3)]
    machine, rates = RestrictedBoltzmann(*theta), torch.tensor([0.0, 1.0, 1.0, 0.5])
    z = ais_log_partition(machine, rates, num_chains=1000, num_temperatures=1000)
    assert abs(z.value - exact_log_partition(machine).item()) < stats.t.isf(FALSE_ALARM / 2, 999) * z.stderr


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    machine, rates = RestrictedBoltzmann(*parameters(4, 3)), torch.full((4,), 0.5)
    log_partition(machine, "ais", base_rates=rates, num_chains=2, num_temperatures=3)
    assert capsys.readouterr().err == ""
    log_partition(machine, "ais", base_rates=rates, num_chains=2, num_temperatures=3, progress=True)
    assert "AIS" in capsys.readouterr().err


HALF = torch.full((4,), 0.5)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"method": "asi", "base_rates": HALF}, "Did you mean 'ais'"),
        ({"method": "ais", "base_rates": torch.full((5,), 0.5)}, "base_rates"),
        ({"method": "ais", "base_rates": 2 * HALF + 0.5}, "base_rates"),
        ({"method": "ais", "base_rates": HALF * torch.nan}, "base_rates"),
        ({"method": "ais", "base_rates": 0.5}, "base_rates"),
        ({"method": "ais", "base_rates": HALF, "num_chains": 1}, "num_chains"),
        ({"method": "ais", "base_rates": HALF, "num_temperatures": 0}, "num_temperatures"),
        ({"method": "ais", "base_rates": HALF, "num_temperatures": torch.tensor([0.0, 0.5])}, "num_temperatures"),
        ({"method": "ais", "base_rates": HALF, "num_temperatures": torch.tensor([0.5, 1.0])}, "num_temperatures"),
        ({"method": "ais", "base_rates": HALF, "num_temperatures": torch.tensor([0.0, 0.0, 1.0])}, "num_temperatures"),
        ({"method": "exact", "chunk_size": 0}, "chunk_size"),
    ],
)
def test_bad_arguments(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=argument):
        log_partition(RestrictedBoltzmann(*parameters(4, 3)), **options)


def test_errors_name_the_way_out() -> None:
    with pytest.raises(NotPreparedError, match=r"prepare.*base="):
        log_partition(RestrictedBoltzmann(*parameters(4, 3)), "ais")
    large = RestrictedBoltzmann(torch.zeros(30, 26), torch.zeros(30), torch.zeros(26))
    with pytest.raises(ArgumentError, match=r"at most 2.25 states.*30 x 26.*ais"):
        log_partition(large)
