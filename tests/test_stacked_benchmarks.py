"""The benchmarks of pretraining: every row and kind of theirs trains, on little, and their baseline is right."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest
import torch
from sklearn.decomposition import PCA

import probae as pb
from benchmarks import deep_autoencoder, pretrained_classifiers


@pytest.fixture
def mnist() -> SimpleNamespace:
    """Noise of MNIST's shape, with labels."""
    torch.manual_seed(0)
    images = {name: torch.rand(16, 1, 28, 28) for name in ("train", "valid", "test")}
    return SimpleNamespace(**{name: pb.data.Dataset(x, torch.arange(16) % 10) for name, x in images.items()})


def test_principal_components_restore_as_those_of_scikit_learn() -> None:
    train, test = pb.data.load("digits", binarize="none").train.tensor, torch.rand(20, 64)
    pca = PCA(deep_autoencoder.CODE).fit(train.double())
    restored = pca.inverse_transform(pca.transform(test.double()))
    wanted = ((restored - test.double().numpy()) ** 2).sum(1).mean()
    assert deep_autoencoder.by_principal_components(train, test) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("row", deep_autoencoder.ROWS)
def test_each_row_of_the_deep_autoencoder_trains(
    row: str, mnist: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep_autoencoder, "HIDDEN", (20, 15, 10))
    monkeypatch.setattr(deep_autoencoder, "FIT", {"compile": "eager", "batch_size": 8})
    found = deep_autoencoder.measured(deep_autoencoder.ROWS[row], mnist, epochs=3, pretraining=1, seed=0)
    assert 0 < found["test"] < 784
    assert (found["pretrained"] is None) == ("pretrained" not in row)


@pytest.mark.parametrize("kind", pretrained_classifiers.KINDS)
def test_each_kind_of_pretraining_classifies(
    kind: str, mnist: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained_classifiers, "UNITS", 12)
    monkeypatch.setattr(pretrained_classifiers, "BRIEF", {"pretraining": 1, "fine_tuning": 1})
    bits = SimpleNamespace(train=pb.data.Dataset(rates=mnist.train.tensor))
    found = pretrained_classifiers.chosen(pretrained_classifiers.KINDS[kind], mnist, bits, 0, full=False, device="cpu")
    assert 0 <= found["test"] <= 1
    assert len(found["tried"]) == 1


@pytest.mark.parametrize("benchmark", [deep_autoencoder, pretrained_classifiers])
def test_help_says_what_is_measured(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmark.main(["--help"])
    assert f"python -m {benchmark.__name__}" in capsys.readouterr().out
