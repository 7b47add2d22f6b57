"""Jacobians per example: exact, and their norms estimated from random signs without bias."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from probae.inference.jacobians import jacobian, squared_norm
from probae.networks.mlp import mlp


@pytest.fixture(params=["mlp", "conv"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    layers = [nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 4)]
    return (mlp([9, 7, 4]) if request.param == "mlp" else nn.Sequential(*layers)).double()


def by_rows(network: nn.Module, x: Tensor) -> Tensor:
    return vmap(jacrev(lambda row: network(row[None])[0]))(x)


def test_it_is_that_of_each_example_alone(network: nn.Module) -> None:
    x, other = torch.randn(2, 5, 9, dtype=torch.float64)
    torch.testing.assert_close(jacobian(network, x), by_rows(network, x))
    torch.testing.assert_close(squared_norm(network, x), by_rows(network, x).square().sum((1, 2)))
    difference = (by_rows(network, x) - by_rows(network, other)).square().sum((1, 2))
    torch.testing.assert_close(squared_norm(network, x, other=other), difference)


@pytest.mark.parametrize("num_probes", [1, 3])
@pytest.mark.parametrize("differs", [False, True])
def test_the_estimate_is_unbiased(network: nn.Module, num_probes: int, differs: bool) -> None:
    """20,000 independent estimates of one number; 6 standard errors: P(a false alarm) is below 1e-8."""
    x, other = torch.randn(2, 1, 9, dtype=torch.float64)
    there = other if differs else None
    exact = squared_norm(network, x, other=there)
    many = None if there is None else there.expand(20_000, 9)
    found = squared_norm(network, x.expand(20_000, 9), other=many, num_probes=num_probes)
    assert found.std() > 0.01 * exact, "nothing is estimated: the test tests nothing"
    assert (found.mean() - exact).abs() < 6 * found.std() / len(found) ** 0.5


def test_more_probes_vary_less() -> None:
    """The variance of a mean of 16 is a 16th: 16 +- 0.5 here, so 8 is far off."""
    network, x = mlp([9, 7, 4]), torch.randn(9).expand(20_000, 9)
    one, many = (squared_norm(network, x, num_probes=count).var() for count in (1, 16))
    assert one > 8 * many
