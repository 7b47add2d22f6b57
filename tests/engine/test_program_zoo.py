"""Programs of the kinds that Pyro's examples show train through `pb.fit` as in `pyro.infer.SVI`: 1e-5 after 20 steps.

Both see the same noise in all of them: a fit seeds torch's generator when it starts, looks at a pair without moving it,
and our ELBO without analytic KL terms draws site after site what Pyro's draws (also where sites are enumerated: in
which dimension the values of a label lie does not change the order of the draws). So nothing is left to chance here.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import ELBO, SVI, TraceMeanField_ELBO
from torch import Tensor

import probae as pb
from benchmarks.programs import PROGRAMS, SMALL, Pair, Program, together
from benchmarks.programs.program import location_and_scale, seeded
from benchmarks.programs.semi_supervised_vae import SemiSupervisedVAE, joined, labelled, unlabelled
from probae.engine.sources import batches as sourced

MODES = ("eager", "trace")
"""How `fit` runs its steps; each is held to the same numbers. (Compiled ones differ by rounding, which grows.)"""

STEPS, NOISE, DTYPE = 20, 7, torch.float64
MIXED = SMALL["semi_supervised_vae"]
CASES = {name: program for name, program in SMALL.items() if program is not MIXED}
CASES |= {"labelled": labelled(MIXED), "unlabelled": unlabelled(MIXED)}
"""What can be one recording. Labelled and unlabelled batches in turn have tests of their own."""
SAMPLED = [name for name, program in CASES.items() if not program.enumerates]
RUNS = [(name, mode) for name in CASES for mode in MODES if mode == "eager" or name in SMALL]
"""Each program in each mode; batches with and without labels are recorded further below, in turn."""

Numbers = tuple[dict[str, Tensor], list[float]]
"""The parameters after the last step, by name, and the mean loss per example of each epoch."""


@pytest.fixture
def recorded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values in a stream of batches are looked at in its first 200 steps, which run eagerly: here in two."""
    monkeypatch.setattr("probae.engine.training._UNSEEN", 2, raising=False)


def store() -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in pyro.get_param_store().items()}


def fresh(program: Program) -> tuple[Pair, list[Any]]:
    """A new pair, the only one in the store, and the batches of an epoch."""
    pyro.clear_param_store()
    return program.make(0, DTYPE), program.data(1, DTYPE)


def by_fit(program: Program, mode: str, objective: Any = None, steps: int = STEPS, noise: int = NOISE) -> Numbers:
    pair, batches = fresh(program)
    settings: dict[str, Any] = {"compile": mode} if "compile" in inspect.signature(pb.fit).parameters else {}
    run = pb.fit(
        *pair, together(batches),
        objective=pb.ELBO(analytic_kl=False, baseline=None) if objective is None else objective,
        epochs=steps // len(batches), batch_size=program.batch_size, learning_rate=program.learning_rate, seed=noise,
        progress=False, **settings,
    )  # fmt: skip
    assert getattr(run, "compile", mode) == mode
    return store(), run.history["train_loss"]


def by_svi(program: Program, objective: ELBO | None = None, steps: int = STEPS) -> Numbers:
    """Pyro's own loop. Adam's epsilon is not free of scale, so the loss is that of an example here too."""
    pair, batches = fresh(program)
    model, guide = (poutine.scale(part, scale=1 / program.examples) for part in pair)
    optimizer = pyro.optim.Adam({"lr": program.learning_rate})
    svi = SVI(model, guide, optimizer, program.elbo() if objective is None else objective)
    epochs = [in_order(program, batches, number) for number in range(steps // len(batches))]
    torch.manual_seed(NOISE)
    losses = [[svi.step(*batch) for batch in epoch] for epoch in epochs]
    return store(), [sum(epoch) / len(epoch) for epoch in losses]


def in_order(program: Program, batches: list[Any], epoch: int) -> list[Any]:
    """The arguments of each step in the order in which a fit takes the examples."""
    size, device = program.batch_size, torch.device("cpu")
    source = sourced("data", together(batches), batch_size=size, seed=NOISE, device=device)
    return [batch.args for batch in source.epoch(epoch)]


def initial(program: Program) -> dict[str, Tensor]:
    pair, batches = fresh(program)
    for part in pair:
        part(*batches[0])
    return store()


def assert_equal(found: Numbers, expected: Numbers) -> None:
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    assert found[0].keys() == expected[0].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, expected[0][name], rtol=1e-5, atol=1e-8, msg=name)


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_the_same_trajectory_as_svi(name: str, mode: str) -> None:
    found, before = by_fit(CASES[name], mode), initial(CASES[name])
    assert_equal(found, by_svi(CASES[name]))
    assert not [name for name, value in before.items() if torch.equal(found[0][name], value)], "all parameters train"


@pytest.mark.parametrize(("name", "mode"), [*((name, "eager") for name in SAMPLED), ("vae", "trace")])
def test_the_same_trajectory_with_analytic_kl_terms(name: str, mode: str) -> None:
    """All guides here sample parents first, and each KL term has a closed form: Pyro's mean-field objective agrees."""
    assert_equal(by_fit(CASES[name], mode, pb.ELBO()), by_svi(CASES[name], TraceMeanField_ELBO()))


@pytest.mark.parametrize("name", SMALL)
def test_the_same_trajectory_with_pyros_objective(name: str) -> None:
    """Eagerly: Pyro's objectives wait for numbers in each step."""
    assert_equal(by_fit(SMALL[name], "eager", SMALL[name].elbo()), by_svi(SMALL[name]))


@pytest.mark.parametrize("name", CASES)
def test_the_tolerance_tells_one_noise_from_another(name: str) -> None:
    one, other = by_fit(CASES[name], "eager"), by_fit(CASES[name], "eager", noise=NOISE + 1)
    apart = [(one[0][key] - other[0][key]).abs().max() / one[0][key].abs().max() for key in one[0]]
    assert min(apart) > 1e-4


@pytest.mark.usefixtures("recorded_soon")
@pytest.mark.parametrize("mode", MODES)
def test_labelled_and_unlabelled_batches_in_turn(mode: str) -> None:
    """Long enough for either kind to be recorded: the second one waits for 20 batches."""
    assert_equal(by_fit(MIXED, mode, steps=60), by_svi(MIXED, steps=60))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_full_size_trains_as_in_svi(name: str) -> None:
    """Two steps of what the benchmark times."""
    whole = PROGRAMS[name]
    program = replace(whole, data=lambda seed, dtype: whole.data(seed, dtype)[:2])
    assert_equal(by_fit(program, "eager", steps=2), by_svi(program, steps=2))


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_is_all_that_a_program_hangs_on(name: str) -> None:
    """Initial parameters and data come from their seeds; the global generator neither moves nor matters."""
    found = []
    for number in range(2):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        pair, batches = fresh(SMALL[name])
        assert torch.equal(torch.get_rng_state(), state)
        SMALL[name].elbo().loss(*pair, *batches[0])
        found.append((store(), batches))
    for key, value in found[0][0].items():
        assert torch.equal(value, found[1][0][key])
    for one, other in zip(*(batches for _, batches in found), strict=True):
        assert all(torch.equal(a, b) if a is not None else b is None for a, b in zip(one, other, strict=True))


# Parameters that only some batches show.


def in_branches(seed: int, dtype: torch.dtype) -> Pair:
    """The semi-supervised VAE as functions, which register the classifier where they use it: in unlabelled batches."""
    whole = seeded(seed, lambda: SemiSupervisedVAE(12, 3, 6, 2), dtype)
    classifier, encoder, decoder = whole.classifier, whole.encoder, whole.decoder

    def model(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.OneHotCategorical(logits=x.new_zeros(len(x), 3)), obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(joined(z, y))).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            if y is None:
                pyro.module("classifier", classifier)
                gain = pyro.param("gain", x.new_ones(()), constraint=dist.constraints.positive)
                label = dist.OneHotCategorical(logits=gain * classifier(x))
                y = pyro.sample("y", label, infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal(*location_and_scale(encoder(joined(x, y)))).to_event(1))

    return Pair(model, guide)


@pytest.mark.usefixtures("recorded_soon")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", ["labelled", "unlabelled"])
def test_parameters_that_only_some_batches_show(first: str, mode: str) -> None:
    """They train from the step on that brings them, and stay where a later step does not reach them.

    So they do in SVI where the modules that a batch does not use are not registered either.
    """

    def data(seed: int, dtype: torch.dtype) -> list[Any]:
        known, unknown = labelled(MIXED).data(seed, dtype), MIXED.data(seed, dtype)[1::2]
        return [*known, *unknown[:2], *known] if first == "labelled" else [unknown[0], *known, *unknown[:3]]

    program = replace(MIXED, make=in_branches, data=data)
    steps = (2 if mode == "eager" else 4) * len(program.data(1, DTYPE))  # the second kind waits for 20 batches
    assert_equal(by_fit(program, mode, steps=steps), by_svi(program, steps=steps))
