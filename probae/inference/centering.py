"""Centred gradients: what training a Boltzmann machine with offsets does to the parameters without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from probae import checks
from probae.inference import stepping

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann


@final
class Centering(nn.Module):
    """Offsets m of the visible and l of the hidden units, which make a machine's gradient that of a centred one.

    With the energy -(t(v) - m)'W (t(h) - l) - a'(t(v) - m) - b'(t(h) - l), the same distributions have other gradients:
    much better conditioned ones, the same for data and for inverted data. Moved back to the parameters without offsets,
    a step along them is a step along

        dW' = dW - m db' - da l',   da' = da - dW' l,   db' = db - dW'm,

    a positive definite map of the plain gradient (dW, da, db). So the parameters are the plain ones all the time, and
    moving an offset moves no distribution.

    Args:
        num_visible: D.
        num_hidden: H.
        rate: how far the hidden offset follows the hidden means of a batch at each training step.

    Attributes:
        visible_offset: (D,), the data's mean, as the model's `prepare` sets it. hidden_offset: (H,).

    Source: Melchior, Fischer and Wiskott (2016), "How to center deep Boltzmann machines", equations 5 to 10; Montavon
    and Mueller (2012).

    Example:
        >>> Centering(784, 500).hidden_offset.shape
        torch.Size([500])
    """

    visible_offset: Tensor
    hidden_offset: Tensor

    def __init__(self, num_visible: int, num_hidden: int, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = checks.real("rate", rate, low=0.0, high=1.0)
        self.register_buffer("visible_offset", torch.zeros(num_visible))
        self.register_buffer("hidden_offset", torch.full((num_hidden,), 0.5))
        self._moved_at: int | None = None

    def forward(self, machine: RestrictedBoltzmann) -> RestrictedBoltzmann:
        """The same machine, whose parameters have centred gradients."""
        parameters = machine.weight, machine.visible_bias, machine.hidden_bias
        with torch.no_grad():
            offsets = machine.visible.statistic(self.visible_offset), machine.hidden.statistic(self.hidden_offset)
        return machine.with_parameters(*_CentredGradient.apply(*parameters, *offsets))

    @torch.no_grad()
    def follow(self, hidden_means: Tensor) -> None:
        """Move the hidden offset towards those of a batch, (N, H), once in a training step."""
        if self.training and self._moved_at != stepping.now():
            self.hidden_offset.lerp_(hidden_means.mean(0), self.rate)
            self._moved_at = stepping.now()

    def extra_repr(self) -> str:
        """The configuration."""
        return f"{len(self.visible_offset)}, {len(self.hidden_offset)}, rate={self.rate}"


class _CentredGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, a: Tensor, b: Tensor, m: Tensor, l: Tensor) -> tuple[Tensor, ...]:  # noqa: E741
        ctx.save_for_backward(m.clone(), l.clone())  # the offsets that this step began with
        return weight.view_as(weight), a.view_as(a), b.view_as(b)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        dw, da, db = gradients
        m, l = ctx.saved_tensors  # noqa: E741
        dw = dw.addr(m, db, alpha=-1).addr_(da, l, alpha=-1)
        return dw, da - dw @ l, db - m @ dw, None, None
