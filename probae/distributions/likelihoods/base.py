"""What every likelihood p(x given z) is: what a decoder's outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from probae.checks import positive_int


class Likelihood(nn.Module, ABC):
    """A distribution over examples of D dimensions, with parameters from a decoder's (..., num_outputs) outputs.

    To write a new one, implement the abstract methods and enter it in `LIKELIHOODS`.

    Args:
        num_visible: D.

    Attributes:
        num_outputs: how many outputs a decoder needs; D unless a subclass says otherwise.
    """

    def __init__(self, num_visible: int) -> None:
        super().__init__()
        self.num_visible = positive_int("num_visible", num_visible)
        self.num_outputs = self.num_visible

    @abstractmethod
    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        """The distribution of x, event shape (D,), for decoder outputs (..., num_outputs)."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of x: (..., D)."""

    @abstractmethod
    def check(self, argument: str, x: Tensor) -> None:
        """Refuse data outside the support, with a DataError that names `argument`."""

    @abstractmethod
    def outputs_for(self, mean: Tensor) -> Tensor:
        """The outputs, (num_outputs,), whose distribution has the mean (D,): where an output bias should start."""

    def prepare(self, x: Tensor) -> None:
        """Set what should be known of the training data (N, D) before the first step; what is trained stays."""
        return None

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the number of dimensions aside."""
