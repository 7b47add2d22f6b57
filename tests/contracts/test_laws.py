"""The laws that every model obeys, one test a law; the models are in `models.py`.

What is random here is seeded, so that no test fails by chance.
"""

from __future__ import annotations

import copy
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import probae as pb
from probae.engine.batches import Batch
from probae.engine.programs import Programs
from probae.engine.run import Run
from probae.errors import ArgumentError, DataError, NoLikelihoodError, NotPreparedError
from probae.evaluation.estimate import Estimate
from probae.inference.traces import sample_sites
from probae.models.base import Model
from tests.contracts.models import CASES, CODES, GREY, SHAPE, SIZE, Case


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Model:
    return case.make()


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0, equal_nan=True, msg=f"{name} differs")


def assert_all_changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert not [name for name in before if torch.equal(before[name], after[name])]


def train_with_pyro(case: Case, model: Model, count: int = 20, loss: Any = None, steps: int = 2) -> float:
    optimizer = pyro.optim.Adam({"lr": 1e-3})
    model.train()
    loss = loss or (case.pyro_loss(max_plate_nesting=1) if case.pyro_loss else model.objective())
    svi = SVI(model.model, model.guide, optimizer, loss=loss)
    batch = (x.to(model.dtype) if x.is_floating_point() else x for x in case.batch(count))
    return [svi.step(*args) for args in [tuple(batch)] for _ in range(steps)][-1]


def outputs(case: Case, model: Model, x: Tensor, *y: Tensor) -> dict[str, Tensor]:
    """What the verbs of a model say, under fixed noise."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        with model.evaluating():
            score = model.monitor().evaluate([Batch((x, *y), {})])
        found = {"embed": model.embed(x, *y), "reconstruct": model.reconstruct(x, *y), "score": score}
        return found | ({"sample": model.sample(3)} if case.samples else {})


def test_it_is_final_and_exported(model: Model) -> None:
    assert getattr(type(model), "__final__", False)
    assert type(model).__name__ in pb.__all__
    assert not inspect.isabstract(type(model))


def test_it_is_a_pair_of_pyro_callables(case: Case, model: Model) -> None:
    x, *y = case.batch(5)
    for shaped in (x, x.reshape(5, *SHAPE)):
        guide = poutine.trace(model.guide).get_trace(shaped, *y)
        trace = poutine.trace(poutine.replay(model.model, guide)).get_trace(shaped, *y)
        assert torch.equal(trace.nodes["x"]["value"], x)
        sizes = {name: site["value"].shape for name, site in sample_sites(trace) if not site["is_observed"]}
        wanted = case.latent or ({"z": (CODES,)} if sizes else {})
        assert sizes == {name: (5, *size) for name, size in wanted.items()}
    labels = torch.zeros(5, dtype=torch.long)
    poutine.trace(model.guide).get_trace(x, labels, mask=None, lengths=None, num_examples=5)


def test_verbs_take_both_shapes(case: Case, model: Model) -> None:
    x, *y = case.batch(5)
    flat, shaped = outputs(case, model, x, *y), outputs(case, model, x.reshape(5, *SHAPE), *y)
    assert_equal(flat, shaped)
    assert flat["embed"].shape == (5, CODES)
    assert flat["reconstruct"].shape == (5, SIZE)
    for data in (case.data[:5], x.numpy(), x.double()):
        torch.testing.assert_close(model.embed(data, *y), flat["embed"], rtol=0, atol=0)
    assert not any(tensor.requires_grad for tensor in flat.values())
    if case.samples:
        assert flat["sample"].shape == (3, SIZE)
        model.check("sample", model.sample(3))


def test_verbs_leave_no_trace(case: Case, model: Model) -> None:
    model.prepare(case.data)
    before = state(model)
    model.train()
    outputs(case, model, *case.batch(5))
    assert_equal(state(model), before)
    assert all(part.training for part in model.modules())
    assert not dict(pyro.get_param_store())


def test_it_generates_without_data_or_says_why_not(case: Case, model: Model) -> None:
    if not case.samples:
        for generate in (model.model, model.sample):
            with pytest.raises((NoLikelihoodError, NotPreparedError), match="prior"):
                generate()
        return
    assert model.model(num_examples=3).shape == (3, SIZE)
    assert model.model().shape == (1, SIZE)


def test_every_parameter_gets_a_gradient(case: Case, model: Model) -> None:
    """In the second step at the latest: a flow that starts as the identity has nothing to tell its first layers."""
    optimizer, objective = torch.optim.SGD(model.parameters(), lr=1e-4), model.objective()
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        objective(model.model, model.guide, *case.batch(64)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_same_seed_gives_the_same_model(case: Case) -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(state(case.make()))
    assert_equal(*made)


def test_the_same_seed_gives_the_same_training(case: Case, model: Model) -> None:
    """Recorded too, bit by bit: of five recorded steps two are not compared with eager ones by the engine itself."""
    twin, settings = copy.deepcopy(model), {**case.fit, "epochs": 2, "batch_size": 16, "seed": 1}
    model.fit(case.data[:48], **settings, compile="eager")
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert twin.fit(case.data[:48], **settings, compile="trace").compile == "trace"
    assert torch.equal(torch.get_rng_state(), before), "a seeded fit moves the global random state"
    assert_equal(state(model), state(twin))


class StopAfter(pb.Callback):
    """Ends a run in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, training: Any) -> None:
        if training.step == self.steps:
            training.stop("test")


def test_an_interrupted_run_continues_exactly(case: Case, model: Model) -> None:
    settings = {**case.fit, "epochs": 3, "batch_size": 16, "seed": 1}
    data, valid = case.data[:50], case.data[50:70]
    torch.manual_seed(4)
    half, fresh = copy.deepcopy(model), case.make()
    whole = model.fit(data, valid=valid, **settings)
    part = half.fit(data, valid=valid, callbacks=[StopAfter(6)], **settings)
    file = io.BytesIO()
    torch.save(part.state, file)
    file.seek(0)
    resumed = fresh.fit(data, valid=valid, resume=torch.load(file, weights_only=True), **settings)
    assert_equal(state(fresh), state(model))
    assert columns(resumed) == columns(whole)


def columns(run: Run) -> dict[str, Any]:
    return {name: column for name, column in run.history.items() if name != "seconds"}


def test_it_ends_in_evaluation_mode(case: Case, model: Model) -> None:
    model.fit(case.data[:20], epochs=1)
    assert not any(part.training for part in model.modules())


def test_training_improves_the_monitor(case: Case, model: Model) -> None:
    model.prepare(case.data)  # so that the mean alone does not count as learned
    before = outputs(case, model, *case.batch(case.valid))["score"]
    run = model.fit(case.data, valid=case.valid, seed=0, **case.fit)
    assert outputs(case, model, *case.batch(case.valid))["score"] > before + 0.5
    assert run.monitor == model.monitor().name
    assert f"valid_{run.monitor}" in run.history


def test_a_second_fit_continues(case: Case, model: Model) -> None:
    model.fit(case.data[:50], **{**case.fit, "epochs": 1}, seed=0)
    before = parameters(model)
    model.prepare(case.data[100:])
    model.fit(case.data[50:100], epochs=1, learning_rate=0.0, seed=0)
    assert_equal(parameters(model), before)


def data_of_each_kind(x: Tensor, y: Tensor, labelled: bool) -> dict[str, Any]:
    with_labels = {
        "pair": (x, y), "float64": (x.double(), y), "arrays": (x.numpy(), y.numpy()), "torch data set":
        TensorDataset(x, y), "shaped": (x.reshape(-1, *SHAPE), y), "data set": pb.data.Dataset(x, y),
        "data set and labels": (pb.data.Dataset(x), y), "mapping": {"x": x, "y": y},
    }  # fmt: skip
    without = {
        "array": x.numpy(), "float64 alone": x.double(), "torch data set alone": TensorDataset(x),
        "data set alone": pb.data.Dataset(x), "mapping alone": {"x": x},
    }  # fmt: skip
    return with_labels | ({} if labelled else without)


def test_any_kind_of_data_trains_alike(case: Case, model: Model) -> None:
    x, y = case.data.tensor[:40], case.data[:40].labels
    assert y is not None
    twins = {kind: copy.deepcopy(model) for kind in data_of_each_kind(x, y, case.labelled)}
    plain = case.batch(40) if case.labelled else x
    model.fit(plain, valid=plain, epochs=1, batch_size=16, seed=0)
    for kind, data in data_of_each_kind(x, y, case.labelled).items():
        twins[kind].fit(data, valid=data, epochs=1, batch_size=16, seed=0)
        assert_equal(state(twins[kind]), state(model))


def test_a_stream_of_batches_trains(case: Case, model: Model) -> None:
    before = parameters(model)
    model.fit(DataLoader(TensorDataset(*case.batch(40)), batch_size=16), epochs=1, seed=0)
    assert_all_changed(before, parameters(model))


@pytest.mark.parametrize("count", [1, 5])
def test_single_examples_and_odd_batches(case: Case, model: Model, count: int) -> None:
    own = {name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm1d)}
    if count == 1 and own:
        pytest.skip("batch normalization itself cannot train on one example")
    data = case.data[:count]
    model.fit(data if not own else case.data[:6], valid=data, epochs=1, batch_size=4 if own else 2, seed=0)
    assert all(tensor.isfinite().all() for tensor in model.parameters())
    assert all(tensor.isfinite().all() for tensor in outputs(case, model, *case.batch(1)).values())


@pytest.mark.parametrize("particles", [1, 5])
@pytest.mark.parametrize("ours", [False, True], ids=["Pyro", "objective"])
def test_pyro_trains_it(case: Case, model: Model, ours: bool, particles: int) -> None:
    before = parameters(model)
    if ours:
        loss: Any = model.objective()
        loss.num_particles = particles
    elif case.pyro_loss is None:
        pytest.skip("no loss of Pyro's trains its discriminator")
    else:
        loss = case.pyro_loss(num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
    assert np.isfinite(train_with_pyro(case, model, loss=loss))
    assert_all_changed(before, parameters(model))


def test_a_second_instance_trains_too(case: Case, model: Model) -> None:
    second = case.make()
    train_with_pyro(case, model)
    first, before = state(model), parameters(second)
    train_with_pyro(case, second)
    assert_all_changed(before, parameters(second))
    assert_equal(state(model), first)


def test_a_copy_trains_independently(case: Case, model: Model) -> None:
    train_with_pyro(case, model)
    twin = copy.deepcopy(model)
    first, before = state(model), parameters(twin)
    assert_equal(state(twin), first)
    train_with_pyro(case, twin)
    assert_all_changed(before, parameters(twin))
    assert_equal(state(model), first)
    second = state(twin)
    train_with_pyro(case, model)
    assert_all_changed({name: first[name] for name in before}, parameters(model))
    assert_equal(state(twin), second)


def test_engine_and_pyro_find_the_same_parameters(case: Case, model: Model) -> None:
    found = {id(parameter) for parameter in Programs(model.model, model.guide, model.objective()).parameters()}
    train_with_pyro(case, model)
    stored = {id(leaf) for _, leaf in pyro.get_param_store().named_parameters()}
    assert found == stored == {id(parameter) for parameter in model.parameters()}


def test_double_precision(case: Case, model: Model) -> None:
    model.double().fit(case.data[:40], valid=case.data[40:50], epochs=1, seed=0)
    x, *y = case.batch(5)
    found = outputs(case, model, x.double(), *y)
    assert all(tensor.dtype == torch.float64 for tensor in (*model.parameters(), *found.values()))
    assert np.isfinite(train_with_pyro(case, model, count=5))
    if case.likelihood:
        assert judge(model, case.data[:5].to(dtype=torch.float64)).value > -float("inf")


def judge(model: Model, x: Any, **labels: Tensor) -> Estimate:
    with pyro.validation_enabled(False):
        settings: Any = labels if isinstance(model, (pb.RBM, pb.ClassRBM)) else {"num_samples": 50, **labels}
        return model.log_likelihood(x, **settings)


def test_it_has_an_honest_likelihood_or_says_why_not(case: Case, model: Model) -> None:
    model.fit(case.data[:50], epochs=1, seed=0)
    if not case.likelihood:
        with pytest.raises(NoLikelihoodError, match="Delta"):
            model.log_likelihood(case.data)
        return
    estimate = judge(model, case.data[10:20])
    assert estimate.per_example is not None
    assert estimate.per_example.shape == (10,)
    assert estimate.per_example.dtype == torch.float64
    assert estimate.value == pytest.approx(estimate.per_example.mean().item(), rel=1e-12)
    assert estimate.direction in ("exact", "lower", "upper")
    assert str(estimate.protocol).startswith(str(case.data.protocol))
    x, *y = case.batch(case.data[10:20])
    labels = {"y": y[0]} if y and case.latent is None else {}  # where they are a condition
    bare = judge(model, x.reshape(-1, *SHAPE), **labels)
    assert estimate.value == bare.value
    assert str(bare.protocol).startswith("unknown data")


def test_examples_turned_inside_out_are_stranger(case: Case, model: Model) -> None:
    model.fit(case.data, seed=0, **case.fit)
    x, *y = case.batch(20)
    before, given = torch.get_rng_state(), y if case.latent is None else []
    with pyro.validation_enabled(False):  # as in `judge`
        scores, strange = model.anomaly_score(x, *given), model.anomaly_score(1 - x, *given)
        assert torch.equal(model.anomaly_score(x.reshape(-1, *SHAPE), *given), scores)
    assert torch.equal(torch.get_rng_state(), before)
    assert scores.shape == (20,)
    assert scores.dtype == model.dtype
    assert not scores.requires_grad
    assert strange.mean() > scores.mean() + 1


def test_maps_say_where_examples_are_strange_or_why_not(case: Case, model: Model) -> None:
    model.fit(case.data, seed=0, **case.fit)
    x, *y = case.batch(20)
    maps = anomaly_map(model, x, *y)
    if maps is None:
        return
    assert maps.shape == (20, SIZE)
    assert maps.dtype == model.dtype
    assert not maps.requires_grad
    assert model.anomaly_map(1 - x, *y).mean() > maps.mean()
    if "method" in inspect.signature(model.anomaly_score).parameters:
        torch.testing.assert_close(maps.sum(1), model.anomaly_score(x, *y, method="reconstruction"))


def anomaly_map(model: Model, *batch: Tensor) -> Tensor | None:
    """The maps, or None where the model says that it has no likelihood of single dimensions."""
    try:
        return model.anomaly_map(*batch)
    except (ArgumentError, NoLikelihoodError) as error:
        if "likelihood" not in str(error):
            raise
    return None


def test_save_and_load(case: Case, model: Model, tmp_path: Path) -> None:
    model.fit(case.data[:50], epochs=1, seed=0)
    for twin_of in (model, copy.deepcopy(model).double()):
        own, before = case.own(), torch.get_rng_state()
        twin = pb.load(twin_of.save(tmp_path / "model"), **own)
        assert type(twin) is type(model)
        assert not any(part.training for part in twin.modules())
        assert torch.equal(torch.get_rng_state(), before), "loading moves the global random state"
        assert_equal(state(twin), state(twin_of))
        x, *y = case.batch(5)
        x = x.to(twin_of.dtype)
        assert_equal(outputs(case, twin, x, *y), outputs(case, twin_of, x, *y))
        assert json.loads(json.dumps(twin.config)) == twin.config == model.config


def test_it_survives_pickling(case: Case, model: Model) -> None:
    """For worker processes and scikit-learn's tools; what comes from elsewhere is for `pb.load`."""
    model.fit(case.data[:50], epochs=1, seed=0)
    twin, before = pickle.loads(pickle.dumps(model)), state(model)
    assert_equal(state(twin), before)
    assert_equal(outputs(case, twin, *case.batch(5)), outputs(case, model, *case.batch(5)))
    twin.fit(case.data[:50], **{**case.fit, "epochs": 1}, seed=0)
    assert_equal(state(model), before)
    assert any(not torch.equal(part, before[name]) for name, part in state(twin).items())


def test_its_configuration_rebuilds_it(case: Case, model: Model) -> None:
    torch.manual_seed(0)
    one = case.make()
    own = {name: getattr(one, name) for name in case.own()}
    twin = type(one)(**one.config, **own)
    assert twin.config == one.config
    assert {n: t.shape for n, t in state(twin).items()} == {n: t.shape for n, t in state(one).items()}


def test_load_in_a_new_process(tmp_path: Path) -> None:
    """All models at once: a new interpreter takes seconds."""
    wanted: dict[str, Tensor] = {}
    for index, (name, case) in enumerate(CASES.items()):
        torch.manual_seed(index)
        model = case.make().eval()
        model.save(tmp_path / str(index))
        wanted[name] = model.embed(*case.batch(5))
    script = """
import sys, torch, probae
from tests.contracts.models import CASES
found = {}
for index, (name, case) in enumerate(CASES.items()):
    model = probae.load(f"{sys.argv[1]}/{index}", **case.own())
    found[name] = model.embed(*case.batch(5))
torch.save(found, sys.argv[1] + "/found.pt")
"""
    root = Path(__file__).parents[2]
    settings = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, env=settings, check=True)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    torch.testing.assert_close(found, wanted)


def test_its_repr_says_what_it_is(model: Model) -> None:
    shown = repr(model)
    assert shown.startswith(type(model).__name__ + "(")
    assert all(f"{name}={value!r}" in shown for name, value in model.config.items())


BAD: dict[str, Callable[[Tensor], Any]] = {
    "NaN": lambda x: x.index_fill(0, torch.tensor([3]), torch.nan),
    "infinity": lambda x: x.index_fill(0, torch.tensor([3]), torch.inf),
    "no examples": lambda x: x[:0],
    "another size": lambda x: x[:, :-1],
    "another shape": lambda x: x.reshape(-1, 4, 16),
    "one example without its dimension": lambda x: x[0],
    "integers": lambda x: x.long(),
    "an array of integers": lambda x: (255 * x).numpy().astype("uint8"),
}
DOORS: dict[str, tuple[str, Callable[[Model, Any, Any], Any]]] = {
    "fit": ("data", lambda model, bad, good: model.fit(bad, epochs=1)),
    "fit on a pair": ("data", lambda model, bad, good: model.fit((bad, good), epochs=1)),
    "validation": ("valid", lambda model, bad, good: model.fit(good, valid=bad, epochs=1)),
    "prepare": ("data", lambda model, bad, good: model.prepare(bad)),
    "embed": ("x", lambda model, bad, good: model.embed(bad)),
    "reconstruct": ("x", lambda model, bad, good: model.reconstruct(bad)),
    "log_likelihood": ("data", lambda model, bad, good: model.log_likelihood(bad)),
    "anomaly_score": ("x", lambda model, bad, good: model.anomaly_score(bad)),
    "anomaly_map": ("x", lambda model, bad, good: model.anomaly_map(bad)),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
def test_bad_data_is_refused_before_anything_changes(case: Case, model: Model, door: tuple[str, Any]) -> None:
    argument, use = door
    before, noise, good = state(model), torch.get_rng_state(), case.data.tensor[:10]
    bad = {name: spoil(good) for name, spoil in BAD.items()}
    rest = case.batch(10) if case.labelled else good
    if case.data is not GREY:
        bad["grey values"] = 0.5 * good
        bad["grey data set"] = GREY[:10]
    for name, value in bad.items():
        with pytest.raises(DataError) as caught:
            use(model, value, rest)
        assert str(caught.value).startswith(f"{argument}: expected "), name
        assert caught.value.argument == argument
    assert_equal(state(model), before)
    assert torch.equal(torch.get_rng_state(), noise)


def test_bad_batches_of_a_stream_are_refused_by_the_first_step(case: Case, model: Model) -> None:
    good, *y = case.batch(10)
    bad: dict[str, Any] = {name: spoil(good) for name, spoil in BAD.items() if "array" not in name}
    bad |= {"a list": "x"} if case.data is GREY else {"grey values": 0.5 * good}
    for name, x in bad.items():
        for train in (model.fit, lambda data, **s: pb.fit(model.model, model.guide, data, **s)):
            with pytest.raises(DataError) as caught:
                train([(x, *y)], epochs=1)
            assert str(caught.value).startswith("x: expected "), name
