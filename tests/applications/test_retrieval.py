"""Search is exact, ties and odd lengths included; precision is what counting by hand gives."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import probae as pb
from probae.applications import retrieval
from probae.errors import ArgumentError, DataError


def codes(seed: int, count: int, length: int, rate: float = 0.5) -> Tensor:
    return torch.rand(count, length, generator=torch.Generator().manual_seed(seed)) < rate


def brute(queries: Tensor, database: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All distances, and a stable sort of them: ties come in the order of their indices."""
    distances, indices = (queries[:, None] != database).sum(-1).sort(dim=1, stable=True)
    return indices[:, :k], distances[:, :k]


def assert_exact(queries: Tensor, database: Tensor, k: int) -> None:
    found = retrieval.hamming_search(retrieval.pack(queries), retrieval.pack(database), k)
    indices, distances = brute(queries, database, k)
    assert torch.equal(found.indices, indices)
    assert torch.equal(found.distances, distances)


@given(
    seed=st.integers(0, 999),
    queries=st.integers(1, 5),
    size=st.integers(1, 200),
    length=st.integers(1, 150),
    rate=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    data=st.data(),
)
def test_search_is_brute_force(seed: int, queries: int, size: int, length: int, rate: float, data: Any) -> None:
    k = data.draw(st.integers(1, size))
    assert_exact(codes(seed, queries, length, rate), codes(seed + 1, size, length, rate), k)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64, 65, 128, 192, 255, 256, 257, 1100])
@pytest.mark.parametrize("counting", ["bitwise_count", "table"])
def test_any_length_of_codes(length: int, counting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The farthest are complements: as many bits as there are, which must not overflow."""
    if counting == "table":
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    database = codes(0, 50, length)
    queries = torch.cat([database[:3], ~database[:3]])
    assert_exact(queries, database, 50)
    found = retrieval.hamming_search(retrieval.pack(queries), retrieval.pack(database), 50)
    assert found.distances.max() == length


def test_ties_come_by_their_index() -> None:
    words = retrieval.pack(torch.tensor([[1, 0], [0, 1], [0, 0], [1, 0], [1, 1]]).bool())
    found = retrieval.hamming_search(words[:1], words, 4)
    assert found.indices.tolist() == [[0, 3, 2, 4]]
    assert found.distances.tolist() == [[0, 0, 1, 1]]


def test_packed_bits_are_where_they_should_be() -> None:
    bits = torch.zeros(3, 70, dtype=torch.bool)
    bits[0, 0] = bits[1, 5] = bits[1, 69] = bits[2, 63] = True
    assert retrieval.pack(bits).tolist() == [[1, 0], [32, 32], [-(2**63), 0]]
    assert torch.equal(retrieval.pack(bits.numpy()), retrieval.pack(bits))


def test_memory_does_not_grow_with_the_product() -> None:
    """Distances of all pairs would take 12 MB in bytes, and 96 MB in words."""
    queries, database = retrieval.pack(codes(0, 600, 40)), retrieval.pack(codes(1, 20_000, 40))
    tracemalloc.start()
    try:
        retrieval.hamming_search(queries, database, 5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_200_000


def test_euclidean_neighbours_are_the_nearest() -> None:
    x, y = torch.randn(7, 2, 3, dtype=torch.float64), torch.randn(40, 2, 3, dtype=torch.float64)
    found = retrieval.euclidean_search(x, y.numpy(), 6)
    distances, indices = torch.cdist(x.flatten(1), y.flatten(1)).topk(6, largest=False)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances)


def test_retrieval_packs_the_models_codes() -> None:
    class Half:
        def binary_codes(self, x: Tensor) -> Tensor:
            return x > 0.5

    x, y = torch.rand(5, 33), torch.rand(60, 33)
    found = retrieval.retrieve(Half(), x, y, k=7)
    assert torch.equal(found.indices, brute(x > 0.5, y > 0.5, 7)[0])


def test_precision_by_hand() -> None:
    relevant = torch.tensor([[True, False, True], [False, False, True]])
    found = retrieval.precision_at_k(relevant)
    torch.testing.assert_close(found.values, torch.tensor([1 / 2, 1 / 4, 1 / 2], dtype=torch.float64))
    torch.testing.assert_close(found.stderr, torch.tensor([1 / 2, 1 / 4, 1 / 6], dtype=torch.float64))
    assert repr(found) == "precision 0.500 ± 0.5 at 1, 0.500 ± 0.17 at 3"
    assert retrieval.precision_at_k(relevant[:1]).stderr.isnan().all()


def test_labels_that_are_unknown_are_like_no_other() -> None:
    retrieved = torch.tensor([[0, 1, 2], [2, 1, 0], [0, 1, 2]])
    found = retrieval.same_label(retrieved, torch.tensor([4, 5, -1]), torch.tensor([4, 5, -1]))
    assert found.tolist() == [[True, False, False], [False, True, False], [False, False, False]]


@given(seed=st.integers(0, 999), m=st.integers(1, 12), k=st.integers(1, 12))
def test_among_looks_at_the_same_querys_neighbours(seed: int, m: int, k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.stack([torch.randperm(15, generator=generator)[:n] for _ in range(4)]) for n in (k, m))
    assert torch.equal(retrieval.among(one, other), (one[:, :, None] == other[:, None]).any(-1))


WORDS, LABELS = torch.zeros(4, 1, dtype=torch.int64), torch.arange(4)
INDICES = torch.zeros(2, 3, dtype=torch.int64)
PLANE, SPACE = torch.rand(2, 2), torch.rand(2, 3)

WRONG: dict[str, tuple[str, Callable[[], Any]]] = {
    "more than there are": ("k: expected at most 4", lambda: retrieval.hamming_search(WORDS, WORDS, 5)),
    "none": ("k: expected a positive integer", lambda: retrieval.hamming_search(WORDS, WORDS, 0)),
    "unpacked": ("queries: expected packed", lambda: retrieval.hamming_search(WORDS.bool(), WORDS, 1)),
    "an empty database": ("database: expected packed", lambda: retrieval.hamming_search(WORDS, WORDS[:0], 1)),
    "other lengths": ("queries: expected codes of 1", lambda: retrieval.hamming_search(WORDS.repeat(1, 2), WORDS, 1)),
    "floats": ("codes: expected booleans", lambda: retrieval.pack(torch.rand(3, 4))),
    "no bits": ("codes: expected booleans", lambda: retrieval.pack(torch.zeros(3, 0, dtype=torch.bool))),
    "a model without": ("model: expected one with a method", lambda: retrieval.retrieve(pb.RBM(4, 2), WORDS, WORDS)),
    "other widths": ("queries: expected examples of 3", lambda: retrieval.euclidean_search(PLANE, SPACE, 1)),
    "too many near": ("k: expected at most 2", lambda: retrieval.euclidean_search(SPACE, SPACE, 3)),
    "NaN": ("queries: expected finite", lambda: retrieval.euclidean_search(SPACE / 0, SPACE, 1)),
    "labels": ("query_labels: expected 2 integers", lambda: retrieval.same_label(INDICES, LABELS, LABELS)),
    "beyond": ("retrieved: expected indices below 4", lambda: retrieval.same_label(INDICES + 4, LABELS[:2], LABELS)),
    "negative": ("retrieved: expected indices of at least 0", lambda: retrieval.among(INDICES - 1, INDICES)),
    "other queries": ("neighbours: expected those of 2", lambda: retrieval.among(INDICES, INDICES[:1])),
    "no booleans": ("relevant: expected booleans", lambda: retrieval.precision_at_k(torch.rand(2, 3))),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_named(case: str) -> None:
    message, call = WRONG[case]
    with pytest.raises((ArgumentError, DataError), match=f"^{message}"):
        call()
