"""Counts of words in documents of different length: the replicated softmax."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from probae.distributions.units.base import Units
from probae.distributions.units.functions import inner
from probae.errors import ArgumentError, DataError


@final
class CountUnits(Units):
    """Counts u of K words in a document of D words: E(u) = -b'u, C(m) = D log sum_k exp(m_k), u multinomial given m.

    A document is D softmax units with shared weights; the biases of the other side count D times, and its length is
    never sampled: it comes with the document. Sums run over ordered documents.

    Source: Salakhutdinov and Hinton (2009), "Replicated softmax: an undirected topic model".

    Example:
        >>> CountUnits(3).cumulant(torch.zeros(1, 3), torch.zeros(3), length=torch.tensor([2.0]))  # 2 log 3
        tensor([2.1972])
    """

    counts: ClassVar[bool] = True

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "counts"}

    def check(self, argument: str, u: Tensor) -> None:
        if not bool(((u >= 0) & (u == u.round()) & u.isfinite()).all()):
            raise DataError(argument, "counts (whole numbers from zero up), since the units are counts", "others")
        if not bool((u.sum(-1) > 0).all()):
            raise DataError(argument, "documents with at least one word", "one without any")

    def length(self, u: Tensor) -> Tensor:
        return u.sum(-1)

    def check_means(self, argument: str, mean: Tensor) -> None:
        if not bool(((mean >= 0) & mean.isfinite()).all()):
            raise ArgumentError(argument, "finite means from zero up", "others")

    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        return -inner(u, bias)

    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        return _known(length) * input.logsumexp(-1)

    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        return _known(length).unsqueeze(-1) * input.softmax(-1)

    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        # Down a binary tree of words, each node shares its count between its children by a binomial: exact, and of
        # log K steps, without any shape that depends on the lengths.
        weights = input.detach().softmax(-1)
        levels = [F.pad(weights, (0, 2 ** (self.num_units - 1).bit_length() - self.num_units))]
        while levels[-1].shape[-1] > 1:
            levels.append(levels[-1].unflatten(-1, (-1, 2)).sum(-1))
        counts = _known(length).to(weights).expand(weights.shape[:-1]).unsqueeze(-1)
        for level in reversed(levels[:-1]):
            left, right = level.unflatten(-1, (-1, 2)).unbind(-1)
            share = (left / (left + right)).nan_to_num(0.5).clamp(0, 1)
            first = torch.binomial(counts, share)
            counts = torch.stack([first, counts - first], -1).flatten(-2)
        return counts[..., : self.num_units]

    def bias_for(self, mean: Tensor) -> Tensor:
        return (mean + 0.01 * mean.mean() + 1e-6).log().log_softmax(-1)

    def log_orders(self, u: Tensor) -> Tensor:
        """The log of the multinomial coefficient, (...,): how many ordered documents have these counts."""
        return torch.lgamma(u.sum(-1) + 1) - torch.lgamma(u + 1).sum(-1)


def _known(length: Tensor | None) -> Tensor:
    if length is None:
        raise DataError("length", "the lengths of the documents, since the units are counts", "none")
    return length
