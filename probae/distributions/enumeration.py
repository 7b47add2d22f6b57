"""Exact log Z by enumeration: all states of a machine's smaller side, in one pass of flat memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

MAX_UNITS = 20
"""The largest number of units whose states are enumerated."""

_CELLS = 2**18


def binary_states(
    num_units: int, start: int = 0, stop: int | None = None, *, device: torch.device | None = None
) -> Tensor:
    """The binary numbers from `start` to `stop` (by default all), one a row, lowest bit first, as float64.

    Shapes: (stop - start, num_units).

    Example:
        >>> binary_states(2)
        tensor([[0., 0.],
                [1., 0.],
                [0., 1.],
                [1., 1.]], dtype=torch.float64)
    """
    numbers = torch.arange(start, 2**num_units if stop is None else stop, device=device)
    return (numbers.unsqueeze(-1).bitwise_right_shift(torch.arange(num_units, device=device)) & 1).double()


def check_enumerable(machine: RestrictedBoltzmann) -> int:
    """The number of units on the machine's smaller side, if their states can be enumerated.

    Raises:
        ArgumentError: for more than `MAX_UNITS` units.
    """
    units = min(machine.weight.shape)
    if units > MAX_UNITS:
        got = f"{' x '.join(map(str, machine.weight.shape))} units"
        hint = 'Use method="ais" for log Z, and PCD() or CD() as the negative phase'
        raise ArgumentError("method", f'a machine with at most {MAX_UNITS} units on one side for "exact"', got, hint)
    return units


def exact_log_partition(machine: RestrictedBoltzmann, *, chunk_size: int | None = None) -> Tensor:
    """The exact log Z of a machine, with its exact gradient.

    log Z = log sum_u exp(c'u + sum_j softplus(d_j + (u'M)_j)), u the states of the smaller side; its gradient is
    E[v h'], E[v], E[h], gathered in the same pass so that no graph over the states is kept. Cannot be differentiated
    twice.

    Args:
        machine: at most `MAX_UNITS` units on its smaller side.
        chunk_size: states at a time; by default as many as fit a processor's cache.

    Returns:
        A scalar in nats, float64.

    Raises:
        ArgumentError: if the smaller side has too many units, or `chunk_size` is not a positive integer.

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> exact_log_partition(RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)))
        tensor(3.4657, dtype=torch.float64)
    """
    check_enumerable(machine)
    near, far, weight = machine.visible_bias, machine.hidden_bias, machine.weight
    if near.numel() > far.numel():
        near, far, weight = far, near, weight.t()
    value, moments = _enumerate(weight.detach(), near.detach(), far.detach(), chunk_size)
    if not torch.is_grad_enabled():
        return value
    linear = (weight * moments.pairs).sum() + near @ moments.near + far @ moments.far
    return value + (linear - linear.detach())


class _Moments(NamedTuple):
    """Sums over states, or expectations: of u_i w_j, of u and of w, u on the enumerated side, w on the other."""

    pairs: Tensor
    near: Tensor
    far: Tensor


@torch.no_grad()
def _enumerate(weight: Tensor, near: Tensor, far: Tensor, chunk_size: int | None) -> tuple[Tensor, _Moments]:
    dtype, (units, others) = weight.dtype, weight.shape
    weight, near, far = weight.double(), near.double(), far.double()
    size = max(1, _CELLS // others) if chunk_size is None else checks.positive_int("chunk_size", chunk_size)
    peak, total = near.new_tensor(float("-inf")), near.new_zeros(())
    sums = _Moments(torch.zeros_like(weight), torch.zeros_like(near), torch.zeros_like(far))
    for start in range(0, 2**units, size):
        states = binary_states(units, start, min(start + size, 2**units), device=weight.device)
        inputs = torch.addmm(far, states, weight)
        mean = inputs.sigmoid()
        # softplus(x) = max(x, 0) - log sigmoid(|x|), from the sigmoid that the moments need anyway.
        score = torch.addmv(inputs.relu_().sum(-1), states, near) - torch.maximum(mean, 1 - mean).log_().sum(-1)
        top = torch.maximum(peak, score.max())
        shrink, mass = (peak - top).exp(), (score - top).exp()
        mean.mul_(mass.unsqueeze(-1))
        new = _Moments(states.t() @ mean, mass @ states, mean.sum(0))
        sums = _Moments(*(old * shrink + term for old, term in zip(sums, new, strict=True)))
        peak, total = top, total * shrink + mass.sum()
    return peak + total.log(), _Moments(*((term / total).to(dtype) for term in sums))
