"""Greedy layerwise pretraining: one model after the other, each on what the one below makes of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from probae.data import Dataset
from probae.engine.callbacks import Callback, Progress, wants_progress
from probae.engine.door import callbacks as check_callbacks
from probae.engine.randomness import check_seed, stream
from probae.engine.run import Run
from probae.errors import DataError
from probae.networks.unrolled import Unrolled


class Trainable(Protocol):
    """What a layer's model has to be: one of ours, or like them."""

    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def fit(self, data: Any, *, valid: Any = None, **settings: Any) -> Run: ...
    def check(self, argument: str, x: Tensor) -> None: ...
    def unrolled(self) -> Unrolled: ...


class LayerSettings(NamedTuple):
    """What `greedily` is told of one layer.

    Attributes:
        model: to be trained.
        fit: settings of `fit` for it.
    """

    model: Trainable
    fit: dict[str, Any]


def greedily(
    layers: Sequence[LayerSettings],
    data: Dataset,
    *,
    valid: Dataset | None = None,
    seed: int | None = None,
    callbacks: Callback | Iterable[Callback] = (),
    progress: bool | None = None,
) -> list[Run]:
    """Train models one after the other: the first on the data, each other one on the codes of the one before.

    Codes are what the encoder says, without noise. Where a layer's units are binary and its data are values in [0, 1],
    these are rates, from which bits are drawn anew in each batch. Ctrl-C ends the layer's run, and no other begins.

    Args:
        layers: that nearest to the data first.
        data, valid: as `fit` takes them.
        seed: of all that is drawn; each layer gets its own from it.
        callbacks, progress: as `fit` takes them.

    Returns:
        The runs.

    Source:
        Hinton, Osindero and Teh 2006; Bengio, Lamblin, Popovici and Larochelle 2007, "Greedy layer-wise training of
        deep networks".
    """
    watchers, shown = check_callbacks(callbacks), wants_progress(progress)
    with stream(check_seed(seed), torch.device("cpu")):
        seeds = [check_seed(None) for _ in layers]
    runs: list[Run] = []
    for (model, settings), own in zip(layers, seeds, strict=True):
        bar = [Progress(f"layer {len(runs) + 1}/{len(layers)}, ")] if shown else []
        judged = None if valid is None else _suited(model, "valid", valid)
        told = {**settings, "seed": own, "callbacks": [*watchers, *bar], "progress": False}
        runs.append(model.fit(_suited(model, "data", data), valid=judged, **told))
        if runs[-1].stopped == "interrupted":
            break
        data, valid = _coded(model, data), None if valid is None else _coded(model, valid)
    return runs


def _suited(model: Trainable, argument: str, data: Dataset) -> Dataset:
    """The data; where the model wants bits and they are rates, a data set that draws them."""
    try:
        model.check(argument, data.tensor)
    except DataError:
        if bool(((data.tensor < 0) | (data.tensor > 1)).any()):
            raise
        return Dataset(rates=data.tensor)
    return data


@torch.no_grad()
def _coded(model: Trainable, data: Dataset) -> Dataset:
    codes = data.tensor.to(model.device, model.dtype)
    for layer in model.unrolled().encoder:
        codes = layer(codes)
    return Dataset(codes)
