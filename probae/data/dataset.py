"""A data set that knows its protocol: one tensor on one device, or the rates to draw it from."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from numbers import Integral
from typing import Any, final, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from probae.data import door
from probae.data.fixed_bits import fixed_bits
from probae.data.labels import kept
from probae.data.protocol import Protocol
from probae.data.rows import row, rows
from probae.distributions.bits import random_bits
from probae.errors import ArgumentError

BESIDE = ("labels", "lengths", "factors", "true_log_prob")
"""What is known of each example; it goes where the examples go."""


@final
class Dataset(TorchDataset[Any]):
    """Examples, what is known of each, and the protocol that every number measured on them must name.

    For torch it is a map-style data set, which a `DataLoader` takes.

    With `rates` the binarization is "dynamic": each batch is drawn anew from Bernoulli(rates), and `tensor` is the
    current draw. It first is the one that the protocol's seed names, so reading it moves no random generator; `redraw`
    replaces it.

    Args:
        tensor: (N, D) or (N, *data_shape), floating-point and finite. Torch tensors are kept as they are, not copied;
            booleans become float32 zeros and ones, and so do NumPy's floats and booleans. Integers are refused, since
            they may be bits, grey values up to 255 or class numbers. May be left out where `rates` are given.
        labels: (N,) integers, the classes from 0, and -1 where unknown; kept as int64.
        data_shape: of one example, channels first; by default what follows N in the shape of `tensor`.
        protocol: what the data is; "unknown" by default. With `rates` its binarization becomes "dynamic".
        rates: like `tensor`, values in [0, 1]: the grey values to draw batches from. Kept in float32.
        lengths: (N,) integers, kept as int64: how many steps of each sequence are data, where `data_shape` is
            (T, ...). The steps after them are padding, and zero.
        factors: (N, F), floating-point: what each example was made from, for data whose making is known.
        true_log_prob: (N,), kept as float64: log p(x) in nats under the process that made the data, given its lengths.
            Its mean over a test set is what the true distribution scores there: no model can expect more.

    Raises:
        DataError: for data of another type, shape or dtype, no data, NaN, rates outside [0, 1], lengths beyond T,
            padding that is not zero.
        ArgumentError: for neither data nor rates, or a protocol that contradicts the rates.

    Example:
        >>> faces = Dataset(torch.rand(100, 1, 8, 8), protocol=Protocol("faces", "train", "none"))
        >>> faces
        Dataset(faces/train, not binarized: 100 examples of shape (1, 8, 8), float32 on cpu)
        >>> faces[:10].batch(torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 64])
        >>> Dataset(rates=faces.tensor).resamples
        True
    """

    def __init__(
        self,
        tensor: Tensor | np.ndarray | None = None,
        labels: Tensor | np.ndarray | None = None,
        data_shape: int | tuple[int, ...] | None = None,
        protocol: Protocol | None = None,
        rates: Tensor | np.ndarray | None = None,
        *,
        lengths: Tensor | np.ndarray | None = None,
        factors: Tensor | np.ndarray | None = None,
        true_log_prob: Tensor | np.ndarray | None = None,
    ) -> None:
        name, given = ("rates", rates) if tensor is None else ("tensor", tensor)
        if given is None:
            raise ArgumentError("tensor", "data, or rates to draw it from", None)
        values, self.data_shape = door.values(name, given, data_shape)
        self.protocol = door.protocol(protocol, dynamic=rates is not None)
        self.labels = None if labels is None else door.labels(labels, values)
        self.factors = None if factors is None else door.factors(factors, values)
        self.true_log_prob = None if true_log_prob is None else door.log_prob(true_log_prob, values)
        self.resamples = rates is not None
        self._values = values if rates is None else door.rates(rates, self.data_shape, values)
        self.lengths = None if lengths is None else door.lengths(lengths, self.data_shape, self._values)
        self._draw = values if tensor is not None and rates is not None else None
        self._dtype = torch.float32 if tensor is None else values.dtype

    @property
    def tensor(self) -> Tensor:
        """(N, D): the data; under dynamic binarization the current draw of it."""
        if not self.resamples:
            return self._values
        if self._draw is None:
            self._draw = fixed_bits(self._values, self.protocol).to(self._dtype)
        return self._draw

    @property
    def rates(self) -> Tensor | None:
        """(N, D): the rates that batches are drawn from, float32; None where they are not drawn anew."""
        return self._values if self.resamples else None

    @property
    def device(self) -> torch.device:
        """Where the data lives."""
        return self._values.device

    @property
    def dtype(self) -> torch.dtype:
        """Of `tensor` and of every batch."""
        return self._dtype

    def batch(self, indices: Tensor) -> Tensor:
        """The examples at `indices`, drawn anew by torch's global generator where the set resamples.

        One gather, no synchronization; indices may repeat, and negative ones are out of range.

        Args:
            indices: (B,) int64 on the data's device.

        Returns:
            (B, D).

        Raises:
            ArgumentError: for indices of another shape or dtype; out of range on the CPU (on CUDA that is a device
                assertion, since asking would synchronize).
        """
        if not isinstance(indices, Tensor) or indices.dim() != 1 or indices.dtype not in (torch.int64, torch.int32):
            got = f"shape {tuple(indices.shape)} of {indices.dtype}" if isinstance(indices, Tensor) else repr(indices)
            raise ArgumentError("indices", "a 1-D tensor of integers", got)
        try:
            chosen = self._values.index_select(0, indices)
        except IndexError as error:
            raise ArgumentError("indices", f"integers from 0 to {len(self) - 1}", "some out of range") from error
        return random_bits(chosen).to(self._dtype) if self.resamples else chosen

    def redraw(self) -> None:
        """Draw `tensor` anew from torch's global generator; nothing happens where the set does not resample."""
        if self.resamples:
            self._draw = random_bits(self._values).to(self._dtype)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Dataset:
        """The same data on `device`, its tensor and batches in `dtype`; what else is known keeps its own.

        Raises:
            ArgumentError: for something that is no device, or a dtype that is not floating-point.
        """
        device, dtype = door.device(device, self.device), door.dtype(dtype, self._dtype)
        twin = copy(self)
        twin._dtype = dtype
        twin._values = self._values.to(device, torch.float32 if self.resamples else dtype)
        twin._draw = None if self._draw is None else self._draw.to(device, dtype)
        for name, beside in self._beside():
            setattr(twin, name, beside.to(device))
        return twin

    def keep_labels(self, count: int, seed: int = 0) -> Dataset:
        """The same data with `count` of its labels known and the others -1, for semi-supervised training.

        They are spread as evenly over the classes as can be. With the same seed, a larger count keeps what a smaller
        one does and adds to it. No global random generator moves.

        Raises:
            ArgumentError: for a count that is more than there are, or a seed that is none.
            DataError: for data without labels.

        Example:
            >>> from probae.data import load
            >>> few = load("digits").train.keep_labels(20)
            >>> few.labels[few.labels >= 0].bincount().tolist()
            [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
        """
        twin = copy(self)
        twin.labels = kept(self.labels, count, seed)
        return twin

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice | Tensor | np.ndarray | list[int] | list[bool]) -> Dataset: ...

    def __getitem__(self, index: int | slice | Tensor | np.ndarray | list[int] | list[bool]) -> Any:
        """The chosen examples as a data set of the same protocol; a slice shares memory with this one.

        A single integer gives one example instead, drawn anew where the set resamples, as a `DataLoader` asks for it:
        (x,), or (x, label), with x of shape (D,); where there are lengths the mapping {"x", "y", "lengths"} ("y" where
        there are labels), since models take lengths by name.

        Raises:
            ArgumentError: for another type, out of range, or no example at all.
        """
        if isinstance(index, Integral) and not isinstance(index, bool):
            return self._item(row(int(index), len(self)))
        chosen = rows(index, len(self))
        chosen = chosen if isinstance(chosen, slice) else chosen.to(self.device)
        twin = copy(self)
        twin._values = self._values[chosen]
        twin._draw = self.tensor[chosen] if self.resamples else None
        for name, beside in self._beside():
            setattr(twin, name, beside[chosen])
        return twin

    def __iter__(self) -> Iterator[Any]:
        """One example after the other, as single integers give them."""
        return (self._item(index) for index in range(len(self)))

    def __len__(self) -> int:
        return self._values.shape[0]

    def __repr__(self) -> str:
        examples = f"{len(self)} example{'s' if len(self) > 1 else ''} of shape {self.data_shape}"
        known = [name for name, _ in self._beside()]
        known = f" with {', '.join(known)}" if known else ""
        return f"Dataset({self.protocol}: {examples}{known}, {str(self.dtype)[6:]} on {self.device})"

    def _beside(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, beside) for name in BESIDE if (beside := getattr(self, name)) is not None)

    def _item(self, index: int) -> tuple[Tensor, ...] | dict[str, Tensor]:
        x = self.batch(torch.tensor([index], device=self.device))[0]
        y = None if self.labels is None else self.labels[index]
        if self.lengths is None:
            return (x,) if y is None else (x, y)
        return {"x": x, **({} if y is None else {"y": y}), "lengths": self.lengths[index]}
