"""Clusters are found where they are, numbered by size, and compared with labels they never saw."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.applications import clusters
from probae.errors import ArgumentError, DataError


class Same:
    """Its codes are the examples."""

    def embed(self, x: Any) -> Tensor:
        return x.tensor if isinstance(x, pb.data.Dataset) else x


def blobs() -> pb.data.Dataset:
    """60, 30 and 10 points, tightly around three corners; labels 2, 0, 1."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.tensor([2, 0, 1]).repeat_interleave(torch.tensor([60, 30, 10]))
    corners = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    order = torch.randperm(100, generator=generator)
    points = corners[kind] + 0.3 * torch.randn(100, 2, generator=generator)
    return pb.data.Dataset(points[order], kind[order])


DATA = blobs()


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
def test_they_are_where_they_are(method: str) -> None:
    found = clusters(Same(), DATA, 3, method=method)
    assert found.sizes.tolist() == [60, 30, 10]
    assert torch.equal(found.assignments, torch.tensor([1, 2, 0])[DATA.labels])
    assert (found.adjusted_rand, found.mutual_information) == (1.0, 1.0)
    for k in range(3):
        members = DATA.tensor[found.assignments == k].double()
        torch.testing.assert_close(found.centres[k], members.mean(0))
        nearest = (members - members.mean(0)).norm(dim=1).min()
        assert (DATA.tensor[found.nearest[k]].double() - members.mean(0)).norm() == nearest


def test_the_agreement_is_scikit_learns_definition() -> None:
    """Two clusters of three kinds, by hand: the adjusted Rand index from its pairs, the information from its table."""
    found = clusters(Same(), DATA, 2)
    table = torch.zeros(3, 2, dtype=torch.float64)
    for label, k in zip(DATA.labels.tolist(), found.assignments.tolist(), strict=True):
        table[label, k] += 1

    def pairs(n: Tensor) -> float:
        return float((n * (n - 1) / 2).sum())

    both, rows, columns, total = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), 100 * 99 / 2
    expected = rows * columns / total
    assert found.adjusted_rand == pytest.approx((both - expected) / ((rows + columns) / 2 - expected))
    share = table / 100
    entropies = [-torch.special.xlogy(p, p).sum() for p in (share.sum(1), share.sum(0), share)]
    information = (entropies[0] + entropies[1] - entropies[2]) / ((entropies[0] + entropies[1]) / 2)
    assert found.mutual_information == pytest.approx(float(information))


def test_unknown_labels_are_left_out_and_none_are_needed() -> None:
    few = DATA.keep_labels(9)
    assert clusters(Same(), few, 3).adjusted_rand == 1.0
    bare = clusters(Same(), DATA.tensor, 3)
    assert (bare.labels, bare.adjusted_rand, bare.mutual_information) == (None, None, None)
    assert repr(bare) == "3 clusters of 10 to 60 (kmeans)"
    given = clusters(Same(), DATA.tensor, 3, labels=DATA.labels)
    assert repr(given) == "3 clusters of 10 to 60 (kmeans) | adjusted Rand 1.000 | mutual information 1.000"
    assert clusters(Same(), DATA, 3, labels=torch.full((100,), -1)).adjusted_rand is None


def test_they_follow_the_seed_alone() -> None:
    x = torch.rand(200, 5, generator=torch.Generator().manual_seed(1))
    state = torch.get_rng_state()
    one, other = (clusters(Same(), x, 8, seed=3) for _ in range(2))
    assert torch.equal(one.assignments, other.assignments)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_models_codes_are_clustered() -> None:
    digits = pb.data.load("digits", binarize="none")
    ppca = pb.ProbabilisticPCA(64, 10).fit_closed_form(digits.train)
    found = clusters(ppca, digits.test, 10)
    assert torch.equal(found.codes, ppca.embed(digits.test).double())
    assert found.mutual_information is not None
    assert found.mutual_information > 0.5


class Wrong(Same):
    """Its codes are whatever it was told."""

    def __init__(self, codes: Any) -> None:
        self.codes = codes

    def embed(self, x: Any) -> Any:
        return self.codes


BAD: dict[str, tuple[str, type[ArgumentError], tuple[Any, ...], dict[str, Any]]] = {
    "no model": ("model", ArgumentError, (object(), DATA, 3), {}),
    "no codes": ("model", ArgumentError, (Wrong("codes"), DATA, 3), {}),
    "codes of others": ("model", ArgumentError, (Wrong(torch.zeros(5, 2)), DATA, 3), {}),
    "codes that are NaN": ("model", ArgumentError, (Wrong(torch.full((100, 2), torch.nan)), DATA, 3), {}),
    "no clusters": ("num_clusters", ArgumentError, (Same(), DATA, 0), {}),
    "too many": ("num_clusters", ArgumentError, (Same(), DATA, 101), {}),
    "no method": ("method", ArgumentError, (Same(), DATA, 3), {"method": "dbscan"}),
    "float labels": ("labels", DataError, (Same(), DATA, 3), {"labels": torch.zeros(100)}),
    "few labels": ("labels", DataError, (Same(), DATA, 3), {"labels": torch.zeros(9, dtype=torch.long)}),
    "seed": ("seed", ArgumentError, (Same(), DATA, 3), {"seed": -1}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_named(case: str) -> None:
    name, error, args, options = BAD[case]
    with pytest.raises(error) as raised:
        clusters(*args, **options)
    assert raised.value.argument == name
