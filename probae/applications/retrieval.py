"""Retrieval by binary codes: the nearest of a database in Hamming distance over packed bits, and how many are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from probae import checks
from probae.applications.embedding import integer_labels, refuse_told
from probae.data import Dataset
from probae.errors import ArgumentError, DataError


class Neighbours(NamedTuple):
    """The nearest entries of a database for each query, nearest first.

    Attributes:
        indices: of the entries, (Q, k).
        distances: from the query to them, (Q, k).
    """

    indices: Tensor
    distances: Tensor


class Hashes(Protocol):
    """Anything that makes binary codes: a model whose code is of sigmoid units, and a class of your own."""

    def binary_codes(self, x: Any) -> Tensor:
        """The codes of examples, (N, L) bool."""
        ...


@dataclass(frozen=True, repr=False, eq=False)
class Precision:
    """Of the first k that are retrieved, the share that is relevant: on average over queries, for each k.

    Attributes:
        values: (K,), for k = 1, ..., K.
        stderr: (K,), their standard errors, from sampling the queries; NaN for a single one.
    """

    values: Tensor
    stderr: Tensor

    def __repr__(self) -> str:
        most = len(self.values)
        shown = [k for k in (1, 10, 100, 1000) if k < most] + [most]
        return "precision " + ", ".join(f"{self.values[k - 1]:.3f} ± {self.stderr[k - 1]:.2g} at {k}" for k in shown)


def retrieve(model: Hashes, queries: Any, database: Any, k: int = 10) -> Neighbours:
    """The k examples of a database whose binary codes are nearest to those of the queries.

    Args:
        model: one with binary codes that is told no labels:
            `pb.Autoencoder(784, 32, nonlinearity="sigmoid", noise=4.0)`.
        queries: Q examples, as the model takes them.
        database: N examples, likewise.
        k: how many, at most N.

    Raises:
        ArgumentError, DataError: name the argument.

    Source:
        Salakhutdinov and Hinton 2009, "Semantic hashing".

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> hashing = pb.Autoencoder(64, 16, 64, nonlinearity="sigmoid", noise=4.0)
        >>> run = hashing.fit(digits.train, epochs=5, seed=0)
        >>> retrieve(hashing, digits.test[:3], digits.train, k=5).indices.shape
        torch.Size([3, 5])
    """
    if not callable(getattr(model, "binary_codes", None)):
        raise ArgumentError("model", "one with a method binary_codes(x)", type(model).__name__)
    refuse_told(model)
    return hamming_search(pack(model.binary_codes(queries)), pack(model.binary_codes(database)), k)


def pack(codes: Tensor | np.ndarray) -> Tensor:
    """Binary codes (N, L) as words of 64 bits, the last one filled up with zeros: (N, ceil(L / 64)) int64.

    Raises:
        DataError: for anything but booleans (N, L), L at least 1.

    Example:
        >>> pack(torch.tensor([[True, False, True], [False, True, False]]))
        tensor([[5],
                [2]])
    """
    bits = torch.from_numpy(codes) if isinstance(codes, np.ndarray) and codes.dtype.kind == "b" else codes
    if not isinstance(bits, Tensor) or bits.dtype != torch.bool or bits.dim() != 2 or bits.shape[1] == 0:
        raise DataError("codes", "booleans (N, L)", _in_words(bits), "model.binary_codes(x) makes them")
    packed = np.packbits(bits.detach().cpu().numpy(), axis=1, bitorder="little")
    words = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    words[:, : packed.shape[1]] = packed
    return torch.from_numpy(words.view("<i8").astype(np.int64, copy=False))


def hamming_search(queries: Tensor, database: Tensor, k: int) -> Neighbours:
    """The k entries of a database that differ from each query in the fewest bits, exactly; ties by their index.

    An exclusive or and a count of bits for each pair, and no sorting but of the k: a few nanoseconds a pair for codes
    of one word. Memory is that of the answer and ten bytes for each entry, however many queries there are.

    Args:
        queries: packed codes, (Q, W) int64; see `pack`.
        database: packed codes of the same length, (N, W).
        k: how many, at most N.

    Returns:
        The neighbours; distances are in bits, int64.

    Raises:
        DataError, ArgumentError: name the argument.

    Example:
        >>> words = pack(torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]]).bool())
        >>> hamming_search(words[:1], words, 2)
        Neighbours(indices=tensor([[0, 2]]), distances=tensor([[0, 1]]))
    """
    ours, theirs = _words("queries", queries), _words("database", database)
    if ours.shape[1] != theirs.shape[1]:
        wanted = f"codes of {theirs.shape[1]} words, as the database's"
        raise DataError("queries", wanted, f"{ours.shape[1]} words")
    count = _number("k", k, len(theirs))
    columns, distances = np.ascontiguousarray(theirs.T), np.empty(len(theirs), _counts(theirs.shape[1]))
    indices, found = np.empty((len(ours), count), np.int64), np.empty((len(ours), count), np.int64)
    room = _Room(len(theirs))
    for row, query in enumerate(ours):
        _distances(query, columns, distances, room)
        indices[row] = _smallest(distances, count, 64 * len(columns), room)
        found[row] = distances[indices[row]]
    return Neighbours(torch.from_numpy(indices), torch.from_numpy(found))


def euclidean_search(queries: Any, database: Any, k: int) -> Neighbours:
    """The k examples of a database that are nearest to each query in the space of the data, exactly.

    Args:
        queries: a data set, or a tensor or an array (Q, D) or (Q, *data_shape).
        database: likewise, N examples.
        k: how many, at most N.

    Raises:
        DataError, ArgumentError: name the argument.

    Example:
        >>> euclidean_search(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]]), 2).indices
        tensor([[1, 0]])
    """
    from sklearn.neighbors import NearestNeighbors

    ours, theirs = _rows("queries", queries), _rows("database", database)
    if ours.shape[1] != theirs.shape[1]:
        raise DataError(
            "queries", f"examples of {theirs.shape[1]} values, as the database's", f"{ours.shape[1]} values"
        )
    search = NearestNeighbors(n_neighbors=_number("k", k, len(theirs)), algorithm="brute").fit(theirs)
    distances, indices = search.kneighbors(ours)
    return Neighbours(torch.from_numpy(indices), torch.from_numpy(distances))


def same_label(retrieved: Tensor, query_labels: Any, database_labels: Any) -> Tensor:
    """Whether what was retrieved has its query's label: (Q, k) bool. Unknown labels (-1) are like no other.

    Args:
        retrieved: indices into the database, (Q, k): `Neighbours.indices`.
        query_labels: (Q,) integers, in a tensor, an array or a sequence.
        database_labels: (N,), likewise.

    Example:
        >>> same_label(torch.tensor([[0, 2]]), torch.tensor([7]), torch.tensor([7, 7, 3]))
        tensor([[ True, False]])
    """
    indices = _indices("retrieved", retrieved)
    ours = integer_labels("query_labels", query_labels, len(indices))
    theirs = integer_labels("database_labels", database_labels, None)
    if indices.numel() and int(indices.max()) >= len(theirs):
        raise DataError("retrieved", f"indices below {len(theirs)}, the length of database_labels", int(indices.max()))
    return (theirs[indices] == ours[:, None]) & (ours[:, None] >= 0)


def among(retrieved: Tensor, neighbours: Tensor) -> Tensor:
    """Whether what was retrieved is among other neighbours of the same query, such as the exact ones: (Q, k) bool.

    Args:
        retrieved: indices into the database, (Q, k).
        neighbours: likewise, (Q, m).

    Example:
        >>> among(torch.tensor([[0, 2, 5]]), torch.tensor([[5, 0]]))
        tensor([[ True, False,  True]])
    """
    indices, others = _indices("retrieved", retrieved), _indices("neighbours", neighbours).sort(1).values
    if len(indices) != len(others):
        raise DataError("neighbours", f"those of {len(indices)} queries", f"those of {len(others)}")
    places = torch.searchsorted(others, indices.contiguous()).clamp(max=others.shape[1] - 1)
    return others.gather(1, places) == indices


def precision_at_k(relevant: Tensor) -> Precision:
    """The share of relevant ones among the first k that are retrieved, for each k.

    Args:
        relevant: (Q, K) bool, nearest first: `same_label(...)` or `among(...)`.

    Raises:
        DataError: for another type or shape.

    Example:
        >>> precision_at_k(torch.tensor([[True, True, False, False], [True, False, True, False]])).values
        tensor([1.0000, 0.7500, 0.6667, 0.5000], dtype=torch.float64)
    """
    if not isinstance(relevant, Tensor) or relevant.dtype != torch.bool or relevant.dim() != 2 or not relevant.numel():
        raise DataError("relevant", "booleans (Q, K)", _in_words(relevant))
    shares = relevant.cpu().double().cumsum(1) / torch.arange(1, relevant.shape[1] + 1)
    count = len(shares)
    errors = shares.std(0) / count**0.5 if count > 1 else torch.full_like(shares[0], torch.nan)
    return Precision(shares.mean(0), errors)


# The search.


class _Room:
    """What one query needs for N entries: a word and a flag for each."""

    def __init__(self, size: int) -> None:
        self.words, self.flags = np.empty(size, np.uint64), np.empty(size, np.bool_)


def _counts(words: int) -> Any:
    """The smallest type that holds 64 bits for each word."""
    return np.min_scalar_type(64 * words)


def _distances(query: np.ndarray, columns: np.ndarray, out: np.ndarray, room: _Room) -> None:
    """How many bits of a query (W,) differ from each entry of columns (W, N), into `out` (N,)."""
    out[:] = 0
    for word, column in zip(query, columns, strict=True):
        np.bitwise_xor(column, word, out=room.words)
        out += _ones(room.words)


def _ones(words: np.ndarray) -> np.ndarray:
    """How many bits of each word (N,) are one."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words)
    return _ONES[words.view(np.uint16)].reshape(-1, 4).sum(1, dtype=np.uint8)


_ONES = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1, dtype=np.uint8)


def _smallest(values: np.ndarray, count: int, most: int, room: _Room) -> np.ndarray:
    """Where the `count` smallest of values from 0 to `most` are, in order, ties by their place.

    Bisection finds the largest of them: to count what is below costs less than to sort, or even to divide, so many.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        enough = np.count_nonzero(np.less_equal(values, middle, out=room.flags)) >= count
        low, high = (low, middle) if enough else (middle + 1, high)
    places = np.flatnonzero(np.less_equal(values, low, out=room.flags))
    found = values[places]
    inside, edge = places[found < low], places[found == low]
    inside = inside[np.argsort(values[inside], kind="stable")]
    return np.concatenate([inside, edge[: count - len(inside)]])


# The doors.


def _words(argument: str, words: Any) -> np.ndarray:
    if not isinstance(words, Tensor) or words.dtype != torch.int64 or words.dim() != 2 or words.numel() == 0:
        raise DataError(argument, "packed codes, (N, W) int64", _in_words(words), "pack(codes) makes them")
    return words.detach().cpu().numpy().view(np.uint64)


def _number(argument: str, k: Any, most: int) -> int:
    count = checks.positive_int(argument, k)
    if count > most:
        raise ArgumentError(argument, f"at most {most}, the size of the database", count)
    return count


def _rows(argument: str, data: Any) -> np.ndarray:
    x = data.tensor if isinstance(data, Dataset) else torch.as_tensor(data) if isinstance(data, np.ndarray) else data
    if not isinstance(x, Tensor) or x.dim() < 2 or x.numel() == 0:
        raise DataError(argument, "a data set, or a tensor or an array (N, D)", _in_words(x))
    return checks.finite(argument, x.flatten(1)).detach().cpu().numpy()


def _indices(argument: str, indices: Any) -> Tensor:
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.dim() != 2 or not indices.numel():
        got = (
            f"{indices.dtype}, shape {tuple(indices.shape)}" if isinstance(indices, Tensor) else type(indices).__name__
        )
        raise DataError(argument, "indices (Q, k) int64, as in Neighbours.indices", got)
    if int(indices.min()) < 0:
        raise DataError(argument, "indices of at least 0", int(indices.min()))
    return indices.detach().cpu()


def _in_words(x: Any) -> str:
    return f"{x.dtype}, shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
