"""Jacobians of networks, one for each example, and their norms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vjp, vmap

Function = Callable[[Tensor], Tensor]
"""(N, D) -> (N, H), each row from its own row alone."""


def jacobian(function: Function, x: Tensor) -> Tensor:
    """df/dx at each example: (N, H, D) for x (N, D). The network runs once; H pull-backs run at once.

    Example:
        >>> jacobian(lambda x: x**2, torch.tensor([[1.0, 2.0]]))
        tensor([[[2., 0.],
                 [0., 4.]]])
    """
    outputs, pull = vjp(function, x)[:2]
    units = torch.eye(outputs.shape[-1], dtype=x.dtype, device=x.device)
    return vmap(lambda unit: pull(unit.expand_as(outputs))[0])(units).transpose(0, 1)


def squared_norm(
    function: Function, x: Tensor, *, other: Tensor | None = None, num_probes: int | None = None
) -> Tensor:  # fmt: skip
    """|J(x)|^2, the squared Frobenius norm of the Jacobian at each example, (N,); or |J(x) - J(other)|^2.

    Args:
        function: (N, D) -> (N, H).
        x: (N, D).
        other: (N, D), where the Jacobian is subtracted.
        num_probes: estimate it, without bias, from so many random signs u: E |u'J|^2 = |J|^2 (Hutchinson 1990). Exact
            where it is None, at the cost of H pull-backs.

    Example:
        >>> squared_norm(torch.square, torch.tensor([[1.0, 2.0]]))
        tensor([20.])
    """
    points = x if other is None else torch.cat([x, other])
    if num_probes is None:
        rows = jacobian(function, points)
    else:
        outputs, pull = vjp(function, points)[:2]
        signs = 1.0 - 2.0 * torch.randint(2, (num_probes, len(x), outputs.shape[-1]), device=x.device).to(x)
        signs = signs if other is None else torch.cat([signs, signs], 1)
        rows = vmap(lambda sign: pull(sign)[0])(signs).transpose(0, 1) / num_probes**0.5
    if other is not None:
        rows = rows[: len(x)] - rows[len(x) :]
    return rows.square().sum((-2, -1))
