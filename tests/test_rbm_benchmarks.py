"""The benchmarks of Boltzmann machines: every row of theirs trains and is judged, on little."""

from __future__ import annotations

from argparse import Namespace
from types import ModuleType, SimpleNamespace

import pytest
import torch

import probae as pb
from benchmarks import rbm_mnist, rbm_small


@pytest.fixture
def mnist() -> SimpleNamespace:
    """Bits of MNIST's shape."""
    torch.manual_seed(0)
    return SimpleNamespace(**{
        name: pb.data.Dataset(torch.rand(16, 1, 28, 28).round()) for name in ("train", "valid", "test")
    })  # fmt: skip


@pytest.mark.parametrize("phase", rbm_small.PHASES)
def test_each_phase_trains_on_bars_and_stripes(phase: str) -> None:
    found = rbm_small.bars_and_stripes(phase, steps=3, seed=0)
    assert -12 < found["value"] <= rbm_small.CEILING


def test_inverted_images_are_inverted(mnist: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has seen few steps scores by its biases: the same for images and inverted ones."""
    monkeypatch.setattr(pb.data, "load", lambda *args, **options: mnist)
    monkeypatch.setattr(rbm_small, "HIDDEN", 2)
    values = [rbm_small.thresholded(True, inverted, epochs=1, seed=0)["value"] for inverted in (False, True)]
    assert values[0] == pytest.approx(values[1], abs=1.0)


def test_the_large_machine_is_trained_and_judged(mnist: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rbm_mnist, "HIDDEN", 3)
    given = Namespace(chains=4, learning_rate=0.1, temperatures=20, binarize="dynamic", images=50_000, threads=1)
    found = rbm_mnist.measured(mnist.train, mnist.test, 0.002, 0, given)
    assert found["conservative"] is not None
    assert abs(found["value"] - found["again"]) < 50


@pytest.mark.parametrize("binarize", ["dynamic", "stochastic"])
def test_all_published_training_images_are_joined(
    binarize: str, mnist: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pb.data, "load", lambda *args, **options: mnist)
    train = rbm_mnist.joined(binarize)
    assert (len(train), train.data_shape, train.resamples) == (32, (1, 28, 28), binarize == "dynamic")


@pytest.mark.parametrize("benchmark", [rbm_small, rbm_mnist])
def test_help_says_what_is_measured(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmark.main(["--help"])
    assert f"python -m {benchmark.__name__}" in capsys.readouterr().out
