"""A data set of ours inside torch's loader, and what `pb.fit` makes of that."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

import probae as pb
from probae.data import Dataset

DIGITS = pb.data.load("digits")


def test_batches_are_the_rows_and_their_labels() -> None:
    assert DIGITS.test.labels is not None
    xs, ys = zip(*DataLoader(DIGITS.test, batch_size=70), strict=True)
    assert torch.equal(torch.cat(xs), DIGITS.test.tensor)
    assert torch.equal(torch.cat(ys), DIGITS.test.labels)
    ((x,),) = DataLoader(Dataset(DIGITS.test.tensor), batch_size=300)
    assert torch.equal(x, DIGITS.test.tensor)
    ((x, y),) = DataLoader(Subset(DIGITS.test, [3, 1]), batch_size=2)
    assert torch.equal(x, DIGITS.test.tensor[[3, 1]])
    assert torch.equal(y, DIGITS.test.labels[[3, 1]])


def test_lengths_come_by_name() -> None:
    melodies = pb.data.load("melodies", size=10, min_length=3).train
    (batch,) = DataLoader(melodies, batch_size=10)
    assert melodies.lengths is not None
    assert set(batch) == {"x", "y", "lengths"}
    assert torch.equal(batch["lengths"], melodies.lengths)
    assert torch.equal(batch["x"], melodies.tensor)


def test_each_epoch_of_dynamic_bits_is_another() -> None:
    batches = DataLoader(pb.data.load("digits", binarize="dynamic").train[:100], batch_size=100)
    ((one, _),), ((two, _),) = list(batches), list(batches)
    assert not torch.equal(one, two)


def test_fit_learns_from_a_loader_what_it_learns_from_the_data() -> None:
    """A mixture with known classes: its means, and nothing else, are learned."""

    def model(x: Tensor, y: Tensor) -> None:
        means = pyro.param("means", torch.zeros(2))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(means[y], 1.0), obs=x[:, 0])

    x = torch.tensor([[1.0], [3.0], [-5.0], [-7.0]])
    data = Dataset(x, torch.tensor([1, 1, 0, 0]))
    pb.fit(model, lambda x, y: None, DataLoader(data, batch_size=4), epochs=200, learning_rate=0.1, seed=0)
    assert pyro.param("means").tolist() == pytest.approx([-6.0, 2.0], abs=0.05)


def test_our_models_train_on_a_loader_and_ignore_the_labels() -> None:
    vae = pb.VAE(64, latent_dim=2, hidden=(16,))
    valid = DataLoader(DIGITS.valid, batch_size=100)
    run = vae.fit(DataLoader(DIGITS.train, batch_size=200, shuffle=True), valid=valid, epochs=2, seed=0)
    assert run.history["epoch"] == [1, 2]
