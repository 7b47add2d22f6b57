"""The pseudo-likelihood against enumeration, for bits and categories beside hidden units of all kinds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import HIDDEN_UNITS, VISIBLE_UNITS, make_units
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.evaluation.pseudo_likelihood import conditional_log_probs, pseudo_log_likelihood

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""

HIDDEN: dict[str, Any] = {
    "bits": "bernoulli",
    "categories": {"name": "categorical", "num_categories": 3},
    "normal": {"name": "gaussian", "scale": 0.6},
    "truncated": "relu",
}


def machine_of(visible: Any = "bernoulli", hidden: Any = "bernoulli", size: int = 6, scale: float = 0.7):
    generator = torch.Generator().manual_seed(0)
    theta = [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((size, 3), size, 3)]
    sides = make_units("visible", visible, VISIBLE_UNITS, size), make_units("hidden", hidden, HIDDEN_UNITS, 3)
    return RestrictedBoltzmann(*theta, visible=sides[0], hidden=sides[1])


def values_of(machine: RestrictedBoltzmann) -> Tensor:
    assert machine.visible.num_states is not None
    return machine.visible.states(torch.arange(machine.visible.num_states))


def by_enumeration(machine: RestrictedBoltzmann) -> Tensor:
    """log p(v_i | rest) of each unit of each state, (S, units), from the probabilities of all states."""
    values, categories = values_of(machine), getattr(machine.visible, "num_categories", 1)
    mass = (-machine.free_energy(values)).exp().detach()
    keys = [tuple(row) for row in values.tolist()]
    columns = []
    for i in range(0, values.shape[1], categories):
        rest = [(*key[:i], *key[i + categories :]) for key in keys]
        sums = dict.fromkeys(rest, 0.0)
        for key, share in zip(rest, mass.tolist(), strict=True):
            sums[key] += share
        columns.append((mass / torch.tensor([sums[key] for key in rest], dtype=mass.dtype)).log())
    return torch.stack(columns, -1)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("visible", ["bits", "categories"])
def test_all_units_together_are_exact(visible: str, hidden: str) -> None:
    kind = {"bits": "bernoulli", "categories": {"name": "categorical", "num_categories": 2}}[visible]
    machine = machine_of(kind, HIDDEN[hidden])
    for count in (6, 99):
        got = pseudo_log_likelihood(machine, values_of(machine), num_units=count)
        torch.testing.assert_close(got, by_enumeration(machine).sum(1), rtol=0, atol=1e-9)
    if visible == "bits":
        torch.testing.assert_close(conditional_log_probs(machine, values_of(machine)), by_enumeration(machine))


@pytest.mark.parametrize(("categories", "size"), [(3, 6), (5, 5), (2, 8)])
def test_categories_of_several_values(categories: int, size: int) -> None:
    machine = machine_of({"name": "categorical", "num_categories": categories}, size=size, scale=1.5)
    got = pseudo_log_likelihood(machine, values_of(machine), num_units=size)
    torch.testing.assert_close(got, by_enumeration(machine).sum(1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("visible", ["bernoulli", {"name": "categorical", "num_categories": 2}])
@pytest.mark.parametrize("count", [1, 2])
def test_it_is_unbiased(visible: Any, count: int) -> None:
    """t-tests over 4,000 draws for each of eight examples."""
    machine = machine_of(visible)
    v, wanted = values_of(machine)[-8:], by_enumeration(machine).sum(1)[-8:]
    torch.manual_seed(0)
    draws = torch.stack([pseudo_log_likelihood(machine, v, num_units=count) for _ in range(4000)])
    z = (draws.mean(0) - wanted) / (draws.std(0) / len(draws) ** 0.5)
    assert z.abs().max() < stats.t.isf(FALSE_ALARM / (2 * z.numel()), len(draws) - 1)


def test_a_batch_uses_each_unit_equally() -> None:
    """Six equal examples get all six bits between them, so that their mean is exact."""
    machine = machine_of()
    v = values_of(machine)[[11]].expand(6, 6)
    mean = pseudo_log_likelihood(machine, v, num_units=1).mean()
    torch.testing.assert_close(mean, by_enumeration(machine)[11].sum(), rtol=0, atol=1e-9)


def test_what_makes_no_sense_is_named() -> None:
    machine = machine_of()
    for v in (torch.zeros(2, 4), torch.full((2, 6), 0.5)):
        with pytest.raises(DataError, match=r"^v: "):
            pseudo_log_likelihood(machine, v)
    with pytest.raises(ArgumentError, match=r"^num_units: "):
        pseudo_log_likelihood(machine, torch.zeros(2, 6), num_units=0)
    with pytest.raises(NoLikelihoodError, match="bits and categorical"):
        pseudo_log_likelihood(machine_of("gaussian"), torch.zeros(2, 6))


def test_large_machines_of_categories_are_watched_by_it() -> None:
    """And bits whose hidden units are none: the monitor is the mean over the examples, whatever unit each got."""
    torch.manual_seed(0)
    x = torch.nn.functional.one_hot(torch.randint(4, (500, 15)), 4).flatten(1).float()
    rbm = pb.RBM(60, 26, {"name": "categorical", "num_categories": 4})
    run = rbm.fit(x, valid=x, epochs=3, seed=0)
    found = run.history["valid_pseudo_likelihood"]
    assert found[0] < -15
    all_units = pseudo_log_likelihood(rbm.distribution(), x, num_units=15)
    assert abs(found[-1] - float(all_units.mean())) < 6 * 15 * 0.7 / 500**0.5
    assert pb.RBM(60, 40, hidden="relu").monitor().name == "pseudo_likelihood"
    assert pb.RBM(60, 40, "relu").monitor().name == "reconstruction"
