"""Laws of the named data sets: fixed splits, reproducible draws, typed errors."""

from __future__ import annotations

import hashlib
import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from probae.data import Dataset, Splits, load
from probae.data.load import SOURCES
from probae.errors import ArgumentError

SPLITS = ["2b4dd5028b8c", "53e7a69bfd94", "b6a12ab86d7b"]
BITS = ["28cfcac346dd", "11b2798eed72", "fdadc32de991"]
BINARIZATIONS = ["none", "threshold", "stochastic", "dynamic"]


def digest(*tensors: torch.Tensor | None) -> str:
    parts = [x.to(torch.uint8).numpy().tobytes() for x in tensors if x is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def equal(one: Splits, two: Splits) -> list[bool]:
    return [torch.equal(a.tensor, b.tensor) for a, b in zip(one, two, strict=True)]


@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_protocols_name_what_was_asked(binarize: str) -> None:
    seed = 5 if binarize in ("stochastic", "dynamic") else None
    for split, data in zip(("train", "valid", "test"), load("digits", binarize=binarize, seed=5), strict=True):
        protocol = data.protocol
        assert (protocol.dataset, protocol.split, protocol.binarization) == ("digits", split, binarize)
        assert protocol.seed == seed
        assert data.resamples is (binarize == "dynamic" and split == "train")


@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_nothing_global_moves(binarize: str) -> None:
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    splits = load("digits", binarize=binarize)
    assert all(len(data.tensor) for data in splits)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate()) == before[1:]  # noqa: NPY002


@pytest.mark.parametrize("binarize", ["stochastic", "dynamic"])
def test_a_seed_names_one_draw(binarize: str) -> None:
    torch.manual_seed(1)
    first = load("digits", binarize=binarize, seed=1)
    torch.manual_seed(2)
    assert equal(first, load("digits", binarize=binarize, seed=1)) == [True] * 3
    assert equal(first, load("digits", binarize=binarize, seed=2)) == [False] * 3


def test_only_training_data_is_drawn_anew_under_dynamic() -> None:
    fixed, dynamic = load("digits", binarize="stochastic", seed=3), load("digits", binarize="dynamic", seed=3)
    assert equal(fixed, dynamic) == [True] * 3
    for data in dynamic:
        data.redraw()
    assert equal(fixed, dynamic) == [False, True, True]
    indices = torch.arange(300)
    assert torch.equal(dynamic.test.batch(indices), fixed.test.tensor)
    assert not torch.equal(dynamic.train.batch(indices), dynamic.train.batch(indices))


def test_default_is_stochastic_with_seed_zero() -> None:
    assert equal(load("digits"), load("digits", binarize="stochastic", seed=0)) == [True] * 3


def test_threshold_is_at_one_half_inclusive() -> None:
    for grey, bits in zip(load("digits", binarize="none"), load("digits", binarize="threshold"), strict=True):
        assert torch.equal(bits.tensor, (grey.tensor >= 0.5).float())
        assert (grey.tensor == 0.5).any(), "8/16 occurs"


def test_stochastic_bits_have_the_grey_values_as_rates() -> None:
    """For each of the 17 grey values Hoeffding's bound at 1e-8: 2e-7 in all, and the seed is fixed."""
    grey, bits = load("digits", binarize="none").train.tensor, load("digits", seed=0).train.tensor
    for value in grey.unique():
        chosen = bits[grey == value]
        assert abs(float(chosen.mean() - value)) <= math.sqrt(math.log(2 / 1e-8) / (2 * chosen.numel())) * (
            0 < value < 1
        )


def test_digits_are_split_once_and_for_all() -> None:
    """The numbers are those of the published protocol: a change here makes every reported likelihood another one."""
    grey = load("digits", binarize="none")
    assert [len(data) for data in grey] == [1197, 300, 300]
    assert all(data.data_shape == (1, 8, 8) and data.labels is not None for data in grey)
    assert [digest(data.tensor * 16, data.labels) for data in grey] == SPLITS
    assert [digest(data.tensor) for data in load("digits", seed=0)] == BITS


def test_digits_are_all_of_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    grey, (pixels, classes) = load("digits", binarize="none"), load_digits(return_X_y=True)
    ours = torch.cat([torch.cat([d.tensor * 16, d.labels[:, None]], 1) for d in grey if d.labels is not None])
    theirs = torch.from_numpy(np.column_stack([pixels, classes])).float()
    assert sorted(ours.tolist()) == sorted(theirs.tolist())


@pytest.mark.parametrize("size", range(1, 7))
def test_bars_and_stripes_are_distinct_and_complete(size: int) -> None:
    splits = load("bars_and_stripes", size=size)
    images = splits.train.tensor.reshape(-1, size, size)
    assert len(images) == 2 * 2**size - 2 == len(splits.train.tensor.unique(dim=0))
    bars, stripes = (images == images[:, :1]).all((1, 2)), (images == images[:, :, :1]).all((1, 2))
    assert (bars | stripes).all()
    assert (bars & stripes).sum() == 2
    assert all(torch.equal(part.tensor, splits.train.tensor) for part in splits)
    assert splits.test.labels is None
    assert splits.test.data_shape == (1, size, size)
    assert (splits.test.protocol.split, splits.test.protocol.binarization) == ("test", "none")


def test_bars_and_stripes_are_thirty_by_default() -> None:
    assert len(load("bars_and_stripes").train) == len(load("bars_and_stripes", binarize="none").train) == 30


def test_bars_and_stripes_bring_their_ceiling() -> None:
    for size in (2, 4):
        log_prob = load("bars_and_stripes", size=size).test.true_log_prob
        assert log_prob is not None
        assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-12)


OFFLINE = sorted(set(SOURCES) - {"cifar10", "fashion_mnist", "mnist", "omniglot"})


@pytest.mark.parametrize("name", OFFLINE)
def test_every_set_is_reproducible_and_fits_its_row_of_the_table(name: str) -> None:
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    splits = load(name)
    assert equal(splits, load(name)) == [True] * 3
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate()) == before[1:]  # noqa: NPY002
    assert load.__doc__ is not None
    (row,) = (line for line in load.__doc__.splitlines() if line.strip().startswith(f'"{name}"  '))
    assert f" {splits.train.data_shape} " in row
    assert " / ".join(f"{len(part):,}" for part in splits) in row
    assert ("labels" in row) is (splits.test.labels is not None)
    assert ("log p" in row) is (splits.test.true_log_prob is not None)
    assert ("factors" in row) is (splits.test.factors is not None)


@pytest.mark.parametrize("name", SOURCES)
def test_the_table_names_every_set(name: str) -> None:
    assert f'"{name}"  ' in str(load.__doc__)


def test_options_that_change_the_data_are_in_its_name() -> None:
    names = {
        load("bars_and_stripes", size=4).test.protocol.dataset: "bars_and_stripes",
        load("bars_and_stripes", size=3).test.protocol.dataset: "bars_and_stripes(size=3)",
        load("two_moons", seed=2, noise=0.3, size=9).valid.protocol.dataset: "two_moons(size=9, noise=0.3, seed=2)",
        load("two_moons", seed=0, noise=0.1).valid.protocol.dataset: "two_moons",
        load("digits", seed=3).train.protocol.dataset: "digits",
    }
    assert all(found == expected for found, expected in names.items())


def test_what_is_generated_follows_the_seed_and_what_is_published_does_not() -> None:
    assert equal(load("melodies"), load("melodies", seed=1)) == [False] * 3
    grey = load("digits", binarize="none"), load("digits", binarize="none", seed=1)
    assert equal(*grey) == [True] * 3


def test_splits_unpack_and_show_each_part() -> None:
    splits = load("digits")
    train, valid, test = splits
    assert (train, valid, test) == (splits.train, splits.valid, splits.test)
    assert all(f"  {name}={data!r},\n" in repr(splits) for name, data in vars(splits).items())
    with pytest.raises(AttributeError):
        splits.train = Dataset(torch.zeros(1, 1))  # pyright: ignore[reportAttributeAccessIssue]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "digit"}, r"^name: expected one of .*Did you mean 'digits'"),
    ({"name": None}, r"^name: expected one of"),
    ({"name": "digits", "binarize": "treshold"}, r"^binarize: .*Did you mean 'threshold'"),
    ({"name": "digits", "binarize": True}, r"^binarize: expected one of"),
    ({"name": "digits", "seed": 0.5}, r"^seed: expected an integer of at least 0"),
    ({"name": "digits", "seed": -1}, r"^seed: expected an integer of at least 0"),
    ({"name": "digits", "size": 4}, r"^size: expected no such option for 'digits'; got size=4"),
    ({"name": "digits", "root": "/tmp"}, r"^root: expected no such option for 'digits'"),
    ({"name": "digits", "binarise": "none"}, r"^binarise: .*Did you mean 'binarize'"),
    (
        {"name": "bars_and_stripes", "sise": 4},
        r"^sise: expected one of the options of 'bars_and_stripes', size.*'size'",
    ),
    ({"name": "bars_and_stripes", "size": 0}, r"^size: expected a positive integer"),
    ({"name": "bars_and_stripes", "size": 17}, r"^size: expected at most 16"),
    ({"name": "bars_and_stripes", "binarize": "dynamic"}, r"^binarize: expected None or 'none', since .* bits already"),
    ({"name": "rings", "binarize": "grey"}, r"^binarize: expected one of"),
    ({"name": "rings", "nois": 0.1}, r"^nois: expected one of the options of 'rings', size, noise.*'noise'"),
    ({"name": "rings", "noise": torch.ones(2)}, r"^noise: expected a finite number"),
    ({"name": "melodies", "seeds": 3}, r"^seeds: .*Did you mean 'seed'"),
    ({"name": "shapes", "root": "/tmp"}, r"^root: expected one of the options of 'shapes', size"),
    ({"name": "mnist", "size": 3}, r"^size: expected one of the options of 'mnist', root"),
    ({"name": "cifar", "binarize": "none"}, r"^name: .*Did you mean 'cifar10'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load(**arguments)
