"""The laws of devices, for every model, on a pretend accelerator.

Nothing is made on the CPU by mistake, and no step of training makes the host wait.
"""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch

import probae as pb
from probae.engine.run import Run
from probae.errors import NoLikelihoodError
from probae.models.base import Model
from tests.accelerator import FAR, accelerator
from tests.contracts.models import CASES, Case
from tests.contracts.test_laws import outputs

AIS = {"num_chains": 4, "num_temperatures": 5, "progress": False}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Model:
    return case.make()


def train(case: Case, model: Model, count: int, **settings: Any) -> Run:
    """An epoch, in steps of eight examples."""
    settings |= {"optimizer": torch.optim.SGD, "learning_rate": 1e-6, "device": FAR, "progress": False}
    return model.fit(case.data[:count], epochs=1, batch_size=8, seed=0, **settings)


def test_it_trains_and_answers_there(case: Case, model: Model, tmp_path: Path) -> None:
    with accelerator():
        train(case, model, 24, valid=case.data[24:32])
        assert all(tensor.device == FAR for tensor in (*model.parameters(), *model.buffers()))
        x, *y = case.batch(5)
        found = outputs(case, model, x.to(FAR), *(labels.to(FAR) for labels in y))
        score = found.pop("score")
        assert score.isfinite()
        assert all(tensor.device == FAR for tensor in (*found.values(), model.embed(x, *y), model.reconstruct(x, *y)))
        if isinstance(model, (pb.RBM, pb.ClassRBM)):
            model.log_partition(method="ais", **AIS)
        else:
            likelihood(case, model)
        there = pb.load(model.save(tmp_path / "model"), device=FAR, **case.own())
        assert all(tensor.device == FAR for tensor in there.parameters())
    assert all(tensor.device.type == "cpu" for tensor in pb.load(tmp_path / "model", **case.own()).parameters())


def likelihood(case: Case, model: Model) -> None:
    data = case.data[:6]
    if not case.likelihood:
        with pytest.raises(NoLikelihoodError):
            model.log_likelihood(data)
        return
    settings = {} if isinstance(model, pb.ProbabilisticPCA) else {"num_samples": 20, "progress": False}
    found = model.log_likelihood(data, **settings)
    assert found.per_example is not None
    assert found.per_example.isfinite().all()


def test_its_steps_wait_for_nothing(case: Case, model: Model) -> None:
    """A run of twice as many steps, beginning to end, waits no more often."""
    waits = [waits_of(case, copy.deepcopy(model), count) for count in (24, 48)]
    assert waits[0] == waits[1]


def waits_of(case: Case, model: Model, count: int) -> Counter[str]:
    pyro.set_rng_seed(0)
    with accelerator() as counts:
        train(case, model, count)
    return counts.waits
