"""Laws of a data set: what it keeps, what it draws, what it refuses."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probae.data import Dataset, Protocol
from probae.errors import ArgumentError, DataError

PROTOCOL = Protocol("coins", "train", "dynamic", seed=3)
FALSE_ALARM = 1e-7


def coins(size: int = 12, *, dynamic: bool = True) -> Dataset:
    rates = torch.linspace(0, 1, size * 6).reshape(size, 1, 2, 3)
    protocol = PROTOCOL if dynamic else Protocol("coins", "test", "none")
    labels = torch.arange(size)
    return Dataset(rates=rates, labels=labels, protocol=protocol) if dynamic else Dataset(rates, labels, None, protocol)


def bernstein(rates: torch.Tensor) -> float:
    """How far a sum of Bernoulli(rates) strays from its mean with probability FALSE_ALARM at most."""
    log, variance = math.log(2 / FALSE_ALARM), float((rates * (1 - rates)).double().sum())
    return log / 3 + math.sqrt((log / 3) ** 2 + 2 * variance * log)


@st.composite
def selections(draw: st.DrawFn, size: int = 12) -> Any:
    """Slices, indices and masks, as every type that is accepted; never empty."""
    end = st.none() | st.integers(-size - 2, size + 2)
    a_slice = st.builds(slice, end, end, st.none() | st.integers(-4, 4).filter(bool)).filter(lambda s: range(size)[s])
    indices = st.lists(st.integers(-size, size - 1), min_size=1, max_size=20)
    mask = st.lists(st.booleans(), min_size=size, max_size=size).filter(any)
    chosen = draw(a_slice | indices | mask)
    return chosen if isinstance(chosen, slice) else draw(st.sampled_from([list, np.array, torch.tensor]))(chosen)


@pytest.mark.parametrize("dynamic", [True, False])
@given(index=selections())
@settings(deadline=None, max_examples=60)
def test_a_selection_keeps_protocol_rates_and_draw(dynamic: bool, index: Any) -> None:
    data = coins(dynamic=dynamic)
    kept = torch.from_numpy(np.arange(12)[index].copy())
    part = data[index]
    assert (part.protocol, part.data_shape, part.resamples) == (data.protocol, (1, 2, 3), dynamic)
    assert torch.equal(part.tensor, data.tensor[kept])
    assert part.labels is not None
    assert torch.equal(part.labels, kept)
    assert len(part) == len(kept)
    if dynamic:
        assert part.rates is not None
        assert data.rates is not None
        assert torch.equal(part.rates, data.rates[kept])


@given(outer=selections(), start=st.integers(0, 30))
@settings(deadline=None, max_examples=30)
def test_batches_of_fixed_data_are_its_rows(outer: Any, start: int) -> None:
    part = coins(dynamic=False)[outer]
    indices = torch.arange(start, start + 7) % len(part)
    assert torch.equal(part.batch(indices), part.tensor[indices])


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3), (5, 1, 2, 3)])
def test_any_shape_of_the_data_becomes_rows(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    data = Dataset(x)
    assert data.tensor.shape == (5, 6)
    assert data.data_shape == shape[1:]
    assert torch.equal(Dataset(data.tensor, data_shape=(3, 2)).tensor, x.reshape(5, 6))
    assert data.protocol == Protocol()
    assert data.labels is None
    assert data.rates is None


def test_numpy_and_booleans_become_float32() -> None:
    x = np.random.default_rng(0).random((4, 3))
    assert torch.equal(Dataset(x[::-1]).tensor, torch.tensor(x[::-1].copy(), dtype=torch.float32))
    for bits in (x > 0.5, torch.tensor(x > 0.5)):
        data = Dataset(bits, np.arange(4, dtype=np.uint8))
        assert data.dtype == torch.float32
        assert data.tensor.tolist() == (x > 0.5).astype(float).tolist()
        assert data.labels is not None
        assert data.labels.dtype == torch.int64
    assert Dataset(torch.rand(4, 3).double()).dtype == torch.float64


def test_the_first_draw_is_the_seeds_and_moves_no_generator() -> None:
    before = torch.get_rng_state()
    first, again = coins().tensor, coins().tensor
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    other = Dataset(rates=torch.full((50, 20), 0.5), protocol=Protocol("coins", "train", "dynamic", seed=4))
    same_rates = Dataset(rates=torch.full((50, 20), 0.5), protocol=PROTOCOL)
    assert not torch.equal(other.tensor, same_rates.tensor)


def test_redraw_and_batch_follow_the_global_generator() -> None:
    data, everything = coins(400), torch.arange(400)
    before = data.tensor
    draws = []
    for _ in range(2):
        torch.manual_seed(0)
        data.redraw()
        draws.append((data.tensor, data.batch(everything), data.batch(everything)))
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    current, one, two = draws[0]
    assert not torch.equal(before, current)
    assert not torch.equal(current, one)
    assert not torch.equal(one, two)


def test_fixed_data_is_never_drawn_anew() -> None:
    data = Dataset((torch.rand(50, 8) > 0.5).float(), protocol=Protocol("coins", "valid", "dynamic", seed=0))
    before, state = data.tensor.clone(), torch.get_rng_state()
    data.redraw()
    assert not data.resamples
    assert torch.equal(data.tensor, before)
    assert torch.equal(data.batch(torch.arange(50)), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_way_of_drawing_has_the_rates_as_its_mean() -> None:
    """Bernstein's bound on each of ten sums, 10 * FALSE_ALARM <= 1e-6 in all; never met, since the seed is fixed."""
    torch.manual_seed(1)
    data = Dataset(rates=torch.linspace(0, 1, 20).expand(2000, 20), protocol=PROTOCOL)
    first = data.tensor
    data.redraw()
    draws = [first, data.tensor, data.batch(torch.arange(2000)), data[::2].batch(torch.arange(1000)), data[:7].tensor]
    for half in (slice(0, 10), slice(10, 20)):
        for draw in draws:
            rates = torch.linspace(0, 1, 20)[half].expand(len(draw), 10)
            assert set(draw.unique().tolist()) == {0.0, 1.0}
            assert abs(float((draw[:, half] - rates).double().sum())) <= bernstein(rates)


def test_to_changes_what_is_drawn_but_not_the_rates() -> None:
    data = coins()
    moved = data.to("cpu", torch.float64)
    assert moved.dtype == moved.batch(torch.tensor([0, 1])).dtype == moved.tensor.dtype == torch.float64
    assert torch.equal(moved.tensor, data.tensor.double())
    assert data.dtype == torch.float32
    assert moved.rates is not None
    assert moved.rates.dtype == torch.float32
    fixed = coins(dynamic=False).to(dtype=torch.bfloat16)
    assert fixed.tensor.dtype == fixed.dtype == torch.bfloat16
    assert fixed.labels is not None
    assert fixed.labels.dtype == torch.int64
    away = coins().to("meta")
    assert away.device.type == away.batch(torch.arange(3, device="meta")).device.type == "meta"
    assert away.labels is not None
    assert away.labels.device.type == "meta"


def test_a_copy_draws_for_itself() -> None:
    data = coins(400)
    part, twin, before = data[:200], copy.deepcopy(data), data.tensor.clone()
    twin.redraw()
    part.redraw()
    assert torch.equal(data.tensor, before)


def test_gradients_do_not_enter() -> None:
    assert not Dataset(torch.rand(3, 2, requires_grad=True)).tensor.requires_grad


def sequences() -> Dataset:
    """Four sequences of three steps of two values, of which 3, 2, 1 and 1 are data."""
    return Dataset(
        ENDED, np.array([0, 1, -1, 1]), protocol=Protocol("steps", "train", "none"),
        lengths=torch.tensor([3, 2, 1, 1]), factors=np.arange(8.0).reshape(4, 2),
        true_log_prob=np.log([0.1, 0.2, 0.3, 0.4]),
    )  # fmt: skip


@given(index=selections(4))
@settings(deadline=None, max_examples=30)
def test_what_is_known_of_the_examples_goes_where_they_go(index: Any) -> None:
    data, kept = sequences(), torch.from_numpy(np.arange(4)[index].copy())
    for part in (data[index], data[index].to(dtype=torch.float64)):
        for name in ("labels", "lengths", "factors", "true_log_prob"):
            before, after = getattr(data, name), getattr(part, name)
            assert torch.equal(after, before[kept])
            assert after.dtype == before.dtype
    assert data.to("meta").lengths.device.type == "meta"  # pyright: ignore[reportOptionalMemberAccess]


def test_what_is_known_has_its_own_dtype() -> None:
    data = sequences()
    known = (data.labels, data.lengths, data.factors, data.true_log_prob)
    assert [x.dtype for x in known if x is not None] == [torch.int64, torch.int64, torch.float32, torch.float64]
    assert Dataset(GOOD).lengths is Dataset(GOOD).factors is Dataset(GOOD).true_log_prob is None
    assert "with labels, lengths, factors, true_log_prob, float32" in repr(data)


@pytest.mark.parametrize("index", [0, 7, 11, -1, -12, np.int64(3)])
def test_an_integer_gives_one_example_and_its_label(index: Any) -> None:
    data = coins(dynamic=False)
    x, label = data[index]
    assert torch.equal(x, data.tensor[index])
    assert label == torch.arange(12)[index]
    (alone,) = Dataset(data.tensor)[index]
    assert torch.equal(alone, x)


def test_an_example_of_a_sequence_brings_its_length_by_name() -> None:
    item = sequences()[1]
    assert {name: value.tolist() for name, value in item.items()} == {"x": [1, 1, 1, 1, 0, 0], "y": 1, "lengths": 2}
    assert set(Dataset(ENDED, lengths=torch.tensor([3, 2, 1, 1]))[0]) == {"x", "lengths"}


def test_iterating_gives_each_example_once() -> None:
    data = coins(dynamic=False)
    assert torch.equal(torch.stack([x for x, _ in data]), data.tensor)
    assert [int(y) for _, y in data] == list(range(12))


def test_single_examples_are_drawn_anew() -> None:
    data = Dataset(rates=torch.full((2, 64), 0.5))
    assert not torch.equal(data[0][0], data[0][0]), "equal with probability 2^-64"


def test_repr_names_protocol_and_size() -> None:
    wanted = "Dataset(coins/train, dynamic binarization (seed 3): 12 examples of shape (1, 2, 3) with labels, "
    assert repr(coins()) == wanted + "float32 on cpu)"
    assert "1 example of" in repr(coins()[:1])
    data = coins()
    repr(data)
    assert data._draw is None, "a repr must not draw"


GOOD = torch.rand(4, 6)
ENDED = torch.ones(4, 3, 2) * (torch.arange(3)[:, None] < torch.tensor([3, 2, 1, 1])[:, None, None])
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a list": ({"tensor": [[1.0]]}, "tensor"),
    "one dimension": ({"tensor": torch.rand(4)}, "tensor"),
    "no examples": ({"tensor": torch.rand(0, 6)}, "tensor"),
    "no values": ({"tensor": torch.rand(4, 0)}, "tensor"),
    "NaN": ({"tensor": torch.full((4, 6), torch.nan)}, "tensor"),
    "bytes": ({"tensor": torch.zeros(4, 6, dtype=torch.uint8)}, "tensor"),
    "an integer array": ({"tensor": np.zeros((4, 6), int)}, "tensor"),
    "an array of strings": ({"tensor": np.array([["a"]])}, "tensor"),
    "another data shape": ({"tensor": GOOD, "data_shape": (2, 2)}, "tensor"),
    "no data shape": ({"tensor": GOOD, "data_shape": ()}, "data_shape"),
    "no data": ({}, "tensor"),
    "fewer labels": ({"tensor": GOOD, "labels": torch.zeros(3, dtype=torch.long)}, "labels"),
    "one-hot labels": ({"tensor": GOOD, "labels": torch.zeros(4, 10, dtype=torch.long)}, "labels"),
    "real labels": ({"tensor": GOOD, "labels": torch.zeros(4)}, "labels"),
    "an array of real labels": ({"tensor": GOOD, "labels": np.zeros(4)}, "labels"),
    "a list of labels": ({"tensor": GOOD, "labels": [0, 1, 2, 3]}, "labels"),
    "labels below -1": ({"tensor": GOOD, "labels": torch.tensor([0, 1, -1, -2])}, "labels"),
    "a length of zero": ({"tensor": ENDED, "lengths": torch.tensor([3, 2, 1, 0])}, "lengths"),
    "a length beyond the data": ({"tensor": ENDED, "lengths": torch.tensor([3, 2, 1, 4])}, "lengths"),
    "real lengths": ({"tensor": ENDED, "lengths": torch.ones(4)}, "lengths"),
    "values after the end": ({"tensor": ENDED, "lengths": torch.tensor([2, 2, 1, 1])}, "lengths"),
    "rates after the end": ({"rates": ENDED, "lengths": np.array([3, 1, 1, 1])}, "lengths"),
    "fewer factors": ({"tensor": GOOD, "factors": torch.zeros(3, 2)}, "factors"),
    "one factor without its dimension": ({"tensor": GOOD, "factors": torch.zeros(4)}, "factors"),
    "integers for factors": ({"tensor": GOOD, "factors": torch.zeros(4, 2).long()}, "factors"),
    "fewer true values": ({"tensor": GOOD, "true_log_prob": torch.zeros(3)}, "true_log_prob"),
    "a true value of minus infinity": ({"tensor": GOOD, "true_log_prob": -torch.ones(4) / 0}, "true_log_prob"),
    "a list of true values": ({"tensor": GOOD, "true_log_prob": [0.0] * 4}, "true_log_prob"),
    "rates above one": ({"rates": GOOD + 1}, "rates"),
    "negative rates": ({"tensor": GOOD, "rates": GOOD - 1}, "rates"),
    "NaN among the rates": ({"rates": torch.full((4, 6), torch.nan)}, "rates"),
    "fewer rates": ({"tensor": GOOD, "rates": GOOD[:3]}, "rates"),
    "bytes for rates": ({"rates": torch.zeros(4, 6, dtype=torch.uint8)}, "rates"),
    "a protocol's name": ({"tensor": GOOD, "protocol": "digits"}, "protocol"),
    "rates of fixed bits": ({"rates": GOOD, "protocol": Protocol("a", "train", "stochastic")}, "protocol"),
}


@pytest.mark.parametrize(("arguments", "named"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^{named}: expected") as caught:
        Dataset(**arguments)
    assert caught.value.argument == named
    assert isinstance(caught.value, DataError) or named in ("data_shape", "protocol") or not arguments


BAD_INDICES = {
    "an integer out of range": 12, "one below the range": -13, "a 0-d tensor": torch.tensor(3), "a boolean": True,
    "nothing": slice(5, 5), "step zero": slice(0, 5, 0), "reals in a slice": slice(0.5, 2), "out of range": [12],
    "below the range": [-13], "an empty list": [], "a short mask": torch.ones(3, dtype=torch.bool),
    "an empty mask": torch.zeros(12, dtype=torch.bool), "two dimensions": torch.zeros(2, 2, dtype=torch.long),
    "reals": torch.zeros(2), "a tuple": (1, 2), "bytes": torch.zeros(12, dtype=torch.uint8), "None": None,
    "a string": "train", "strings": ["a"],
}  # fmt: skip


@pytest.mark.parametrize("index", BAD_INDICES.values(), ids=BAD_INDICES)
def test_bad_indices_are_refused(index: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^index: expected"):
        coins()[index]


@pytest.mark.parametrize("indices", [torch.tensor(0), torch.zeros(2), torch.ones(12).bool(), [0], torch.tensor([12])])
def test_bad_batches_are_refused(indices: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^indices: expected"):
        coins().batch(indices)


@pytest.mark.parametrize(("arguments", "named"), [({"device": "gpux"}, "device"), ({"dtype": torch.int64}, "dtype")])
def test_bad_moves_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{named}: expected"):
        coins().to(**arguments)
