"""The table of all guide families: a line each, which puts it under every law of `test_laws.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probae.distributions.guides import GUIDES, GuideFamily
from probae.distributions.named import make

CASES: dict[str, Any] = {
    "diagonal": "diagonal",
    "shared": "shared",
    "full": "full",
    "flow": {"name": "flow", "transforms": 2, "hidden": 8, "context_dim": 3},
    "coupling": {"name": "flow", "transforms": 2, "hidden": [8, 8], "context_dim": 3, "conditioner": "coupling"},
    "relu": "delta",
    "sigmoid": {"name": "delta", "nonlinearity": "sigmoid"},
    "linear": {"name": "delta", "nonlinearity": "linear"},
}
DENSE = ["diagonal", "shared", "full", "flow", "coupling"]


def fresh(name: str, dim: int = 2) -> GuideFamily:
    """The family as a model's constructor leaves it."""
    return make("guide", CASES[name], GuideFamily, GUIDES, dim)


def trained(name: str, dim: int = 2) -> GuideFamily:
    """The family in float64, its parameters away from where they start, as training leaves them."""
    torch.manual_seed(3)
    family = fresh(name, dim).double()
    with torch.no_grad():
        for parameter in family.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return family


def outputs_for(family: GuideFamily, *batch: int) -> Tensor:
    """Ordinary outputs of an encoder, in float64, always the same."""
    generator = torch.Generator().manual_seed(4)
    return torch.randn(*batch, family.num_outputs, generator=generator, dtype=torch.float64)
