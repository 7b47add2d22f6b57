"""Machines of units without an end: whether they have a finite Z, and Z itself where all of them are Gaussian."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probae.distributions.units import Units
from probae.distributions.units.gaussian import GaussianUnits
from probae.errors import InfinitePartitionError

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann


@torch.no_grad()
def check_finite(machine: RestrictedBoltzmann) -> None:
    """Make sure that Z is finite.

    It always is where one side is bounded (bits, categories, counts). Between Gaussian and ReLU units the energy is
    x'(I - K)x / 2 plus linear terms, with x = (v / s, u) and K the scaled weights off the diagonal, so that Z is finite
    if the largest singular value of the scaled weights is below 1. Between Gaussian units that is also necessary. ReLU
    units are never negative: there it suffices that the positive parts of the weights (between ReLU units), or of W'W
    (beside Gaussian ones), stay below 1.

    Raises:
        InfinitePartitionError: if Z is infinite; with ReLU units, also if it cannot be shown to be finite.
    """
    visible, hidden = _open(machine.visible), _open(machine.hidden)
    rows, columns = visible != 0, hidden != 0
    if not (rows.any() and columns.any()):
        return
    weight = machine.weight.detach().double()
    weight = weight / _scale(machine.visible, weight).unsqueeze(1) / _scale(machine.hidden, weight)
    weight = weight[rows.to(weight.device)][:, columns.to(weight.device)]
    positive = [bool((tails == 1).all()) for tails in (visible[rows], hidden[columns])]
    norms = [_norm(weight)]
    if all(positive):
        norms.append(_norm(weight.clamp(min=0)))
    elif positive[1]:
        norms.append(_norm((weight.T @ weight).clamp(min=0)) ** 0.5)
    elif positive[0]:
        norms.append(_norm((weight @ weight.T).clamp(min=0)) ** 0.5)
    if min(norms) >= 1:
        sure = "Z is infinite" if not any(positive) else "Z cannot be shown to be finite"
        raise InfinitePartitionError(
            f"{sure}: the weights between units without an upper end have norm {min(norms):.3g}, and must stay below 1 "
            "(in units of their scales). Train with weight decay or a smaller learning rate"
        )


def is_gaussian(machine: RestrictedBoltzmann) -> bool:
    """Whether all units are Gaussian, so that the machine is a normal distribution (its hidden units' factors)."""
    return all(isinstance(part, GaussianUnits) for part in [*machine.visible.parts, *machine.hidden.parts])


def gaussian_log_partition(machine: RestrictedBoltzmann) -> Tensor:
    """log Z of a machine of Gaussian units, a float64 scalar in nats, by its Cholesky factor; differentiable.

    With x = ((v - a) / s, (u - b) / r), K the matrix of weights scaled by s and r off the diagonal, and c = (a / s,
    b / r), the energy is x'x / 2 - (x + c)'K(x + c) / 2, so that
    log Z = sum log(sqrt(2 pi) scale) - log det(I - K) / 2 + c'K (I - K)^-1 c / 2.

    Raises:
        InfinitePartitionError: if I - K is not positive definite.
    """
    check_finite(machine)
    s, r = _scale(machine.visible, machine.weight), _scale(machine.hidden, machine.weight)
    weight = machine.weight.double() / s.unsqueeze(1) / r
    size, other = weight.shape
    precision = torch.eye(size + other, dtype=weight.dtype, device=weight.device)
    precision = precision - torch.cat([
        torch.cat([weight.new_zeros(size, size), weight], 1), torch.cat([weight.T, weight.new_zeros(other, other)], 1)
    ])  # fmt: skip
    c = torch.cat([machine.visible_bias.double() / s, machine.hidden_bias.double() / r])
    factor = torch.linalg.cholesky(precision)
    solved = torch.cholesky_solve(c.unsqueeze(1), factor).squeeze(1)
    scales = torch.cat([s, r]).log().sum() + 0.5 * (size + other) * math.log(2 * math.pi)
    return scales - factor.diagonal().log().sum() + 0.5 * (c @ solved - c @ c)


def _norm(matrix: Tensor) -> float:
    return torch.linalg.matrix_norm(matrix, 2).item()


def _open(units: Units) -> Tensor:
    """(num_units,): 0 for units that are bounded, 1 for those that can grow upwards, 2 for those without any end."""
    ends = {"bounded": 0, "positive": 1, "real": 2}
    return torch.cat([torch.full((part.num_units,), ends[part.tail]) for part in units.parts])


def _scale(units: Units, like: Tensor) -> Tensor:
    """(num_units,) float64: of Gaussian units; ones for others."""
    ones = torch.ones(units.num_units, dtype=torch.float64, device=like.device)
    parts = zip(units.parts, ones.split([part.num_units for part in units.parts]), strict=True)
    return torch.cat([x * part.scale if isinstance(part, GaussianUnits) else x for part, x in parts])
