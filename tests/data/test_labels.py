"""Laws of few labels: as even as can be, nested, and drawn by nobody else's generator."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probae.data import Dataset, load
from probae.errors import ArgumentError, DataError

LABELS = st.lists(st.integers(-1, 4), min_size=1, max_size=40)


def labelled(labels: list[int]) -> Dataset:
    return Dataset(torch.zeros(len(labels), 1), torch.tensor(labels))


def kept(data: Dataset, count: int, seed: int = 0) -> torch.Tensor:
    labels = data.keep_labels(count, seed=seed).labels
    assert labels is not None
    return labels


@given(labels=LABELS, share=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_as_many_as_asked_as_even_as_can_be(labels: list[int], share: float, seed: int) -> None:
    data, known = labelled(labels), torch.tensor(labels)
    count = round(share * int((known >= 0).sum()))
    few = kept(data, count, seed)
    assert int((few >= 0).sum()) == count
    assert ((few == known) | (few == -1)).all()
    sizes = {c: (int((known == c).sum()), int((few == c).sum())) for c in set(labels) - {-1}}
    for of_one, chosen in sizes.values():
        assert all(chosen <= other + 1 or of_another == other for of_another, other in sizes.values()), of_one


@given(labels=LABELS, seed=st.integers(0, 100))
def test_more_labels_contain_fewer(labels: list[int], seed: int) -> None:
    data, total = labelled(labels), sum(label >= 0 for label in labels)
    for count in range(total):
        few, more = kept(data, count, seed), kept(data, count + 1, seed)
        assert int((few != more).sum()) == 1
        assert (few[few >= 0] == more[few >= 0]).all()


def test_a_seed_names_one_choice_and_nothing_global_moves() -> None:
    digits = load("digits").train
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    first, again, other = kept(digits, 100, 1), kept(digits, 100, 1), kept(digits, 100, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate()) == before[1:]  # noqa: NPY002
    assert (kept(digits, 100) >= 0).nonzero()[:8].flatten().tolist() == [10, 13, 30, 40, 45, 50, 61, 64]


def test_only_the_labels_change() -> None:
    for data in load("digits", binarize="dynamic"):
        few = data.keep_labels(30)
        assert torch.equal(few.tensor, data.tensor)
        assert (few.protocol, few.resamples, few.data_shape) == (data.protocol, data.resamples, data.data_shape)
        assert data.labels is not None
        assert int(data.labels.min()) == 0


@pytest.mark.parametrize("few", [load("digits").test.keep_labels(10), load("digits").test.keep_labels(0)])
def test_unknown_labels_pass_everywhere(few: Dataset) -> None:
    assert few[:5].to(dtype=torch.float64).keep_labels(0).labels is not None
    assert [int(y) for _, y in few[:40]] == few.labels[:40].tolist()  # pyright: ignore[reportOptionalSubscript]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "more than there are": ({"count": 301}, r"^count: expected at most 300"),
    "a negative count": ({"count": -1}, "^count: expected an integer of at least 0"),
    "a share": ({"count": 0.1}, "^count: expected an integer"),
    "a real seed": ({"count": 3, "seed": 0.5}, "^seed: expected an integer"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load("digits").test.keep_labels(**arguments)


def test_without_labels_there_are_none_to_keep() -> None:
    with pytest.raises(DataError, match=r"^labels: expected labels"):
        load("bars_and_stripes").train.keep_labels(3)
    with pytest.raises(ArgumentError, match=r"^count: expected at most 0"):
        labelled([-1, -1]).keep_labels(1)
