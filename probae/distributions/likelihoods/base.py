"""What every likelihood p(x given z) is: what a decoder's outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.checks import positive_int
from probae.errors import ArgumentError


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

    def observed(self, outputs: Tensor, mask: Tensor) -> dist.TorchDistribution:
        """The distribution of those dimensions of x that a mask (..., D) shows; the others count for nothing.

        Raises:
            ArgumentError: names `mask`, if the dimensions have no likelihood of their own.
        """
        whole = self.distribution(outputs)
        if not isinstance(whole, dist.Independent) or whole.base_dist.event_shape:
            raise ArgumentError("mask", "None where dimensions have no likelihood of their own", "a mask")
        return whole.base_dist.mask(mask).to_event(1)

    def log_prob_each(self, outputs: Tensor, x: Tensor) -> Tensor:
        """log p(x_d given z) of each dimension, (..., D), whose sum is log p(x given z).

        Raises:
            ArgumentError: names `likelihood`, if the dimensions have none of their own.
        """
        whole = self.distribution(outputs)
        if not isinstance(whole, dist.Independent) or whole.base_dist.event_shape:
            wanted = "one that is a product over the dimensions of x, to say which are strange"
            raise ArgumentError("likelihood", wanted, type(self).__name__)
        return whole.base_dist.log_prob(x)

    def check_mask(self, argument: str, mask: Tensor) -> None:
        """Refuse masks (N, D) that make no sense of this likelihood, with an ArgumentError that names `argument`."""
        return None

    def placeholder(self, x: Tensor) -> Tensor:
        """A value in the support for each dimension of examples (N, D), to stand where nothing is observed."""
        return torch.zeros_like(x)

    def prepare(self, x: Tensor) -> None:
        """Set what should be known of the training data (N, D) before the first step; what is trained stays."""
        return None

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it, the number of dimensions aside."""
