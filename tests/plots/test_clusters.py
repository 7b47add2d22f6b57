"""Each row of clusters holds its members, the nearest first; probes stand where their accuracies are."""

import numpy as np
import pytest
import torch

from probae.applications import Clusters, Probe, clusters
from probae.errors import DataError
from probae.plots import clusters as draw
from probae.plots import probes


class First:
    """The first pixel is the code."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def found() -> tuple[Clusters, torch.Tensor]:
    """Seven dark images and three bright ones; the second pixel of each is its number over ten."""
    x = torch.zeros(10, 28 * 28)
    x[:, 0] = torch.tensor([0.0, 0.1, 0.9, 0.2, 0.045, 1.0, 0.08, 0.95, 0.12, 0.15])
    x[:, 1] = torch.arange(10) / 10
    labels = torch.tensor([4, 4, 7, 4, 5, 7, 4, -1, 4, 4])
    return clusters(First(), x, 2, labels=labels), x


def test_rows_begin_with_the_nearest() -> None:
    result, x = found()
    ax = draw(result, x, cols=5, padding=0.0)
    picture = np.asarray(ax.images[0].get_array())[..., 0]
    assert picture.shape == (56, 5 * 28)
    numbers = [[round(10 * float(picture[28 * k, 28 * j + 1])) for j in range(5)] for k in range(2)]
    assert numbers[0] == [1, 6, 8, 9, 4]
    assert numbers[1][0] == 7
    assert set(numbers[1][1:3]) == {2, 5}
    assert (picture[28:, 3 * 28 :] == 1.0).all()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7: 86% are 4", "3: 100% are 7"]


def test_without_labels_only_sizes_are_told() -> None:
    _, x = found()
    ax = draw(clusters(First(), x, 2), x)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "3"]


def test_other_examples_are_named() -> None:
    result, x = found()
    with pytest.raises(DataError, match=r"^x: expected the 10 examples that were clustered; got 9"):
        draw(result, x[:9])


PROBE = Probe(0.95, 0.01, 0.9, 0.02, 0.05, 0.015, torch.zeros(3), 100)


def test_probes_stand_where_they_are() -> None:
    ax = probes({"a": PROBE, "b": PROBE})
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in points] == [0.9, 0.95, 0.9, 0.95]
    assert [line.get_markerfacecolor() == "white" for line in points] == [True, False] * 2
    ends = [segment[:, 0] for container in ax.collections for segment in container.get_segments()]
    np.testing.assert_allclose(ends[1], [0.93, 0.97])
    assert [text.get_text() for text in ax.texts] == ["95.0% (+5.0% ± 3.0%)"] * 2
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(("results", "name"), [({}, "results"), (PROBE, "results"), ({"a": 0.9}, "results['a']")])
def test_what_is_no_probe_is_named(results: object, name: str) -> None:
    with pytest.raises(DataError) as raised:
        probes(results)  # pyright: ignore[reportArgumentType]
    assert raised.value.argument == name
