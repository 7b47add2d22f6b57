"""Negative phases: where the particles come from that estimate the gradient of log Z."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.bits import random_bits
from probae.distributions.enumeration import exact_log_partition
from probae.errors import NotPreparedError
from probae.inference import stepping

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann


class NegativePhase(nn.Module, ABC):
    """Gives the particles that the gradient of log Z is estimated from.

    d log Z / d theta = E_p[-dF / d theta], which is the gradient of s, the mean of -F(v) over particles v, held fixed,
    that come from the model or from near it.

    How to write a new one: subclass this, store the configuration in `__init__`, and write

    - `allocate(num_visible)`: register what training changes (chains, temperatures) as buffers, so that it is saved,
      resumed and moved with the model, which calls this once on its private copy;
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
    def allocate(
        self, num_visible: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        """Register the buffers for a machine with `num_visible` units; called once, by the model's constructor."""

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

    def allocate(
        self, num_visible: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
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
    scored in it, and never in eval mode. They start as fair coins. A training step ends when a torch optimizer has
    stepped, or with `stepping.training_step()`; who updates parameters by hand calls `stepping.end_step()`.

    Args:
        steps: k, the number of Gibbs steps a training step.
        num_chains: the number of chains, kept in the buffer `chains` of shape (num_chains, D).

    Raises:
        ArgumentError: if an argument is not a positive integer.

    Source: Tieleman (2008), "Training restricted Boltzmann machines using approximations to the likelihood gradient".

    Example:
        >>> phase = PCD(steps=1, num_chains=64)
        >>> phase.allocate(num_visible=784)
        >>> phase.chains.shape
        torch.Size([64, 784])
    """

    chains: Tensor | None

    def __init__(self, steps: int = 1, num_chains: int = 128) -> None:
        super().__init__()
        self.steps = checks.positive_int("steps", steps)
        self.num_chains = checks.positive_int("num_chains", num_chains)
        self.register_buffer("chains", None)
        self._moved_at: int | None = None

    def allocate(
        self, num_visible: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        """Start `num_chains` chains as fair coins."""
        self.chains = random_bits(torch.full((self.num_chains, num_visible), 0.5, dtype=dtype, device=device))

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "pcd", "steps": self.steps, "num_chains": self.num_chains}

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The chains, which move first if this is a new training step.

        Raises:
            NotPreparedError: before `allocate`.
        """
        if self.chains is None:
            raise NotPreparedError("PCD has no chains yet: call allocate(num_visible), as the models' constructors do")
        if self.training and machine.training and self._moved_at != stepping.now():
            self.chains.copy_(machine.gibbs(self.chains, self.steps))
            self._moved_at = stepping.now()
        return self.chains

    def extra_repr(self) -> str:
        """The configuration."""
        return f"steps={self.steps}, num_chains={self.num_chains}"


class Exact(NegativePhase):
    """No particles: log Z itself, by enumeration, for machines with at most 20 units on one side.

    The likelihood is exact, and so is its gradient, in training and in eval mode.

    Raises:
        ArgumentError: when a machine is scored whose smaller side is too large.

    Example:
        >>> Exact()
        Exact()
    """

    exact = True

    def allocate(
        self, num_visible: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        """Nothing to keep."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "exact"}

    def forward(self, machine: RestrictedBoltzmann, value: Tensor) -> Tensor:
        """The exact log Z, a scalar."""
        return exact_log_partition(machine).to(machine.weight.dtype)


PHASES: dict[str, type[NegativePhase]] = {"cd": CD, "exact": Exact, "pcd": PCD}
