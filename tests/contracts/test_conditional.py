"""The laws of `test_laws.py` for models of labels given examples: no site "x", nothing that is coded and restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import probae as pb
from probae.engine.batches import Batch
from probae.errors import DataError
from probae.inference.traces import sample_sites
from probae.models.base import Model
from tests.contracts import test_laws
from tests.contracts.models import CODES, GREY, SHAPE, SIZE, Case
from tests.contracts.test_laws import BAD, DOORS, assert_equal, state


def own_encoder() -> dict[str, nn.Module]:
    return {"encoder": nn.Sequential(nn.Linear(SIZE, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, CODES))}


def labelled(make: Callable[[], Model], **known: Any) -> Case:
    return Case(make, GREY, labelled=True, samples=False, **known)


CASES: dict[str, Case] = {
    "Classifier": labelled(lambda: pb.Classifier(SHAPE, 2, (16, CODES))),
    "Classifier tanh, dropout": labelled(lambda: pb.Classifier(SHAPE, 2, CODES, activation="tanh", dropout=0.2)),
    "Classifier convolutional": labelled(lambda: pb.Classifier(SHAPE, 2, CODES, network="conv")),
    "Classifier own encoder": labelled(lambda: pb.Classifier(SHAPE, 2, CODES, **own_encoder()), own=own_encoder),
    "Classifier on a VAE": labelled(lambda: pb.VAE(SHAPE, CODES, 16).classifier(2)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Model:
    return case.make()


@pytest.fixture(autouse=True)
def _verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_laws, "outputs", outputs)


def outputs(case: Case, model: Any, x: Tensor, *y: Tensor) -> dict[str, Tensor]:
    """What the verbs of a classifier say."""
    with model.evaluating():
        score = model.monitor().evaluate([Batch((x, *y), {})])
    return {"embed": model.embed(x), "classify": model.classify(x).probs, "score": score}


OTHERWISE = {
    "test_it_is_a_pair_of_pyro_callables", "test_verbs_take_both_shapes", "test_load_in_a_new_process",
    "test_bad_data_is_refused_before_anything_changes", "test_examples_turned_inside_out_are_stranger",
    "test_maps_say_where_examples_are_strange_or_why_not",
}  # fmt: skip
globals().update({n: law for n, law in vars(test_laws).items() if n.startswith("test_") and n not in OTHERWISE})


def test_it_is_a_pair_of_pyro_callables(case: Case, model: Model) -> None:
    x, y = case.batch(5)
    for shaped in (x, x.reshape(5, *SHAPE)):
        assert not list(sample_sites(poutine.trace(model.guide).get_trace(shaped, y)))
        trace = poutine.trace(model.model).get_trace(shaped, y)
        assert [name for name, _ in sample_sites(trace)] == ["y"]
        assert torch.equal(trace.nodes["y"]["value"], y)
    poutine.trace(model.model).get_trace(x, y, mask=None, lengths=None, num_examples=5)
    assert model.model(x).shape == (5,)


def test_verbs_take_both_shapes(case: Case, model: Model) -> None:
    x, y = case.batch(5)
    flat, shaped = outputs(case, model, x, y), outputs(case, model, x.reshape(5, *SHAPE), y)
    assert_equal(flat, shaped)
    assert flat["embed"].shape == (5, CODES)
    assert flat["classify"].shape == (5, 2)
    for data in (case.data[:5], x.numpy(), x.double()):
        torch.testing.assert_close(model.embed(data), flat["embed"], rtol=0, atol=0)
    assert not any(tensor.requires_grad for tensor in flat.values())


VERBS: dict[str, tuple[str, Callable[[Any, Any, Any], Any]]] = {
    **{name: door for name, door in DOORS.items() if name not in ("reconstruct", "anomaly_score", "anomaly_map")},
    "classify": ("x", lambda model, bad, good: model.classify(bad)),
    "predict": ("x", lambda model, bad, good: model.predict(bad)),
    "error_rate": ("data", lambda model, bad, good: model.error_rate((bad, good[1]))),
}


@pytest.mark.parametrize("door", VERBS.values(), ids=VERBS.keys())
def test_bad_data_is_refused_before_anything_changes(case: Case, model: Model, door: tuple[str, Any]) -> None:
    argument, use = door
    before, noise, good = state(model), torch.get_rng_state(), case.batch(10)
    for name, spoil in BAD.items():
        with pytest.raises(DataError) as caught:
            use(model, spoil(good[0]), good)
        assert str(caught.value).startswith(f"{argument}: expected "), name
    assert_equal(state(model), before)
    assert torch.equal(torch.get_rng_state(), noise)
