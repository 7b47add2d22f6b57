"""A linear probe reads what is linear in the codes, and its errors are those of the test examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.applications import linear_probe
from probae.errors import DataError


class Squares:
    """Codes in which a circle's inside is a half space."""

    def embed(self, x: Any) -> Tensor:
        return x.square()


def disc(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points around the origin, labelled by whether they lie in a circle that holds half of them."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x.square().sum(1) < 2 * math.log(2)).long()


TRAIN, TEST = disc(2000, 0), disc(1000, 1)


def test_codes_can_know_what_raw_values_do_not() -> None:
    """Raw values know nothing of the circle: 1,000 fair guesses, six standard errors; false alarm 2e-9."""
    probe = linear_probe(Squares(), TRAIN, TEST)
    assert probe.accuracy > 0.98
    assert abs(probe.raw_accuracy - 0.5) < 6 * 0.5 / math.sqrt(1000)
    right = (probe.predicted == TEST[1]).double()
    assert probe.accuracy == float(right.mean()) == float(probe)
    assert probe.stderr == pytest.approx(float(right.std()) / math.sqrt(1000))
    assert probe.raw_stderr == pytest.approx(0.5 / math.sqrt(1000), rel=0.01)
    assert probe.gain == pytest.approx(probe.accuracy - probe.raw_accuracy)
    assert probe.num_train == 2000


def test_the_gain_is_paired() -> None:
    """Where the codes are the values, nothing is gained, without any error."""

    class Same:
        def embed(self, x: Any) -> Tensor:
            return x

    probe = linear_probe(Same(), TRAIN, TEST)
    assert (probe.gain, probe.gain_stderr) == (0.0, 0.0)
    assert repr(probe).endswith("gain +0.0% ± 0.0%")


def test_unknown_labels_are_left_out() -> None:
    x, y = TRAIN
    half = torch.where(torch.arange(2000) < 1000, y, -1)
    known = linear_probe(Squares(), (x[:1000], y[:1000]), TEST)
    found = linear_probe(Squares(), (x, half), TEST)
    assert torch.equal(found.predicted, known.predicted)
    assert found.num_train == 1000


def test_data_sets_and_arrays() -> None:
    digits = pb.data.load("digits", binarize="none")
    ppca = pb.ProbabilisticPCA(64, 16).fit_closed_form(digits.train)
    found = linear_probe(ppca, digits.train.keep_labels(500), digits.test)
    assert found.num_train == 500
    few = digits.train.keep_labels(500)
    assert few.labels is not None
    arrays = (few.tensor.numpy(), few.labels.numpy())
    test = digits.test.labels
    assert test is not None
    assert torch.equal(linear_probe(ppca, arrays, (digits.test.tensor, test)).predicted, found.predicted)


def test_a_stronger_penalty_knows_less() -> None:
    weak, strong = (linear_probe(Squares(), TRAIN, TEST, strength=s).accuracy for s in (1.0, 1e6))
    assert strong < weak - 0.1


def ones(y: Any) -> tuple[Tensor, Any]:
    return TRAIN[0], y


@pytest.mark.parametrize(
    "bad",
    [
        TRAIN[0],
        pb.data.Dataset(TRAIN[0]),
        ones(None),
        ones(TRAIN[1].float()),
        ones(TRAIN[1][:5]),
        ones(torch.full((2000,), -1)),
        (*TRAIN, TRAIN[1]),
    ],
)
def test_data_without_labels_is_named(bad: Any) -> None:
    for name, call in {
        "train": lambda: linear_probe(Squares(), bad, TEST),
        "test": lambda: linear_probe(Squares(), TRAIN, bad),
    }.items():
        with pytest.raises(DataError) as raised:
            call()
        assert raised.value.argument == name


def test_a_single_class_teaches_nothing() -> None:
    with pytest.raises(DataError, match=r"^train: expected examples of at least two classes; got 1 class"):
        linear_probe(Squares(), ones(np.zeros(2000, dtype=int)), TEST)
