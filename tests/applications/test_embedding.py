"""Codes for the applications: none that were told labels; labels in all their forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import probae as pb
from probae import applications
from probae.errors import ArgumentError, DataError

DIGITS = pb.data.load("digits", binarize="none")
TRAIN, TEST = DIGITS.train[:200], DIGITS.test[:100]

TOLD: dict[str, Any] = {
    "VAE": lambda: pb.VAE(64, 4, 8, "normal", num_labels=10),
    "AdversarialAutoencoder": lambda: pb.AdversarialAutoencoder(
        64, 4, 8, num_labels=10, guide={"name": "delta", "nonlinearity": "sigmoid"}
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_model_that_is_told_labels_is_refused(name: str) -> None:
    """An untrained one hands its label on: a probe of it would be right for nearly all examples."""
    model = TOLD[name]()
    calls = [
        lambda: applications.linear_probe(model, TRAIN, TEST),
        lambda: applications.clusters(model, TEST, 3),
        lambda: applications.clusters(model, TEST.tensor, 3, labels=TEST.labels),
        lambda: applications.retrieve(model, TEST, TRAIN, 3),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=rf"^model: expected one .*; got {name} with labels as a condition"):
            call()


def test_a_map_may_show_what_it_was_told() -> None:
    model = TOLD["VAE"]()
    recorder = applications.MapRecorder(model, TEST)
    model.fit(TRAIN, epochs=1, seed=0, callbacks=[recorder], progress=False)
    assert recorder.codes.shape == (2, 100, 4)


def test_latent_labels_are_guessed_and_tell_nothing() -> None:
    """Codes are the same with the data set's labels, others, or none."""
    model = pb.VAE(64, 4, 8, "normal", num_labels=10, labels="latent")
    other = TEST[:]
    other.labels = (TEST.labels + 1) % 10
    found = [applications.clusters(model, data, 3).codes for data in (TEST, other, TEST.tensor)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("form", [list, tuple, lambda y: y.numpy(), lambda y: y.to(torch.int16), lambda y: y])
def test_labels_come_in_any_form(form: Any) -> None:
    """As the labels that models take: lists, NumPy arrays, tensors of any integers."""
    ppca = pb.ProbabilisticPCA(64, 4).fit_closed_form(TRAIN)
    labels: Any = [one.labels.tolist() if form in (list, tuple) else one.labels for one in (TRAIN, TEST)]
    given: Any = [form(one) for one in labels]
    train, test = ((one.tensor, y) for one, y in zip((TRAIN, TEST), given, strict=True))
    probe = applications.linear_probe(ppca, train, test)
    assert probe.accuracy == applications.linear_probe(ppca, TRAIN, TEST).accuracy
    found = applications.clusters(ppca, TEST.tensor, 3, labels=given[1])
    assert found.adjusted_rand == applications.clusters(ppca, TEST, 3).adjusted_rand
    indices = torch.arange(100).unsqueeze(1)
    assert applications.same_label(indices, given[1], given[1]).all()


@pytest.mark.parametrize("bad", [[0.5] * 100, torch.zeros(100), [0] * 99, 3, "labels", [[0]] * 100])
def test_what_is_no_label_is_named(bad: Any) -> None:
    ppca = pb.ProbabilisticPCA(64, 4).fit_closed_form(TRAIN)
    with pytest.raises(DataError, match=r"^labels: expected"):
        applications.clusters(ppca, TEST, 3, labels=bad)
    with pytest.raises(DataError, match=r"^query_labels: expected"):
        applications.same_label(torch.zeros(100, 1).long(), bad, TEST.labels)


@pytest.mark.parametrize("argument", ["train", "test"])
def test_values_that_are_not_finite_are_named_by_where_they_are(argument: str) -> None:
    ppca = pb.ProbabilisticPCA(64, 4).fit_closed_form(TRAIN)
    data = {"train": (TRAIN.tensor, TRAIN.labels), "test": (TEST.tensor, TEST.labels)}
    data[argument] = (data[argument][0] * torch.nan, data[argument][1])
    with pytest.raises(DataError, match=f"^{argument}: expected finite values"):
        applications.linear_probe(ppca, **data)
