"""Functions of one number that the units share, accurate over the whole line."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_FACTORS = 1000  # from 1/2 to 2, whose product float64 can hold: 2^1023 is its largest power of two
_FAR = 30.0  # below minus this, the truncated normal is an exponential with corrections


def inner(u: Tensor, bias: Tensor) -> Tensor:
    """u'b over the last dimension, (...,), for one bias (D,) or as many as there are values."""
    return u @ bias if bias.dim() == 1 else (u * bias).sum(-1)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), elementwise, without overflow.

    By default torch's own returns x itself from 20 on, 2e-9 away in float64; from 40 on nothing is lost.

    Example:
        >>> softplus(torch.tensor([-1000.0, 0.0, 100.0]))
        tensor([  0.0000,   0.6931, 100.0000])
    """
    return F.softplus(x, threshold=40.0)


def softplus_change(old: Tensor, new: Tensor) -> Tensor:
    """sum log(1 + exp(new)) - sum log(1 + exp(old)), over the last dimension: (..., H) to (...,), float64.

    By one logarithm of a product for up to `_FACTORS` terms, without bias where old and new are close.

    Example:
        >>> softplus_change(torch.tensor([-1000.0, 0.0, 1000.0]), torch.tensor([-900.0, 100.0, 1001.0]))
        tensor(100.3069, dtype=torch.float64)
    """
    before, after = (-old.abs()).exp(), (-new.abs()).exp()
    factors = 1 + ((after - before) / (1 + before)).double()  # each from 1/2 to 2
    logs = [part.prod(-1).log() for part in factors.split(_FACTORS, -1)]
    return sum(logs, (new.relu() - old.relu()).sum(-1, dtype=torch.float64))


def log_half_line(m: Tensor) -> Tensor:
    """log of the integral of exp(-u^2 / 2 + m u) / sqrt(2 pi) over u >= 0, that is m^2 / 2 + log Phi(m), elementwise.

    Where m is negative both terms are large and cancel; there it is log(erfcx(-m / sqrt 2) / 2).

    Example:
        >>> log_half_line(torch.tensor([-1000.0, 0.0]))
        tensor([-7.8267, -0.6931])
    """
    zero = torch.zeros_like(m)
    below, above = torch.where(m < 0, m, zero), torch.where(m < 0, zero, m)
    left = torch.log(torch.special.erfcx(below * -math.sqrt(0.5))) - math.log(2)
    right = 0.5 * above.square() + torch.special.log_ndtr(above)
    return torch.where(m < 0, left, right)


def half_line_mean(m: Tensor) -> Tensor:
    """E[u] of the unit normal with location m, truncated to u >= 0: m + phi(m) / Phi(m), elementwise.

    Example:
        >>> half_line_mean(torch.tensor([-1000.0, 0.0, 10.0]))
        tensor([1.0000e-03, 7.9788e-01, 1.0000e+01])
    """
    x = m.double()
    near, far = x.clamp(min=-_FAR), x.clamp(max=-_FAR)
    hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(near * -math.sqrt(0.5))
    square = far.square().reciprocal()
    series = -(1 - square * (2 - square * (10 - 74 * square))) / far
    return torch.where(x < -_FAR, series, (near + hazard).clamp(min=0.0)).to(m.dtype)


def half_line_sample(m: Tensor) -> Tensor:
    """Draw from the unit normal with location m, truncated to u >= 0, elementwise, by inverting its distribution.

    With y = m - u, the draw solves Phi(y) = U Phi(m) for a uniform U. Far down that becomes
    y^2 = m^2 - 2 log U - 2 log(y / m), up to 2 u / m^3, which an iteration solves without cancellation.
    """
    x = m.detach().double()
    uniform = 1 - torch.rand_like(x)  # in (0, 1]
    near, far = x.clamp(min=-_FAR), x.clamp(max=-_FAR)
    tail = torch.special.log_ndtr(near).exp()  # ndtr itself is zero from -9 on
    direct = near - torch.special.ndtri((uniform * tail).clamp(min=1e-300))
    ratio = torch.ones_like(far)
    gain = -2 * uniform.log()
    for _ in range(3):
        ratio = (1 + (gain - 2 * ratio.log()) / far.square()).sqrt()
    exponential = (gain - 2 * ratio.log()) / (-far * (1 + ratio))
    return torch.where(x < -_FAR, exponential, direct.clamp(min=0.0)).to(m.dtype)
