"""What a model knows of labels: how many there are, how often each comes, and, where they are latent, q(y given x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from probae import checks
from probae.errors import ArgumentError, DataError
from probae.models.rows import pair_of

_CERTAIN = 1e3  # in a logit: exp(-1000) is zero also in float64, and zero times 1000 is no NaN


class Labels(nn.Module):
    """Class labels y in {0, ..., num_labels - 1}, -1 where they are unknown, as a condition or as a latent site.

    - As a condition, y is given: the model is p(x, z given y).
    - As a latent site, p(y) is Categorical(rates) and q(y given x) Categorical(classifier(x)), summed out in the guide
      by enumeration. A known label takes all of q's mass, so that the ELBO of such an example is that of log p(x, y).
      It is the guide that knows: with another guide, y has to be told to that one.

    Args:
        num_labels: K.
        classifier: from (N, D) to (N, K) logits where labels are latent; None where they are a condition.

    Attributes:
        rates: (K,) p(y): the known labels' frequencies in the training data, uniform until `prepare`.
    """

    rates: Tensor

    def __init__(self, num_labels: int, classifier: nn.Module | None) -> None:
        super().__init__()
        self.num_labels = checks.positive_int("num_labels", num_labels, minimum=2)
        self.classifier = classifier
        self.latent = classifier is not None
        self.register_buffer("rates", torch.full((self.num_labels,), 1 / self.num_labels))

    def check(self, argument: str, y: Any, size: int) -> Tensor:
        """Labels as (size,) int64, from a number for all, a sequence, an array or a tensor.

        Raises:
            DataError: for another type or shape, or labels outside the range.
        """
        if y is None:
            raise DataError(argument, f"labels: the model is p(x{', y' if self.latent else ' given y'})", None)
        hint = "" if self.latent else "pb.VAE(labels='latent') learns from unknown ones (-1) too"
        y = check_labels(argument, y, size, self.num_labels, unknown=self.latent, hint=hint)
        return y.to(self.rates.device)

    @torch.no_grad()
    def prepare(self, y: Tensor) -> None:
        """Set the rates, if they are still uniform, to the known labels' frequencies, one more of each added."""
        if bool((self.rates == self.rates[0]).all()):
            counts = torch.bincount(y[y >= 0], minlength=self.num_labels) + 1.0
            self.rates.copy_(counts / counts.sum())

    def one_hot(self, y: Tensor) -> Tensor:
        """(..., K) of the parameters' dtype; all zero for -1."""
        return one_hot(y, self.num_labels).to(self.rates.dtype)

    # In the pair.

    def generate(self, y: Tensor | None, size: int, *, observed: bool) -> Tensor:
        """The labels in a model over `size` examples, as one-hot vectors, inside its plate.

        Args:
            y: (size,) labels, where they are given.
            size: number of examples.
            observed: whether the model was given data, so that y comes with it.

        Raises:
            DataError: if labels are a condition, and data came without them; in validated runs, for labels that are
                none.
        """
        if y is not None and is_validation_enabled():
            y = self.check("y", y, size)
        if self.latent:
            given = None if observed or y is None else self.filled(y)
            return self.one_hot(pyro.sample("y", dist.Categorical(self.rates), obs=given))
        if y is None and observed:
            y = self.check("y", None, size)
        if y is None:
            return self.one_hot(self.filled(torch.full((size,), -1, device=self.rates.device)))
        known = (y >= 0) & (y < self.num_labels)  # in a later batch nobody has looked; the loss will tell
        return torch.where(known.unsqueeze(-1), self.one_hot(y), math.nan)

    def infer(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The labels in a guide for examples (N, D), as one-hot vectors, inside its plate."""
        if not self.latent:
            return self.generate(y, len(x), observed=True)
        logits = self.logits(x)
        if y is not None:
            y = self.check("y", y, len(x)) if is_validation_enabled() else y
            logits = torch.where((y >= 0).unsqueeze(-1), _CERTAIN * (self.one_hot(y) - 1), logits)
        site = pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
        return self.one_hot(site)

    def filled(self, y: Tensor) -> Tensor:
        """Labels with the unknown ones drawn from p(y)."""
        return torch.where(y < 0, torch.multinomial(self.rates, len(y), replacement=True), y)

    # What is known of q(y given x).

    def logits(self, x: Tensor) -> Tensor:
        """The classifier's logits, (N, K)."""
        if self.classifier is None:
            raise ArgumentError("labels", "'latent', where labels are inferred", "'condition'")
        return self.classifier(x)

    def guess(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Labels for examples (N, D): the given ones, and the most probable where they are unknown.

        Raises:
            DataError: if labels are a condition and none are given.
        """
        if self.latent:
            best = self.logits(x).argmax(-1)
            return best if y is None else torch.where(y < 0, best, y)
        return self.check("y", None, len(x)) if y is None else y

    def classification(self, weight: float, seen: Callable[[Any], Tensor]) -> Any:
        """The penalty that trains the classifier where labels are known, since their ELBO does not contain it:

        -weight * log q(y given x), averaged over the labelled examples of a batch; zero where it has none. As a
        penalty, `(batch, guide_trace) -> scalar`, it stands beside the mean loss of all examples of the batch.

        Args:
            weight: of the mean cross-entropy.
            seen: the examples of a batch as the guide reads them, (N, D), zero where nothing is observed.

        Source:
            Kingma et al. 2014 (arXiv 1406.5298), eq. 9.
        """

        def penalty(batch: Any, guide_trace: Any) -> Tensor:
            y = pair_of(batch)[1]
            if y is None:
                return self.rates.new_zeros(())
            log_q = (self.one_hot(y) * self.logits(seen(batch)).log_softmax(-1)).sum()
            return -weight * log_q / (y >= 0).sum().clamp(min=1)

        return penalty


def one_hot(y: Tensor, num_labels: int) -> Tensor:
    """(..., K) bool, all False for -1; unlike torch's, it can be recorded.

    Example:
        >>> one_hot(torch.tensor([1, -1]), 2).int()
        tensor([[0, 1],
                [0, 0]], dtype=torch.int32)
    """
    return y.unsqueeze(-1) == torch.arange(num_labels, device=y.device)


def check_labels(argument: str, y: Any, size: int, num_labels: int, *, unknown: bool, hint: str = "") -> Tensor:
    """Labels as (size,) int64, from a number for all, a sequence, an array or a tensor.

    Args:
        argument: named in errors.
        y: the labels.
        size: how many there should be.
        num_labels: K.
        unknown: whether -1 is one.
        hint: what an error says of labels of -1 that are not.

    Raises:
        DataError: for another type or shape, or labels outside the range.
    """
    y = integers(argument, y)
    y = y.expand(size) if y.dim() == 0 else y
    if y.shape != (size,):
        raise DataError(argument, f"labels of shape ({size},), one an example", f"shape {tuple(y.shape)}")
    if bool((y < (-1 if unknown else 0)).any()) or bool((y >= num_labels).any()):
        known = f"labels from 0 to {num_labels - 1}" + (", or -1 where unknown" if unknown else "")
        found = f"values from {int(y.min())} to {int(y.max())}"
        raise DataError(argument, known, found, hint if bool((y < 0).any()) else "")
    return y.to(torch.int64)


def integers(argument: str, y: Any) -> Tensor:
    """Integer labels as a tensor, from a number, a sequence, an array or a tensor."""
    if isinstance(y, (int, np.integer, np.ndarray, list, tuple, range)) and not isinstance(y, bool):
        try:
            y = torch.as_tensor(np.asarray(y))
        except (TypeError, ValueError) as error:
            raise DataError(argument, "integer labels", f"a {type(y).__name__} that is no array of them") from error
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        got = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise DataError(argument, "integer labels", got)
    return y
