"""What can be recorded is what an eager call does, bit by bit; what cannot says so; what would freeze is caught."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from probae.engine.descent import Descent
from probae.engine.recording import NotRecordableError, Recording, record
from tests.engine import pairs
from tests.engine.pairs import DIM, Net, Pair, ones, zeros
from tests.engine.recordables import CASES, MOVING, NOISELESS, Encoding, Last, numbers
from tests.engine.steps import CPU, Clock, Shifted, assert_same, descent, effect, replay, same_as_eager, shifted


def recorded(step: Descent, batch: Any) -> Recording:
    return record(step.player.function, batch, step.programs, CPU)


def copies(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


# What records.


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch itself, in jvp
@pytest.mark.parametrize("name", CASES)
def test_a_recording_does_on_another_batch_what_the_program_does(name: str) -> None:
    """Outputs, parameters, buffers and the random state afterwards; under noise of its own each time."""
    case = CASES[name]()
    first, other = case.batch(0), case.batch(1)
    step = descent(case.pair, first, case.objective)
    step.step([first], 0)
    leaves, noise = step.programs.leaves(), torch.get_rng_state()
    before = copies(leaves)
    recording = recorded(step, first)
    assert_same([copies(leaves), torch.get_rng_state()], [before, noise])
    function = step.player.eager
    for seed in (5, 6):
        eager = effect(lambda: function(other), step.programs, seed)
        assert_same(effect(lambda: replay(recording, other), step.programs, seed), eager)
    # The comparison sees something: other data, other noise and what changes in place all show.
    assert not alike(eager.outputs, effect(lambda: function(first), step.programs, seed).outputs)
    assert alike(eager.outputs, effect(lambda: function(other), step.programs, 5).outputs) == (name in NOISELESS)
    assert alike(eager.state, before) == (name not in MOVING)
    # Optimizers work in place, so gradients lie like their parameters, each on its own.
    given = [(p, g) for p, g in zip(step._trained(), replay(recording, other)[1:], strict=True) if g is not None]
    assert all(p.stride() == g.stride() for p, g in given)
    assert len({g.data_ptr() for _, g in given}) == len(given)


def alike(some: list[Any], others: list[Any]) -> bool:
    return all(a is b if a is None else torch.equal(a, b) for a, b in zip(some, others, strict=True))


# Programs that a recording would not follow: the guide's mean is shifted by something besides the batch.


def item(net: Shifted, x: Tensor) -> float:
    return x.mean().item()


def branch(net: Shifted, x: Tensor) -> Tensor:
    return x if x.mean() > 0 else -x


class Packed(nn.Module):
    """A recurrent network that skips the ends of sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.GRU(1, DIM, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(nn.utils.rnn.pack_padded_sequence(x[..., None], zeros(len(x)) + 2, batch_first=True))[1][-1]


def sequential() -> Pair:
    """Plates as loops, which subsample."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(DIM), 1.0).to_event(1))
        index: Any
        for index in pyro.plate("data", len(x), subsample_size=2):
            pyro.sample(f"x_{index}", dist.Normal(mean, 1.0).to_event(1), obs=x[index])

    def guide(x: Tensor) -> None:
        for _ in pyro.plate("data", len(x), subsample_size=2):
            pass
        pyro.sample("mean", dist.Normal(pyro.param("loc", zeros(DIM)), 0.5).to_event(1))

    return Pair(model, guide)


def von_mises() -> Pair:
    """A sampler that rejects until all are accepted."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.VonMises(zeros(), 1.0))
            pyro.sample("x", dist.Normal(z[..., None].expand(*z.shape, DIM), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.VonMises(pyro.param("loc", zeros()), 2.0))

    return Pair(model, guide)


def cumulative() -> Encoding:
    return Encoding(nn.Sequential(nn.Linear(DIM, DIM), nn.BatchNorm1d(DIM, momentum=None)))


def line_after(function: Callable[..., Any]) -> str:
    """The place of a function's first statement, as a message names it."""
    return rf"in {Path(__file__).name}, line {inspect.getsourcelines(function)[1] + 1}, after sample site 'data'"


LOOKS = r"it looks at the value of a tensor .* "
REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "item": (shifted(item), {}, LOOKS + line_after(item)),
    "branch on a value": (shifted(branch), {}, LOOKS + line_after(branch)),
    "packed sequences": (lambda: Encoding(Packed()), {}, LOOKS + line_after(Packed.forward)),
    "cumulative batch normalization": (cumulative, {}, LOOKS + r"in pairs\.py, line \d+, after sample site 'data'"),
    "sequential plates": (sequential, {}, LOOKS + ".*, after sample site 'data'"),
    "VonMises": (von_mises, {}, LOOKS + ".*, at sample site 'z'"),
    "Pyro's objective": (pairs.params, {"objective": Trace_ELBO}, LOOKS + ".*, after sample site 'x'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_trains_eagerly_with_one_warning_that_says_where(name: str) -> None:
    make, settings, where = REFUSED[name]
    found = same_as_eager(make, epochs=2, **settings)
    assert found.way == "eager"
    (told,) = found.told
    assert re.match(f"the step cannot be recorded: {where}.* All that follows runs", told)


class Single(Net):
    """In float32, where oneDNN runs recurrent networks."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Last(nn.LSTM)
        self.float()

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)


def test_what_records_but_does_not_run_trains_eagerly_with_one_warning() -> None:
    found = same_as_eager(Single, data=pairs.data(22).float())
    assert found.way == "eager"
    assert len(found.told) == 1


# Caught because it is recorded twice.


def count(net: Shifted, x: Tensor) -> float:
    return 1 / net.calls


def average(net: Shifted, x: Tensor) -> Tensor:
    net.replaced = 0.9 * net.replaced + 0.1 * x.mean(0)
    return net.replaced


def late(net: Shifted, x: Tensor) -> Any:
    return pyro.param("late", zeros(DIM)) if net.calls > 3 else 0.0


TWICE: dict[str, tuple[Callable[[Shifted, Tensor], Any], str]] = {
    "a counter": (count, r"aten\.add\.Tensor was given 0\.\d+, then 0\.\d+, at or before sample site 'z'"),
    "a counter in a branch": (
        lambda net, x: x.sin() if net.calls % 2 else x.cos(),
        r"once it ran aten\.(sin|cos) where it then ran aten\.(sin|cos), at or before sample site 'z'",
    ),
    "a generator of Python's": (lambda net, x: net.random.random(), "was given"),
    "a generator of NumPy's": (lambda net, x: net.numpy.random(), "was given"),
    "Python's own": (lambda net, x: random.random(), "draws from Python's or NumPy's random generator"),
    "Python's own, in a branch": (lambda net, x: x if random.random() < 0.5 else 0.0, "draws from Python's"),
    "NumPy's own": (lambda net, x: float(np.random.rand()), "draws from Python's or NumPy's"),  # noqa: NPY002
    "a generator of torch's": (
        lambda net, x: torch.randn(DIM, generator=net.generator, dtype=x.dtype), "it uses a Generator of its own",
    ),
    "an attribute that it replaces": (average, "a tensor that it holds was replaced by another one"),
    "a parameter that appears": (late, "it makes new parameters as it runs"),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_what_each_call_changes_is_caught_when_it_is_recorded(name: str) -> None:
    shift, message = TWICE[name]
    net, batch = Shifted(shift), numbers(0)
    step = descent(Pair(net.model, net.guide), batch)
    with pytest.raises(NotRecordableError, match=message):
        recorded(step, batch)


def test_what_is_made_anew_and_alike_is_recorded() -> None:
    found = same_as_eager(shifted(lambda net, x: torch.tensor([0.1, 0.2, 0.3], dtype=x.dtype)))
    assert (found.way, found.told) == ("trace", [])


@pytest.mark.parametrize("draw", [lambda net, x: random.random(), lambda net, x: float(np.random.rand())])  # noqa: NPY002
def test_a_refused_recording_leaves_other_generators_as_they_were(draw: Callable[[Shifted, Tensor], float]) -> None:
    def make() -> Shifted:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        return Shifted(draw)

    assert len(same_as_eager(make).told) == 1


# Caught because it is compared.


def stored(net: Shifted, x: Tensor) -> Tensor:
    pyro.param("shift", ones(DIM))
    return pyro.get_param_store()["shift"]


CHANGING: dict[str, Callable[[Shifted, Tensor], Any]] = {
    "a number": lambda net, x: 1 / (1 + net.step),
    "an attribute replaced": lambda net, x: net.replaced,
    "a parameter replaced in the store": stored,
    "a shape": lambda net, x: x[x > 1].sum() / len(x[x > 1]),
    "NumPy": lambda net, x: torch.from_numpy(x.numpy()).mean(),
}


@pytest.mark.parametrize("name", CHANGING)
def test_what_each_step_changes_is_caught_by_comparing(name: str) -> None:
    """The step's own numbers count, and training goes on eagerly with one warning."""
    found = same_as_eager(shifted(CHANGING[name]), epochs=2, callbacks=Clock)
    assert found.way == "eager"
    (told,) = found.told
    assert told.startswith(("the step changes", "a recording of the step gives other", "the step cannot be recorded"))


def test_a_parameter_that_appears_late_is_recorded_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    """It appears in a step that is compared; between two of those nobody would know."""
    caplog.set_level("INFO", "probae")

    def shift(net: Shifted, x: Tensor) -> Any:
        return pyro.param("late", zeros(DIM)) if net.step >= 8 else 0.0

    found = same_as_eager(shifted(shift), data=pairs.data(24), epochs=3, callbacks=Clock)
    assert (found.way, found.told) == ("trace", [])
    assert found.left["tensors"]["param.late"].abs().min() > 0
    assert sum(line.startswith("made trace") for line in caplog.messages) == 2


@pytest.mark.parametrize("name", ["in place", "from the store"])
def test_what_changes_in_place_is_followed(name: str) -> None:
    shifts: dict[str, Callable[[Shifted, Tensor], Any]] = {
        "in place": lambda net, x: net.kept,
        "from the store": lambda net, x: 0.1 * pyro.param("loc", ones(DIM)) + pyro.get_param_store()["loc"],
    }
    found = same_as_eager(shifted(shifts[name]), callbacks=Clock)
    assert (found.way, found.told) == ("trace", [])
