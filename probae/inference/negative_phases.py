"""Negative phases: where the particles come from that estimate the gradient of log Z."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.enumeration import exact_log_partition
from probae.errors import NotPreparedError
from probae.inference import stepping

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

_FAST = "fast_weight", "fast_visible_bias", "fast_hidden_bias"
_FAST_DECAY = 19 / 20


class NegativePhase(nn.Module, ABC):
    """Gives the particles that the gradient of log Z is estimated from.

    d log Z / d theta = E_p[-dF / d theta], which is the gradient of s, the mean of -F(v) over particles v, held fixed,
    that come from the model or from near it.

    How to write a new one: subclass this, store the configuration in `__init__`, and write

    - `allocate(machine)`: register what training changes (chains, temperatures) as buffers, so that it is saved,
      resumed and moved with the model, which calls this once on its private copy;
    - `start(draw, base)`, if there are chains: put them where the data is, as `draw(count)` says, before training;
    - `forward(machine, value)`: return the particles, of shape (M, D). `value` holds the values being scored, of shape
      (..., D). Draw under `no_grad`: `machine.gibbs` does. It is called whenever the machine is scored with gradients
      enabled, which may happen several times in a training step and also in eval mode: what has a memory moves only if
      `self.training`, `machine.training` and `stepping.now()` has changed since it last moved, and moves in place
      (`copy_`);
    - `exact = True`, only if there are no particles and `forward` returns log Z itself, a scalar.

    Source: Hinton (2002), "Training products of experts by minimizing contrastive divergence".
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Register the buffers for machines with such units, dtype and device; the model's constructor calls this."""

    def start(self, draw: Callable[[int], Tensor], base: Tensor) -> None:
        """Start chains anew from independent units with the data's means; the model's `prepare` calls this.

        Args:
            draw: `draw(count)` draws them, (count, D).
            base: (D,) their biases.
        """

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, as JSON values."""

    @abstractmethod
    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """Particles, (M, D), for a machine that is scored at `value`, of shape (..., D)."""


class CD(NegativePhase):
    """Contrastive divergence: chains start at the batch, at every call, and run for a few Gibbs steps.

    s = mean_n -F(v_n^k), v_n^k from k block Gibbs steps that start at example n. Biased, of low variance; it has no
    memory, so that it pays no heed to the clock of training steps.

    Args:
        steps: k, the number of Gibbs steps.

    Raises:
        ArgumentError: if `steps` is not a positive integer.

    Source: Hinton (2002), "Training products of experts by minimizing contrastive divergence".

    Example:
        >>> CD(steps=3)
        CD(steps=3)
    """

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        self.steps = checks.positive_int("steps", steps)

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Nothing to keep."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "cd", "steps": self.steps}

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The batch, moved by `steps` Gibbs steps."""
        return machine.gibbs(value.detach().reshape(-1, value.shape[-1]), self.steps)

    def extra_repr(self) -> str:
        """The configuration."""
        return f"steps={self.steps}"


class PCD(NegativePhase):
    """Persistent contrastive divergence: chains go on where the last training step left them.

    s = mean_c -F(v_c), the chains v_c moved by k block Gibbs steps once per training step, however often the machine is
    scored in it, and never in eval mode. They start at units without a bias, and at the data's means once `prepare` has
    seen data. A training step ends when a torch optimizer has stepped, or with `stepping.training_step()`; who updates
    parameters by hand calls `stepping.end_step()`.

    With fast weights the chains move under parameters theta + phi, phi following the gradient g of the log-likelihood
    that the values and the moved chains give, phi <- 19/20 phi + fast_rate g: where the chains are, the energy rises at
    once, which drives them on however small the learning rate of theta is. (g is the plain gradient, also of a machine
    that is trained along the centred one.)

    Args:
        steps: k, the number of Gibbs steps a training step.
        num_chains: the number of chains, kept in the buffer `chains` of shape (num_chains, D).
        fast_rate: the learning rate of fast weights, kept in the buffers `fast_weight`, `fast_visible_bias` and
            `fast_hidden_bias`; 0 for none.

    Raises:
        ArgumentError: if one of the numbers is not a positive integer, or the rate is negative.

    Source: Tieleman (2008), "Training restricted Boltzmann machines using approximations to the likelihood gradient";
    Tieleman and Hinton (2009), "Using fast weights to improve persistent contrastive divergence".

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> phase = PCD(steps=1, num_chains=64)
        >>> phase.allocate(RestrictedBoltzmann(torch.zeros(784, 500), torch.zeros(784), torch.zeros(500)))
        >>> phase.chains.shape
        torch.Size([64, 784])
    """

    chains: Tensor | None
    fast_weight: Tensor
    fast_visible_bias: Tensor
    fast_hidden_bias: Tensor

    def __init__(self, steps: int = 1, num_chains: int = 128, fast_rate: float = 0.0) -> None:
        super().__init__()
        self.steps = checks.positive_int("steps", steps)
        self.num_chains = checks.positive_int("num_chains", num_chains)
        self.fast_rate = checks.real("fast_rate", fast_rate, low=0.0)
        self.register_buffer("chains", None)
        self._moved_at: int | None = None

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Start `num_chains` chains at units without a bias (fair coins, say)."""
        self.chains = without_bias(machine, self.num_chains)
        if self.fast_rate:
            for name, slow in zip(_FAST, machine_parameters(machine), strict=True):
                self.register_buffer(name, torch.zeros_like(slow))

    def start(self, draw: Callable[[int], Tensor], base: Tensor) -> None:
        """Start all chains anew, without fast weights."""
        if self.chains is not None:
            self.chains.copy_(draw(self.num_chains))
            if self.fast_rate:
                for fast in self._fast:
                    fast.zero_()

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "pcd", "steps": self.steps, "num_chains": self.num_chains, "fast_rate": self.fast_rate}

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The chains, which move first if this is a new training step.

        Raises:
            NotPreparedError: before `allocate`.
        """
        if self.chains is None:
            raise NotPreparedError("PCD has no chains yet: call allocate(machine), as the models' constructors do")
        if self.training and machine.training and self._moved_at != stepping.now():
            self._moved_at = stepping.now()
            if self.fast_rate:
                self._move_fast(machine, self.chains, value.reshape(-1, value.shape[-1]))
            else:
                self.chains.copy_(machine.gibbs(self.chains, self.steps))
        return self.chains

    @property
    def _fast(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.fast_weight, self.fast_visible_bias, self.fast_hidden_bias

    @torch.no_grad()
    def _move_fast(self, machine: RestrictedBoltzmann, chains: Tensor, value: Tensor) -> None:
        """Move the chains under theta + phi, then phi along the gradient of theta."""
        sums = [slow + fast for slow, fast in zip(machine_parameters(machine), self._fast, strict=True)]
        chains.copy_(machine.with_parameters(*sums).gibbs(chains, self.steps))
        for fast, gradient in zip(self._fast, contrast(machine, value, chains), strict=True):
            fast.mul_(_FAST_DECAY).add_(gradient, alpha=self.fast_rate)

    def extra_repr(self) -> str:
        """The configuration."""
        fast = f", fast_rate={self.fast_rate:g}" if self.fast_rate else ""
        return f"steps={self.steps}, num_chains={self.num_chains}{fast}"


class Exact(NegativePhase):
    """No particles: log Z itself, for machines with at most 2^25 states on one side, or of Gaussian units.

    The likelihood is exact, and so is its gradient, in training and in eval mode.

    Raises:
        ArgumentError: when a machine is scored whose smaller side is too large.

    Example:
        >>> Exact()
        Exact()
    """

    exact = True

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Nothing to keep."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "exact"}

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The exact log Z: a scalar, or that of each document's length."""
        length = machine.visible.length(value)
        if length is None:
            return exact_log_partition(machine).to(machine.weight.dtype)
        lengths, which = length.unique(return_inverse=True)
        return exact_log_partition(machine, length=lengths).to(machine.weight.dtype)[which]


@torch.no_grad()
def contrast(machine: RestrictedBoltzmann, value: Tensor, particles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the mean of -F over values (N, D) less that over particles (M, D), by (W, a, b), in closed form.

    dW = mean t(v) t(h)', da = mean t(v), db = mean t(h), each over values less over particles, h = E[h given v]; for
    counts db counts t(h) as often as the document has words.
    """
    states = torch.cat([value.detach(), particles])
    share = states.new_full((len(states), 1), 1 / len(value))
    share[len(value) :] = -1 / len(particles)
    visible, hidden = machine.visible.statistic(states), machine.hidden.statistic(machine.hidden_mean(states))
    length, shared = machine.visible.length(states), share * visible
    words = share if length is None else share * length.unsqueeze(-1)
    return shared.mT @ hidden, shared.sum(0), (words * hidden).sum(0)


@torch.no_grad()
def without_bias(machine: RestrictedBoltzmann, count: int) -> Tensor:
    """(count, D) visible units without a bias, of the machine's dtype, on its device; documents of one word."""
    input = torch.zeros_like(machine.visible_bias).expand(count, -1)
    return machine.visible.sample(input, torch.ones_like(input[:, 0]))


def machine_parameters(machine: RestrictedBoltzmann) -> tuple[Tensor, Tensor, Tensor]:
    """W, a and b, not differentiated through."""
    return machine.weight.detach(), machine.visible_bias.detach(), machine.hidden_bias.detach()
