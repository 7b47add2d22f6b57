"""The table of all priors: a line each, which puts it under every law of `test_laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.distributions.guides import DiagonalNormal, GuideFamily
from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Prior

VISIBLE = 4

CASES: dict[str, Any] = {
    "normal": "normal",
    "laplace": {"name": "laplace", "rate": 0.8},
    "flat": "flat",
    "mixture": {"name": "mixture", "num_components": 5},
    "vamp": {"name": "vamp", "num_components": 7},
    "flow": {"name": "flow", "transforms": 2, "hidden": 8},
    "coupling": {"name": "flow", "transforms": 2, "hidden": [8, 8], "conditioner": "coupling"},
    "kernel": {"name": "kernel", "points": 9, "scale": 0.4},
}


class Encoder(nn.Module):
    """A linear q(z given x), of a guide family."""

    def __init__(self, family: GuideFamily) -> None:
        super().__init__()
        self.family, self.linear = family, nn.Linear(VISIBLE, family.num_outputs)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return self.family.distribution(self.linear(x))


def fresh(name: str, dim: int = 2) -> Prior:
    """The prior as a model's constructor leaves it."""
    prior = make("prior", CASES[name], Prior, PRIORS, dim)
    prior.attach(VISIBLE)
    return prior


def trained(name: str, dim: int = 2) -> Prior:
    """The prior in float64, its parameters away from where they start, as training leaves them."""
    torch.manual_seed(3)
    prior = fresh(name, dim).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return prior


def encoder(family: Callable[[int], GuideFamily] = DiagonalNormal, dim: int = 2) -> Encoder:
    """A random q(z given x) in float64, always the same."""
    torch.manual_seed(4)
    return Encoder(family(dim)).double()


def distribution(prior: Prior, posterior: Encoder | None = None) -> dist.TorchDistribution:
    """The prior's distribution, with a posterior where it needs one."""
    return prior.distribution(posterior or encoder(dim=prior.latent_dim) if prior.uses_posterior else None)
