"""In-painting by models without a distribution: their reconstruction in place of what is missing, until it rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError
from probae.inference.filling import settle

SPLITS = pb.data.load("digits", binarize="none")
X, NEW = SPLITS.train.tensor, SPLITS.test.tensor
HALF = torch.arange(64) < 32
SOME = torch.rand(64, generator=torch.Generator().manual_seed(0)) < 0.7

DETERMINISTIC: dict[str, Callable[[], Any]] = {
    "Autoencoder": lambda: pb.Autoencoder(64, 8),
    "Autoencoder, wide": lambda: pb.Autoencoder(64),
    "SparseAutoencoder": lambda: pb.SparseAutoencoder(64),
    "SparseAutoencoder, top-k": lambda: pb.SparseAutoencoder(64, top_k=5),
    "SparseAutoencoder, target rate": lambda: pb.SparseAutoencoder(64, target_rate=0.05),
    "DenoisingAutoencoder": lambda: pb.DenoisingAutoencoder(64),
    "DenoisingAutoencoder, gaussian": lambda: pb.DenoisingAutoencoder(64, corruption="gaussian"),
    "DenoisingAutoencoder, salt and pepper": lambda: pb.DenoisingAutoencoder(64, corruption="salt_and_pepper"),
    "ContractiveAutoencoder": lambda: pb.ContractiveAutoencoder(64, tied=True),
    "AdversarialAutoencoder": lambda: pb.AdversarialAutoencoder(64),
}
NO_BETTER = ("SparseAutoencoder", "SparseAutoencoder, top-k")
"""Than the mean image, where 30% of the pixels are missing; with the lower half missing most are not."""


def error(filled: Tensor, mask: Tensor) -> float:
    return float((filled - NEW)[:, ~mask].square().mean().sqrt())


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_it_stays_finite_and_mostly_beats_the_mean_image(name: str) -> None:
    """At the defaults. A fixed point sought without a guard ends up to 1e30 away from the digits."""
    torch.manual_seed(0)
    model = DETERMINISTIC[name]()
    model.fit(SPLITS.train, epochs=15, seed=0, progress=False)
    for mask in (HALF, SOME):
        filled = model.inpaint(NEW, mask)
        assert torch.equal(filled[:, mask], NEW[:, mask])
        assert filled.abs().max() < 10
    found, by_mean = error(model.inpaint(NEW, SOME), SOME), error(X.mean(0).expand_as(NEW), SOME)
    assert name in NO_BETTER or found < by_mean


def test_each_example_comes_to_rest_by_itself() -> None:
    """One contracts, with the fixed point 2, one moves away after its first step, one rests; each as if alone."""
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    mask = torch.tensor([True, False]).expand(3, 2)

    calls = list[int]()

    def reconstruct(x: Tensor) -> Tensor:
        calls.append(len(x))
        slope = torch.where(x[:, :1] == 1, 0.5, 2.0)
        return torch.where(x[:, :1] == 0, x, 1 + slope * x)

    filled = settle(reconstruct, x, mask, steps=100)
    assert len(calls) < 50  # the last one rests when its steps are too short for float32
    torch.testing.assert_close(filled, torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]]))
    for row in range(3):
        assert torch.equal(settle(reconstruct, x[row : row + 1], mask[:1], steps=100)[0], filled[row])
    torch.testing.assert_close(settle(reconstruct, x, mask, steps=2)[0], torch.tensor([1.0, 1.5]))


def test_what_is_not_finite_is_not_put_in() -> None:
    x, mask = torch.zeros(2, 3), torch.tensor([True, False, True])
    for bad in (torch.full((2, 3), torch.nan), torch.full((2, 3), torch.inf)):
        assert torch.equal(settle(bad.add, x, mask.expand(2, 3), steps=5), x)


def test_masking_taught_it_in_one_step() -> None:
    """Zeros were filled in in training, so that the first reconstruction is what was learned; other noise was not."""
    x = NEW[:20]
    for corruption, once in (("masking", True), ("gaussian", False)):
        torch.manual_seed(0)
        model = pb.DenoisingAutoencoder(64, 16, 32, corruption).prepare(X)
        first = torch.where(SOME, x, model.denoise(torch.where(SOME, x, 0.0)))
        assert torch.equal(model.inpaint(x, SOME, steps=1), first)
        assert torch.equal(model.inpaint(x, SOME), first) == once


def test_sequences_go_on_behind_their_end() -> None:
    x, lengths = torch.rand(5, 4, 2), torch.tensor([1, 2, 3, 4, 2])
    hidden = torch.arange(4) >= lengths.unsqueeze(1)
    x[hidden] = torch.nan
    for model in (pb.Autoencoder((4, 2), 3, 8, network="recurrent"), pb.VAE((4, 2), 3, 8, "normal")):
        filled = model.inpaint(x, lengths=lengths, steps=3).reshape(5, 4, 2)
        assert filled.isfinite().all()
        assert (filled[hidden] != 0).all()
        assert torch.equal(filled[~hidden], x[~hidden])
    with pytest.raises(ArgumentError, match=r"^lengths: expected \(5,\) integers from 1 to 4"):
        pb.Autoencoder((4, 2), 3, 8).inpaint(x, lengths=lengths - 1)
