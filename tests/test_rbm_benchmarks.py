"""The benchmarks of Boltzmann machines: every row of theirs trains and is judged, on little."""

from __future__ import annotations

from argparse import Namespace
from types import ModuleType, SimpleNamespace

import pytest
import torch

import probae as pb
from benchmarks import partition, rbm_mnist, rbm_small


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


def prepared(running_chains: int = 0) -> pb.RBM:
    """A machine whose log Z is far from that of independent units."""
    torch.manual_seed(0)
    rbm = pb.RBM(12, 4, running_chains=running_chains).prepare(torch.rand(50, 12).round())
    return rbm.set_parameters(torch.randn(12, 4), torch.randn(12), torch.randn(4))


def test_log_z_by_hand_and_by_the_library_are_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "on_mnist", lambda num_hidden, seconds: prepared())
    given, exact = Namespace(temperatures=200, seconds=1.0, repeats=2), prepared().log_partition("exact").value
    for row in partition.speed(given).values():
        assert row["log Z"] == pytest.approx(exact, abs=5.2 * row["stderr"] + 0.02)
        assert len(row["repeats"]) == len(row["values"]) == 2
    for row in partition.truth(given).values():
        assert row["largest"] < 5.2 * row["stated"] + 0.02


def test_errors_are_judged_by_the_errors_that_are_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "on_digits", lambda seed, rate, chains: prepared(chains))
    monkeypatch.setattr(partition, "LADDERS", {"AIS": 50})
    rows = partition.calibration(Namespace(seeds=3))
    assert rows.keys() == {*partition.LADDERS, *partition.RUNNING}
    for row in rows.values():
        assert row["rms error"] >= abs(row["mean error"])
        assert row["largest"] == max(map(abs, row["errors"]))


@pytest.mark.parametrize("benchmark", [partition, rbm_small, rbm_mnist])
def test_help_says_what_is_measured(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        benchmark.main(["--help"])
    assert f"python -m {benchmark.__name__}" in capsys.readouterr().out
