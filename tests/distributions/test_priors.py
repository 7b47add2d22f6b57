"""Priors: normalized, of the declared density, and rebuilt by their configuration."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Laplace, Prior, StandardNormal
from probae.errors import ArgumentError

ALL: list[Prior] = [StandardNormal(2), Laplace(2, rate=0.8)]
LOG_DENSITIES = [
    lambda z: (-(z**2) / 2 - math.log(2 * math.pi) / 2).sum(-1),
    lambda z: (-0.8 * z.abs() + math.log(0.8 / 2)).sum(-1),
]


@pytest.mark.parametrize(("prior", "log_density"), list(zip(ALL, LOG_DENSITIES, strict=True)))
def test_the_density(prior: Prior, log_density: Any) -> None:
    z = torch.randn(20, 2)
    p = prior.distribution()
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    torch.testing.assert_close(p.log_prob(z), log_density(z))


@pytest.mark.parametrize("prior", ALL, ids=["normal", "laplace"])
def test_it_is_normalized(prior: Prior) -> None:
    """By the midpoint rule over [-40, 40]^2."""
    step = 0.05
    axis = torch.arange(-40, 40, step) + step / 2
    total: Tensor = prior.distribution().log_prob(torch.cartesian_prod(axis, axis)).double().exp().sum() * step**2
    assert total.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("prior", ALL, ids=["normal", "laplace"])
def test_it_moves_and_is_rebuilt(prior: Prior) -> None:
    config = json.loads(json.dumps(prior.config))
    twin = make("prior", config, Prior, PRIORS, 2)
    assert (type(twin), twin.config, twin.latent_dim) == (type(prior), config, 2)
    assert twin.double().distribution().sample().dtype == torch.float64
    assert not twin.state_dict(), "configuration, not state"


def test_arguments_are_checked() -> None:
    for bad in (0, -1, 1.5, True, "3"):
        with pytest.raises(ArgumentError, match=r"^latent_dim: "):
            StandardNormal(bad)  # type: ignore[arg-type]
    for bad in (0.0, -1.0, math.inf, math.nan, "1"):
        with pytest.raises(ArgumentError, match=r"^rate: "):
            Laplace(2, bad)  # type: ignore[arg-type]
