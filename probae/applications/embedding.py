"""What the applications ask of a model and of data: codes, and labels."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from probae import checks
from probae.data import Dataset
from probae.errors import ArgumentError, DataError
from probae.models.labels import Labels, integers


class Embeds(Protocol):
    """Anything that embeds examples: every model here, and a class of your own with this method."""

    def embed(self, x: Any) -> Tensor:
        """The codes of examples, (N, L)."""
        ...


def codes_of(model: Embeds, data: Any) -> Tensor:
    """The codes of examples, made without their labels, in float64 on the CPU: (N, L).

    Raises:
        ArgumentError: names `model`, if it does not embed, or not as (N, L) finite numbers; or if its encoder reads
            labels, since its codes would say what they were told.
    """
    refuse_told(model)
    return all_codes_of(model, data)


def refuse_told(model: Any) -> None:
    """Refuse a model whose codes are made of an example and its label.

    Raises:
        ArgumentError: names `model`.
    """
    labels = getattr(model, "labels", None)
    if isinstance(labels, Labels) and not labels.latent:
        wanted = "one whose encoder sees no labels, which its codes would give away"
        raise ArgumentError("model", wanted, f"{type(model).__name__} with labels as a condition")


def all_codes_of(model: Embeds, data: Any) -> Tensor:
    """The codes of examples, also where an encoder reads the labels of a data set, in float64 on the CPU: (N, L)."""
    if not callable(getattr(model, "embed", None)):
        raise ArgumentError("model", "one with a method embed(x)", type(model).__name__)
    codes = model.embed(data)
    if not isinstance(codes, Tensor) or codes.dim() != 2 or len(codes) != len(data):
        got = f"shape {tuple(codes.shape)}" if isinstance(codes, Tensor) else type(codes).__name__
        raise ArgumentError("model", f"one whose embed gives ({len(data)}, L) codes of as many examples", got)
    if not bool(codes.isfinite().all()):
        raise ArgumentError("model", "one whose codes are finite", "NaN or infinity among them")
    return codes.detach().cpu().double()


def labels_of(argument: str, data: Any, labels: Any) -> Tensor | None:
    """Labels (N,) of examples on the CPU, -1 where unknown: those given, or those of a data set; None without any.

    Raises:
        DataError: names `argument`, for labels that are not N integers.
    """
    given = data.labels if labels is None and isinstance(data, Dataset) else labels
    if given is None:
        return None
    return integer_labels(argument, given, len(data))


def integer_labels(argument: str, labels: Any, size: int | None) -> Tensor:
    """Labels (N,) on the CPU, from integers in a sequence, an array or a tensor.

    Raises:
        DataError: names `argument`, for anything else, or another number of them than `size`.
    """
    values = integers(argument, labels)
    if values.dim() != 1 or size not in (None, len(values)):
        wanted = f"{'N' if size is None else size} integers, one an example"
        raise DataError(argument, wanted, f"shape {tuple(values.shape)}")
    return values.detach().cpu().long()


def pixels_of(argument: str, data: Any) -> Tensor:
    """The examples themselves, (N, D), in float64 on the CPU; `argument` names them in errors."""
    x: Any = data.tensor if isinstance(data, Dataset) else torch.as_tensor(data)
    return checks.finite(argument, x.flatten(1)).detach().cpu().double()
