"""Everything that a user may call data, and what is refused before any work is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import probae as pb
from probae.engine.batches import Batch, Batches, Resident, Stream
from probae.engine.sources import batches
from probae.errors import ArgumentError, DataError
from tests.engine import pairs

CPU = torch.device("cpu")
X = torch.arange(11.0)[:, None] * torch.ones(3)
Y = torch.arange(11)


def source(data: Any, batch_size: int | None = 4, seed: int | None = 0, dtype: torch.dtype | None = None) -> Batches:
    return batches("data", data, batch_size=batch_size, seed=seed, device=CPU, dtype=dtype)


def sizes(found: Batches) -> list[int]:
    return [batch.num_examples for batch in found.epoch(0)]


def examples(found: Batches, number: int = 0) -> list[int]:
    """Which rows of X came, in order."""
    return [int(row[0]) for batch in found.epoch(number) for row in next(iter((*batch.args, *batch.kwargs.values())))]


class Squares(TorchDataset[Tensor]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[index], index


class Endless(IterableDataset[Tensor]):
    """Examples without a length."""

    def __init__(self, count: int = len(X)) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        return iter(X[: self.count])


class Sized(Endless):
    def __len__(self) -> int:
        return self.count


class Reader:
    """An iterable of batches without a length."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(X.split(4))


KINDS: dict[str, Any] = {
    "dataset": pb.data.Dataset(X),
    "tensor": X,
    "array": X.numpy(),
    "pair": (X, Y),
    "mapping": {"x": X, "y": Y},
    "tensor dataset": TensorDataset(X, Y),
    "torch dataset": Squares(),
    "iterable dataset": Endless(),
    "sized iterable dataset": Sized(),
    "loader": DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True),
    "loader over an iterable": DataLoader(Sized(), batch_size=4),
    "list": list(X.split(4)),
    "list of pairs": list(zip(X.split(4), Y.split(4), strict=True)),
    "list of mappings": [{"x": x} for x in X.split(4)],
    "list of arrays": [x.numpy() for x in X.split(4)],
    "reader": Reader(),
}
UNSIZED = {"iterable dataset", "reader"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_each_example_once_an_epoch(kind: str) -> None:
    found = source(KINDS[kind])
    assert sizes(found) == [4, 4, 3]
    assert sorted(examples(found)) == list(range(11))
    assert found.steps == (None if kind in UNSIZED else 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_continues_in_the_middle(kind: str) -> None:
    found = source(KINDS[kind])
    torch.manual_seed(1)
    whole = [batch.num_examples for batch in found.epoch(2)], examples(found, 2)
    for start in range(4):
        torch.manual_seed(1)
        rest = list(found.epoch(2, start))
        assert [batch.num_examples for batch in rest] == whole[0][start:]


@pytest.mark.parametrize("kind", ["dataset", "tensor", "array", "pair", "mapping", "tensor dataset", "torch dataset"])
def test_whole_data(kind: str) -> None:
    for batch_size in (None, 11, 100):
        found = source(KINDS[kind], batch_size)
        assert sizes(found) == [11]
        assert found.steps == 1
    assert sizes(source(KINDS[kind], 1)) == [1] * 11
    assert examples(source(KINDS[kind], None)) == list(range(11)) or kind == "torch dataset"


@pytest.mark.parametrize("kind", ["dataset", "tensor", "pair", "mapping"])
def test_shuffling(kind: str) -> None:
    first = source(KINDS[kind])
    orders = [examples(first, number) for number in range(4)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len(set(map(tuple, orders))) == 4, "another order each epoch"
    assert [examples(source(KINDS[kind]), number) for number in range(4)] == orders, "a function of the seed"
    assert examples(source(KINDS[kind], seed=1)) != orders[0]
    assert examples(source(KINDS[kind], seed=None)) == examples(source(KINDS[kind], seed=None), 3) == list(range(11))


def test_shuffling_leaves_the_generators_alone() -> None:
    for kind in ("dataset", "tensor", "pair", "mapping", "tensor dataset", "list", "reader"):
        before = torch.get_rng_state()
        examples(source(KINDS[kind]))
        assert torch.equal(torch.get_rng_state(), before), kind


def test_a_default_device_changes_nothing() -> None:
    for kind in ("dataset", "tensor", "mapping"):
        for seed in (0, None):
            with torch.device("meta"):
                found = [batch for number in range(2) for batch in source(KINDS[kind], seed=seed).epoch(number)]
            assert all(x.device == CPU for batch in found for x in (*batch.args, *batch.kwargs.values()))


def test_looking_at_a_loader_draws_nothing() -> None:
    before = torch.get_rng_state()
    source(KINDS["loader"])
    source(Squares())
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_of_pairs_stay_together() -> None:
    for kind in ("pair", "mapping", "torch dataset", "loader"):
        for batch in source(KINDS[kind]).epoch(0):
            x, y = (*batch.args, *batch.kwargs.values())
            assert torch.equal(x[:, 0].long(), y)


@given(size=st.integers(1, 40), batch_size=st.none() | st.integers(1, 50), start=st.integers(0, 45))
def test_batches_partition_the_data(size: int, batch_size: int | None, start: int) -> None:
    found = Resident((torch.arange(size),), batch_size, 3, CPU)
    whole = [batch.args[0] for batch in found.epoch(1)]
    assert len(whole) == found.steps
    assert torch.cat(whole).sort().values.tolist() == list(range(size))
    assert {len(part) for part in whole[:-1]} <= {min(batch_size or size, size)}
    rest = [batch.args[0].tolist() for batch in found.epoch(1, start)]
    assert rest == [part.tolist() for part in whole[start:]]


def test_how_a_batch_reaches_the_model() -> None:
    for kind, args, keys in (("pair", 2, set()), ("mapping", 0, {"x", "y"}), ("tensor", 1, set()), ("list", 1, set())):
        batch = next(source(KINDS[kind]).epoch(0))
        assert (len(batch.args), set(batch.kwargs)) == (args, keys), kind


def test_an_example_count_ignores_what_is_no_tensor() -> None:
    assert Batch(("label", torch.tensor(1.0), X[:5]), {}).num_examples == 5
    assert Batch((), {}).num_examples == 1


def test_dynamic_data_is_drawn_anew_and_continues_with_the_generator() -> None:
    rates = torch.full((11, 3), 0.5)
    data = pb.data.Dataset(rates=rates)
    for batch_size in (4, None):
        found = source(data, batch_size)
        torch.manual_seed(0)
        first, second = [[batch.args[0] for batch in found.epoch(0)] for _ in range(2)]
        assert not torch.equal(torch.cat(first), torch.cat(second))
        torch.manual_seed(0)
        again = found.epoch(0)
        for part in first[:1]:
            assert torch.equal(next(again).args[0], part)
        if batch_size:
            rest = found.epoch(0, 1)  # begins without drawing what it leaves out
            assert torch.equal(next(rest).args[0], first[1])


def test_dtypes() -> None:
    mixed = {"x": X, "y": Y, "b": Y > 3, "n": np.arange(11.0), "h": np.arange(11, dtype=np.float32)}
    (plain,) = source(mixed, None).epoch(0)
    assert [value.dtype for value in plain.kwargs.values()] == [
        torch.float32, torch.int64, torch.bool, torch.float32, torch.float32,
    ]  # fmt: skip
    (double,) = source(mixed, None, dtype=torch.float64).epoch(0)
    assert [value.dtype for value in double.kwargs.values()] == [
        torch.float64, torch.int64, torch.bool, torch.float64, torch.float64,
    ]  # fmt: skip
    (ours,) = source(pb.data.Dataset(X), None, dtype=torch.float64).epoch(0)
    streamed = next(source([(X, np.arange(11.0), Y)], dtype=torch.float64).epoch(0))
    assert [x.dtype for x in (*ours.args, *streamed.args)] == [torch.float64, torch.float64, torch.float64, torch.int64]
    assert next(source([np.arange(3.0)]).epoch(0)).args[0].dtype == torch.float32


def test_awkward_arrays() -> None:
    """Reversed, read-only, of the other byte order, or half of a column: all without a warning."""
    array = np.arange(12.0).reshape(6, 2)
    frozen = array.copy()
    frozen.flags.writeable = False
    for given_ in (array[::-1], frozen, array[:, ::-1], np.asfortranarray(array)):
        (batch,) = source(given_, None).epoch(0)
        assert np.array_equal(batch.args[0].numpy(), given_)
    with pytest.raises(DataError, match=r"^data: expected an array of numbers"):
        source(array.astype(">f8"))


def test_a_data_frame_is_an_array() -> None:
    class Frame:
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            return X.numpy()

    assert examples(source(Frame())) == examples(source(X))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(0, 3), "data: expected at least one example"),
        (torch.tensor(1.0), "data: expected at least one example"),
        (X.clone().index_fill_(0, torch.tensor([3]), torch.nan), "data: expected finite values; got 3 of 33"),
        (X.clone().index_fill_(0, torch.tensor([3]), torch.inf), "data: expected finite values"),
        (np.full((4, 2), np.nan), "data: expected finite values; got 8 of 8"),
        ((X, Y[:5]), r"data: expected tensors of equal length; got lengths \[11, 5\]"),
        ({"x": X, "y": Y[:5]}, "data: expected tensors of equal length"),
        ({"x": X, "y": X / 0}, r"data\['y'\]: expected finite values"),
        ((X, X[:0]), r"data\[1\]: expected at least one example"),
        ((X, None), r"data\[1\]: expected a tensor or an array; got a NoneType"),
        ((X, [1, 2]), r"data\[1\]: expected a tensor or an array; got a list"),
        ((), "data: expected tensors of equal length; got none at all"),
        ({}, "data: expected tensors of equal length; got none at all"),
        ([], "data: expected at least one example; got none"),
        (TensorDataset(X[:0]), "data: expected at least one example"),
        (DataLoader(TensorDataset(X[:0]), batch_size=4), "data: expected at least one example"),
        (iter([X]), "data: expected an iterable that can be read in each epoch; got an iterator"),
        ((x for x in [X]), "data: expected an iterable .* an iterator"),
        (np.array(["a", "b"]), "data: expected an array of numbers"),
        (np.array([None, 1], dtype=object), "data: expected an array of numbers"),
        ("digits", "data: expected a data set, a tensor, .*; got 'digits'"),
        (None, "data: expected a data set, a tensor, .*; got None"),
        (3, "data: expected a data set, a tensor, .*; got 3"),
    ],
)
def test_what_is_no_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        source(data)


def test_errors_of_validation_data_name_it() -> None:
    with pytest.raises(DataError, match=r"^valid: expected finite values"):
        pb.fit(*pairs.params(), pairs.data(), valid=pairs.data() / 0)
    with pytest.raises(DataError, match=r"^valid\[1\]: expected a tensor"):
        pb.fit(*pairs.params(), pairs.data(), valid=(X, "no"))


class Broken(TorchDataset[Tensor]):
    """A map-style data set without a length."""

    def __getitem__(self, index: int) -> Tensor:
        return X[index]


def test_a_torch_dataset_without_a_length() -> None:
    with pytest.raises(DataError, match="a torch Dataset with a length; got a Broken"):
        source(Broken())


class Once:
    """An iterable that hides an iterator."""

    def __init__(self, items: list[Tensor]) -> None:
        self.items = iter(items)

    def __iter__(self) -> Iterator[Tensor]:
        return self.items


@pytest.mark.parametrize(("count", "message"), [(0, "at least one batch; got none"), (1, "got no batches the second")])
def test_an_iterable_that_runs_dry(count: int, message: str) -> None:
    with pytest.raises(DataError, match=f"^data: expected .*{message}"):
        pb.fit(*pairs.params(), Once([pairs.data()] * count), epochs=2)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "all"])
def test_batch_size(batch_size: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^batch_size: expected a positive integer"):
        pb.fit(*pairs.params(), pairs.data(), batch_size=batch_size)


def test_a_stream_moves_only_tensors() -> None:
    (batch,) = Stream([("name", [X, {"y": Y}])], CPU, None).epoch(0)
    assert batch.args[0] == "name"
    assert batch.args[1][1]["y"] is Y


@pytest.mark.parametrize("numbers", [[[0.0, 1.0]], [1, 2], [[[1]]]])
def test_lists_of_numbers_are_no_batches(numbers: list[Any]) -> None:
    with pytest.raises(DataError, match=r"^data: expected a tensor or an array of the numbers; got a list of them"):
        pb.VAE(2, 1, 2).fit(numbers)
