"""The map over the epochs: where a model puts some fixed examples, before training and after each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probae import checks
from probae.applications.embedding import Embeds, all_codes_of, labels_of
from probae.engine.callbacks import Callback
from probae.engine.randomness import stream
from probae.errors import ArgumentError
from probae.models.base import Data

if TYPE_CHECKING:
    from probae.engine.training import Training


class MapRecorder(Callback):
    """A callback that writes down the codes of some examples before the first epoch and after each one.

    `pb.plots.map_animation` makes a film of them. Training goes on as if nobody looked: the random state stays, and so
    do all buffers. Each look costs one pass of the encoder over the examples. An encoder that reads labels
    (`num_labels=`) is told those of the data set: groups in its maps may be what it was told.

    Args:
        model: what is being trained.
        data: the examples, such as a few hundred of a validation set.
        labels: (N,) integers, -1 where unknown; by default those of a data set.
        every: look after each so many epochs.

    Attributes:
        epochs: after which epochs it looked, 0 first.
        labels: (N,), or None.

    Raises:
        ArgumentError, DataError: name the argument.

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> autoencoder = pb.Autoencoder(64, latent_dim=2, hidden=16)
        >>> recorder = MapRecorder(autoencoder, digits.valid)
        >>> run = autoencoder.fit(digits.train, epochs=3, callbacks=[recorder], seed=0)
        >>> recorder.epochs, recorder.codes.shape
        ([0, 1, 2, 3], torch.Size([4, 300, 2]))
    """

    def __init__(self, model: Embeds, data: Data, *, labels: Any = None, every: int = 1) -> None:
        self.model, self.data = model, data
        self.every = checks.positive_int("every", every)
        self.labels = labels_of("labels", data, labels)
        self.epochs: list[int] = []
        self._codes: list[Tensor] = []
        all_codes_of(model, data)  # refuses what it cannot embed before anything is trained

    @property
    def codes(self) -> Tensor:
        """(E, N, L), float64 on the CPU: one map for each of `epochs`.

        Raises:
            ArgumentError: names `callbacks`, if it watched no run.
        """
        if not self._codes:
            raise ArgumentError("callbacks", "this recorder among those of fit", "none that it has watched")
        return torch.stack(self._codes)

    def on_fit_start(self, training: Training) -> None:
        kept = sum(epoch <= training.epoch for epoch in self.epochs) if training.epoch else 0  # of a run that goes on
        self.epochs, self._codes = self.epochs[:kept], self._codes[:kept]
        if training.epoch not in self.epochs:
            self._look(training)

    def on_epoch_end(self, training: Training) -> None:
        if training.epoch % self.every == 0 or training.epoch == training.epochs:
            self._look(training)

    def _look(self, training: Training) -> None:
        with stream(0, training.device):
            self._codes.append(all_codes_of(self.model, self.data))
        self.epochs.append(training.epoch)
