"""A run that turns NaN says where and when, and keeps what was still finite."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.engine.batches import Batch
from probae.engine.guard import Guard, guilty_site
from probae.engine.programs import Programs
from probae.errors import NonFiniteError
from tests.engine import pairs
from tests.engine.pairs import Pair


def fit(pair: Pair, **settings: Any) -> pb.Run:
    return pb.fit(*pair, pairs.data(), **{"epochs": 3, "batch_size": 8, "seed": 0, **settings})


def all_finite(tensors: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def failing_at(step: int, site: str) -> Pair:
    """A site that is NaN from a step on."""
    calls = [-1]  # the run that looks for parameters has no gradients

    def poison(name: str, value: Tensor) -> Tensor:
        return value * torch.nan if name == site and calls[0] >= step else value

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pairs.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(poison("x", z), 1.0).to_event(1), obs=x)
            pyro.sample("y", dist.Normal(poison("y", z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        calls[0] += torch.is_grad_enabled()
        loc = pyro.param("loc", pairs.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(poison("z", loc), 1.0).to_event(1))

    return Pair(model, guide)


@pytest.mark.parametrize("site", ["z", "x", "y"])
@pytest.mark.parametrize("step", [1, 4, 8])
def test_it_names_the_site_and_the_step(site: str, step: int) -> None:
    message = f"the loss of step {step} is not finite, at sample site '{site}'"
    with pytest.raises(NonFiniteError, match=message) as caught:
        fit(failing_at(step, site))
    error = caught.value
    assert (error.site, error.step) == (site, step)
    assert pyro.param("loc").isfinite().all()
    assert error.run is not None
    assert (error.run.stopped, error.run.state["position"]["step"]) == ("not finite", step)
    assert error.run.epochs == step // 3
    assert all_finite(error.run.state["tensors"].values())


def test_the_parameters_are_those_before_the_failing_step() -> None:
    with pytest.raises(NonFiniteError):
        fit(failing_at(4, "x"))
    failed = pyro.param("loc").detach().clone()
    pyro.clear_param_store()

    class StopAt(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            if training.step == 4:
                training.stop("test")

    fit(failing_at(1000, "x"), callbacks=StopAt())
    assert torch.equal(pyro.param("loc"), failed)


def test_its_state_continues() -> None:
    """Once the cause is gone, as if nothing had happened."""
    with pytest.raises(NonFiniteError) as caught:
        fit(failing_at(4, "x"))
    assert caught.value.run is not None
    pyro.clear_param_store()
    fit(failing_at(1000, "x"), resume=caught.value.run.state)
    found = pyro.param("loc").detach().clone()
    pyro.clear_param_store()
    fit(failing_at(1000, "x"))
    assert torch.equal(pyro.param("loc"), found)


@pytest.mark.parametrize("kind", ["params", "registered", "autonormal", "scored"])
def test_a_learning_rate_that_is_far_too_large(kind: str) -> None:
    """Parameters that overflow are put back; also where drawing from them is an error of torch's."""
    with pytest.raises(NonFiniteError, match="smaller learning rate") as caught:
        fit(pairs.SAMPLED[kind](), optimizer=partial(torch.optim.SGD, lr=1e300), epochs=30)
    assert caught.value.site is not None
    assert all_finite(value for _, value in pyro.get_param_store().named_parameters())


def test_a_gradient_that_is_nan_while_the_loss_is_finite() -> None:
    """sqrt(0) is fine, its gradient is not: the next step, or the end of the run, shows it."""

    def model(x: Tensor) -> None:
        loc = pyro.param("loc", pairs.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal((loc * 0.0).square().sqrt(), 1.0).to_event(1), obs=x)

    pair = Pair(model, lambda x: None)
    with pytest.raises(NonFiniteError) as caught:
        fit(pair)
    assert (caught.value.site, caught.value.step) == ("x", 1)
    assert torch.equal(pyro.param("loc"), pairs.zeros(3))
    pyro.clear_param_store()
    with pytest.raises(NonFiniteError, match=r"the parameters of step 0 is not finite, at .* 'x'") as caught:
        fit(pair, epochs=1, batch_size=None)
    assert torch.equal(pyro.param("loc"), pairs.zeros(3))
    assert caught.value.run is not None
    assert caught.value.run.epochs == 1


def test_the_site_is_found_with_the_noise_of_the_step() -> None:
    """One draw in a few hundred is too large: another draw would find nothing."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pairs.zeros(3), 1.0).to_event(1))
            large = torch.where(z > 2.5, torch.nan, 0.0)
            pyro.sample("x", dist.Normal(z + large, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", pairs.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0 * loc, 1.0).to_event(1))

    with pytest.raises(NonFiniteError) as caught:
        fit(Pair(model, guide), epochs=1000)
    assert caught.value.site == "x"


def test_a_resumed_run_protects_what_it_resumed() -> None:
    """Its parameters turn NaN in the first step, before any copy was due: not those of the start come back."""
    spoil = [False]

    def model(x: Tensor) -> None:
        loc = pyro.param("loc", pairs.zeros(3))
        with pyro.plate("data", len(x)):
            spoilt = (loc * 0.0).square().sqrt() if spoil[0] else 0.0
            pyro.sample("x", dist.Normal(loc + spoilt, 1.0).to_event(1), obs=x)

    pair = Pair(model, lambda x: None)
    state = fit(pair).state
    trained = pyro.param("loc").detach().clone()
    pyro.clear_param_store()
    spoil[0] = True
    with pytest.raises(NonFiniteError):
        fit(pair, resume=state, epochs=4)
    assert torch.equal(pyro.param("loc"), trained)


def test_a_loss_that_is_infinite_outside_the_sites() -> None:
    elbo = pb.ELBO(penalties=lambda batch, trace: torch.tensor(torch.inf))
    with pytest.raises(NonFiniteError, match="outside the sample sites") as caught:
        fit(pairs.params(), objective=elbo)
    assert (caught.value.site, caught.value.step) == (None, 0)


def test_streamed_data_that_is_nan() -> None:
    """A buffer that has already seen it is put back too."""
    norm = nn.BatchNorm1d(3).double()

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(norm(x), 1.0).to_event(1))
        pyro.module("norm", norm)

    good, bad = pairs.data(), pairs.data() * torch.nan
    with pytest.raises(NonFiniteError) as caught:
        pb.fit(pairs.local_model, guide, [good, good, bad], epochs=1)
    assert (caught.value.site, caught.value.step) == ("z", 2)
    assert all_finite(norm.state_dict().values())


def test_other_errors_pass_through() -> None:
    def model(x: Tensor) -> None:
        if torch.is_grad_enabled():
            raise ValueError("a mistake of mine")
        pairs.local_model(x)

    with pytest.raises(ValueError, match="a mistake of mine"):
        fit(Pair(model, pairs.params().guide))


def test_the_best_model_survives_a_failure() -> None:
    with pytest.raises(NonFiniteError) as caught:
        fit(failing_at(7, "x"), valid=pairs.data(9))
    run = caught.value.run
    assert run is not None
    assert run.best_epoch in (1, 2)
    assert torch.equal(pyro.get_param_store()["loc"], run.state["best"]["tensors"]["param.loc"])


def watched(device: str = "cpu", interval: int = 3) -> tuple[Guard, nn.Linear]:
    net = pairs.linear()
    guard = Guard(Programs(net, net, lambda *_: None), torch.device(device), interval)
    return guard, net


def test_good_parameters_are_copied_at_intervals() -> None:
    guard, net = watched()
    with torch.no_grad():
        for step in range(5):  # copied after steps 2 and 5
            net.weight.fill_(float(step))
            assert guard.fine(torch.tensor(1.0), step)
        net.weight.fill_(torch.nan)
    assert not guard.holds()
    guard.failure(Batch((pairs.data(),), {}), 5)
    assert net.weight.unique().tolist() == [2.0]


def test_parameters_that_are_lost_are_never_copied() -> None:
    guard, net = watched()
    with torch.no_grad():
        net.weight.fill_(torch.nan)
        assert guard.fine(torch.tensor(1.0), 2)
    guard.failure(Batch((pairs.data(),), {}), 2)
    assert net.weight.isfinite().all()


def test_what_starts_unknown_is_not_watched() -> None:
    rbm = pb.RBM(4, 3)
    assert rbm.mean_rates.isnan().all()
    guard = Guard(Programs(rbm.model, rbm.guide, pb.ELBO()), torch.device("cpu"))
    assert guard.holds()
    bits = (torch.rand(20, 4) < 0.5).float()
    assert pb.fit(rbm.model, rbm.guide, bits, epochs=2).stopped == "finished"


def test_an_accelerator_is_asked_at_intervals() -> None:
    """A meta tensor would raise if anybody looked."""
    guard, _ = watched("cuda", interval=3)
    hidden = torch.zeros((), device="meta")
    assert guard.fine(hidden, 0)
    assert guard.fine(hidden, 1)
    with pytest.raises(RuntimeError):
        guard.fine(hidden, 2)
    guard, _ = watched("cuda", interval=3)
    assert guard.fine(torch.tensor(torch.nan), 0)
    assert guard.fine(torch.tensor(1.0), 1)
    assert not guard.fine(torch.tensor(1.0), 2), "once NaN, the sum stays NaN"


def test_no_site_is_guilty_where_all_is_well() -> None:
    x = pairs.data()
    for kind in ("params", "several", "subsampled", "scored", "mixture"):
        pair = pairs.SAMPLED.get(kind, pairs.mixture)()
        assert guilty_site(Programs(*pair, pb.ELBO()), Batch((x,), {})) is None
