"""log Z along training: unbiased at each step, given the parameters; reported with what can be said of its error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.distributions.enumeration import exact_log_partition
from probae.engine.precision import products
from probae.errors import ArgumentError, NotPreparedError
from probae.evaluation.ais import log_mean_weight
from probae.inference import stepping
from probae.inference.running import RunningWeights

FIVE = 5.2
"""Standard errors: a false alarm in ten million."""

KINDS: dict[str, tuple[Any, Any]] = {
    "bits": ("bernoulli", "bernoulli"),
    "categories": tuple({"name": "categorical", "num_categories": k} for k in (2, 3)),
    "Gaussian visible": ({"name": "gaussian", "scale": 0.7}, "bernoulli"),
}  # fmt: skip


def draws(kind: str, size: int, count: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, size, generator=generator, dtype=torch.float64)
    if kind == "categories":
        return torch.nn.functional.one_hot((x[:, ::2] > 0.3).long(), 2).flatten(1).double()
    return (x > 0.5).double() if kind == "bits" else x + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 15])
def test_the_mean_weight_is_z_along_a_course_that_does_not_depend_on_the_chains(kind: str, steps: int) -> None:
    """From a machine with weights that the chains have not seen, along steps of any size."""
    torch.manual_seed(0)
    visible, hidden = KINDS[kind]
    rbm = pb.RBM(4, 3, visible, hidden, "exact", running_chains=200_000).double()
    x = draws(kind, 4)
    with torch.no_grad():
        rbm.weight.mul_(20 if kind == "Gaussian visible" else 80)
    rbm.prepare(x).train()
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.4)
    for _ in range(steps):
        optimizer.zero_grad()
        (-rbm.distribution().log_prob(x).mean()).backward()
        optimizer.step()
    truth = exact_log_partition(rbm.distribution()).item()
    assert rbm.running is not None
    weights, variance = rbm.running.now(rbm.distribution())
    value, stderr = log_mean_weight(weights)[0], float(variance.sqrt())
    assert 0 < stderr < 0.02
    assert abs(value - truth) < FIVE * stderr
    assert abs(float(weights.mean()) - truth) > FIVE * stderr  # the mean logarithm would not do


def test_it_is_what_training_leaves_behind_and_log_partition_reads() -> None:
    digits, rbm = pb.data.load("digits"), pb.RBM(64, 20, running_chains=2000)
    rbm.fit(digits.train, epochs=20, batch_size=50, learning_rate=0.05, seed=0)
    before = [x.clone() for x in rbm.buffers()]
    estimate = rbm.log_partition("running")
    assert all(map(torch.equal, before, rbm.buffers()))  # reading moves nothing
    assert estimate.direction == "lower"
    assert not estimate.reliable
    assert "not examined" in estimate.reason
    assert "AIS along the training with 2000" in str(estimate)
    truth = rbm.log_partition("exact").value
    assert rbm.running is not None
    assert rbm.running.variance > 0  # chains have been drawn anew
    assert estimate.ess is not None
    assert 50 < estimate.ess < 1500  # those before are not forgotten
    assert 0.02 < estimate.stderr < 0.2
    assert abs(estimate.value - truth) < FIVE * estimate.stderr
    likelihood = rbm.log_likelihood(digits.test, "running")
    assert likelihood.direction == "upper"
    assert abs(likelihood.value - rbm.log_likelihood(digits.test, "exact").value) < FIVE * estimate.stderr


def test_chains_drawn_anew_leave_the_mean_weight_where_it_is() -> None:
    """Forty short courses: the mean of Z over them, about exact log Z, in units of what its spread says."""
    torch.manual_seed(0)
    ratios, stated = [], []
    for _ in range(40):
        rbm = pb.RBM(4, 3, negative_phase="exact", running_chains=500).double()
        with torch.no_grad():
            rbm.weight.copy_(torch.linspace(-2, 2, 12).reshape(4, 3))
        rbm.prepare(draws("bits", 4)).train()
        optimizer = torch.optim.SGD(rbm.parameters(), lr=1.5)
        for _ in range(10):
            optimizer.zero_grad()
            (-rbm.distribution().log_prob(draws("bits", 4)).mean()).backward()
            optimizer.step()
        estimate = rbm.log_partition("running")
        assert rbm.running is not None
        assert rbm.running.variance > 0
        ratios.append(estimate.value - exact_log_partition(rbm.distribution()).item())
        stated.append(estimate.stderr)
    z = torch.tensor(ratios).exp() - 1
    assert abs(z.mean() / (z.std() / 40**0.5)) < 6
    assert 0.4 < torch.tensor(stated).mean() / torch.tensor(ratios).std() < 2.5


def test_it_moves_once_a_step_and_never_in_evaluation() -> None:
    rbm = pb.RBM(4, 3, running_chains=10)
    x = torch.ones(2, 4)

    def moved() -> bool:
        assert rbm.running is not None
        assert rbm.running.chains is not None
        before = rbm.running.chains.clone()
        for _ in range(3):
            rbm.distribution().log_prob(x)
        return not torch.equal(before, rbm.running.chains)

    torch.manual_seed(0)
    assert moved()
    assert not moved()
    stepping.end_step()
    assert moved()
    stepping.end_step()
    rbm.eval()
    with torch.no_grad():
        assert rbm.running is not None
        rbm.log_partition()
        rbm.log_likelihood(x)
    assert not moved()


def test_it_judges_validation_where_z_cannot_be_enumerated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = (torch.rand(200, 40) < 0.3).float()
    rbm = pb.RBM(40, 30, running_chains=50)
    assert rbm.monitor().name == "running_log_likelihood"
    assert not rbm.monitor().selects
    run = rbm.fit(x[:100], valid=x[100:], epochs=2, seed=0)
    found = run.history["valid_running_log_likelihood"][-1]
    assert abs(found - rbm.log_likelihood(x[100:], "running").value) < 1e-4
    assert pb.load(rbm.save(tmp_path / "rbm")).log_partition("running").value == rbm.log_partition("running").value


def test_training_goes_on_with_it_and_prepare_starts_it_once() -> None:
    x = (torch.rand(100, 6, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    torch.manual_seed(0)
    rbm = pb.RBM(6, 3, running_chains=5000)
    rbm.fit(x, epochs=20, learning_rate=0.1, seed=0)
    assert rbm.running is not None
    before = {name: buffer.clone() for name, buffer in rbm.running.named_buffers()}
    rbm.prepare(x)
    assert all(torch.equal(before[name], buffer) for name, buffer in rbm.running.named_buffers())
    rbm.fit(x, epochs=20, learning_rate=0.1, seed=0)
    estimate = rbm.log_partition("running")
    assert abs(estimate.value - rbm.log_partition("exact").value) < FIVE * estimate.stderr


def test_sums_stay_in_float64(tmp_path: Path) -> None:
    rbm = pb.RBM(6, 3, running_chains=10)
    rbm.fit((torch.rand(20, 6) < 0.5).float(), epochs=1, seed=0)
    for one in (rbm, pb.load(rbm.save(tmp_path / "rbm")), rbm.double().float()):
        assert one.running.chains.dtype == torch.float32
        for name in ("energy", "log_weights", "variance"):
            assert getattr(one.running, name).dtype == torch.float64


def test_compiled_steps_keep_it_and_are_kept(recwarn: pytest.WarningsRecorder) -> None:
    """The same numbers as eager steps, and no warning that a recording differs."""
    x = (torch.rand(256, 40, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    found = []
    for way in ("eager", "inductor"):
        torch.manual_seed(0)
        rbm = pb.RBM(40, 30, running_chains=50)
        run = rbm.fit(x, epochs=5, batch_size=64, seed=0, compile=way)
        found.append(rbm.log_partition("running").value)
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    assert not [str(one.message) for one in recwarn if "other numbers" in str(one.message)]
    assert run is not None


def test_products_in_bfloat16_leave_it_unbiased() -> None:
    """1,500 small random steps of the parameters: energies from rounded products would end half a nat too high."""
    torch.manual_seed(0)
    rbm = pb.RBM(12, 200, running_chains=400)
    generator = torch.Generator().manual_seed(1)
    rbm.train()
    assert rbm.running is not None
    with torch.no_grad(), products("bf16")():
        for _ in range(1500):
            rbm.running(rbm.distribution())
            rbm.weight += 1e-3 * torch.randn(rbm.weight.shape, generator=generator)
            stepping.end_step()
    estimate = rbm.log_partition("running")
    assert estimate.stderr < 0.1
    assert abs(estimate.value - rbm.log_partition("exact").value) < FIVE * estimate.stderr


@pytest.mark.parametrize("count", [-1, 1, 2.0, True])
def test_wrong_numbers_of_chains_are_named(count: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^running_chains: "):
        pb.RBM(4, 3, running_chains=count)


def test_where_there_is_none_it_says_so() -> None:
    with pytest.raises(ArgumentError, match=r"^running_chains: expected 0 for counts"):
        pb.RBM(4, 3, "counts", running_chains=10)
    with pytest.raises(NotPreparedError, match="running_chains=100"):
        pb.RBM(4, 3).log_partition("running")
    with pytest.raises(NotPreparedError, match="allocate"):
        RunningWeights()(pb.RBM(4, 3).distribution())
    with pytest.raises(ArgumentError, match=r"^num_chains: expected no options beside 'running'"):
        pb.RBM(4, 3, running_chains=10).log_partition("running", num_chains=3)
