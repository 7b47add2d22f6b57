"""The clock of training steps."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from probae.inference import stepping
from tests.inference.zoo import param


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)


def test_a_step_of_a_foreign_optimizer_ends_a_step() -> None:
    sgd, before = optimizer(), stepping.now()
    assert stepping.now() == before
    sgd.step()
    assert stepping.now() == before + 1
    sgd.step()
    assert stepping.now() == before + 2


def test_a_step_of_pyro_ends_a_step() -> None:
    def model() -> None:
        pyro.sample("z", dist.Normal(param("a"), 1.0))

    def guide() -> None:
        pyro.sample("z", dist.Normal(param("b"), 1.0))

    svi, before = SVI(model, guide, pyro.optim.Adam({}), Trace_ELBO()), stepping.now()
    svi.evaluate_loss()
    assert stepping.now() == before
    svi.step()
    assert stepping.now() > before


def test_an_engines_step_ends_when_it_is_left() -> None:
    sgd, before = optimizer(), stepping.now()
    with stepping.training_step():
        sgd.step()
        assert stepping.now() == before
    assert stepping.now() == before + 1


def test_validation_under_an_engine_ends_no_step() -> None:
    sgd, before = optimizer(), stepping.now()
    with stepping.engine():
        with stepping.engine():
            sgd.step()
        sgd.step()
    assert stepping.now() == before
    sgd.step()
    assert stepping.now() == before + 1


def test_a_step_that_fails_ends_too() -> None:
    sgd, before = optimizer(), stepping.now()
    with pytest.raises(ValueError, match="no"), stepping.training_step():
        raise ValueError("no")
    assert stepping.now() == before + 1
    sgd.step()
    assert stepping.now() == before + 2


def test_by_hand() -> None:
    before = stepping.now()
    stepping.end_step()
    assert stepping.now() == before + 1


def stored() -> set[str]:
    return set(pyro.get_param_store().keys())


def test_in_a_foreign_loop_pyro_is_told_of_a_module() -> None:
    stepping.register("net", torch.nn.Linear(2, 1))
    assert stored() == {"net$$$weight", "net$$$bias"}


def test_an_engine_needs_not_be_told() -> None:
    for context in (stepping.engine, stepping.training_step):
        with context():
            stepping.register("net", torch.nn.Linear(2, 1))
    assert not stored()


def test_an_engine_that_asks_for_names_gets_them_and_its_step_ends() -> None:
    sgd, before, nets = optimizer(), stepping.now(), [torch.nn.Linear(2, 1) for _ in range(3)]
    with stepping.naming() as outer:
        stepping.register("first", nets[0])
        with stepping.naming() as inner:
            stepping.register("second", nets[1])
        stepping.register("third", nets[2])
        sgd.step()
    assert outer == [nets[0], nets[2]]
    assert inner == [nets[1]]
    assert stepping.now() == before + 2
    assert not stored()
    stepping.register("net", nets[0])
    assert stored()
