"""What models that say p(y given x) in closed form share: how labels reach them, how they classify and are judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from probae.data import Dataset
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor
from probae.errors import DataError
from probae.evaluation.estimate import Estimate, exact_estimate
from probae.models.base import Data, Model, examples_of, protocol_of
from probae.models.labels import check_labels
from probae.models.rows import labelled, pair_of


class LabelModel(Model):
    """A model of labels y in {0, ..., num_labels - 1}, -1 where they are unknown, whose p(y given x) is exact.

    A subclass sets `num_labels` and says p(y given x) in `_logits`; the rest is the same for all.
    """

    num_labels: int

    @abstractmethod
    def _logits(self, x: Tensor) -> Tensor:
        """The logits of p(y given x), (N, num_labels), for checked examples (N, D)."""

    # What it declares.

    def arguments(self, argument: str, data: Any) -> Any:
        """The examples and their labels, checked; -1 where one is unknown."""
        x, y = pair_of(data)
        if not isinstance(x, (Dataset, Tensor, np.ndarray)):
            return data  # a stream of batches
        if isinstance(data, Mapping):
            self.refuse(**{name: data.get(name) for name in ("mask", "lengths")})
        y = self._labels(argument, y, len(self.examples(argument, x)))
        return labelled(x, y), y

    # Its verbs.

    def classify(self, x: Data) -> dist.Categorical:
        """p(y given x) for examples (N, D): a distribution of batch shape (N,); `.probs` is (N, num_labels)."""
        with self.evaluating():
            return dist.Categorical(logits=self._logits(self.examples("x", x)))

    def predict(self, x: Data) -> Tensor:
        """The most probable label of each example: (N,)."""
        return self.classify(x).logits.argmax(-1)

    def error_rate(self, data: Any, y: Any = None) -> float:
        """The share of examples, of those whose label is known, for which `predict` says another one.

        Args:
            data: a data set with labels, a pair (x, y), or examples alone.
            y: their labels, where `data` has none.
        """
        x, y = self._judged(data, y)
        return (self.predict(x) != y).to(torch.float64).mean().item()

    # Details.

    def _labels(self, argument: str, y: Any, size: int) -> Tensor:
        if y is None:
            raise DataError(argument, "examples with labels (-1 where unknown)", "none with them")
        return check_labels(argument, y, size, self.num_labels, unknown=True).to(self.device)

    def _given_labels(self, batch: Batch) -> Tensor:
        """The labels of a batch of validation data."""
        y = batch.args[1] if len(batch.args) > 1 else batch.kwargs.get("y")
        return self._labels("valid", y, batch.num_examples)

    def _judged(self, data: Any, y: Any) -> tuple[Any, Tensor]:
        """Examples and labels, checked, those left out that are unknown."""
        given = data if y is None else (pair_of(data)[0], y)
        found = self.arguments("data", given)
        if found is given:
            raise DataError("data", "a data set, a tensor or an array, with labels", type(pair_of(given)[0]).__name__)
        return known_of("data", *found)

    def _log_likelihood_of_labels(self, data: Any, y: Any, reason: str) -> Estimate:
        """The mean log p(y given x) of the known labels, which is exact for this reason."""
        x, y = self._judged(data, y)
        protocol = replace(protocol_of(x), of="y", given="x")
        return exact_estimate(self.classify(x).log_prob(y).double(), reason, protocol)

    def _label_monitor(self, name: str, *, accuracy: bool) -> Monitor:
        """The mean log p(y given x) in nats, or the share of right labels, of validation examples of known label."""

        def evaluate(batches: Iterable[Batch]) -> Tensor:
            total = known = torch.zeros((), device=self.device)
            for batch in batches:
                y = self._given_labels(batch)
                log_probs = self._logits(examples_of(batch)).log_softmax(-1)
                chosen = log_probs.gather(-1, y.clamp(min=0).unsqueeze(-1)).squeeze(-1)
                scores = (log_probs.argmax(-1) == y).to(chosen) if accuracy else chosen
                total = total + torch.where(y >= 0, scores, 0.0).sum()
                known = known + (y >= 0).sum()
            if not known:
                raise DataError("valid", "examples with labels", "none that is known: all are -1")
            return total / known

        return Monitor(name, evaluate)


def known_of(argument: str, x: Any, y: Tensor) -> tuple[Any, Tensor]:
    """The examples whose labels are known, with these.

    Raises:
        DataError: names the argument, if none is.
    """
    known = y >= 0
    if not bool(known.any()):
        raise DataError(argument, "examples with labels", "none that is known: all are -1")
    return (x, y) if bool(known.all()) else (x[known], y[known])
