"""What all objectives share: schedules on the clock of training steps, pairs that they know, copies, state."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch import Tensor, nn

from probae.errors import ArgumentError
from probae.inference import stepping
from probae.inference.elbo import ELBO
from probae.inference.iwae import IWAE
from probae.inference.objective import Objective, Warmup, check_penalties
from probae.inference.traces import Structure, probe
from tests.inference import zoo
from tests.inference.zoo import Pair


def weights(warmup: Warmup, steps: int) -> list[float]:
    """What it says in each of several training steps, evaluated three times in each."""
    found = []
    for _ in range(steps):
        with stepping.training_step():
            values = {float(warmup()) for _ in range(3)}
        assert len(values) == 1
        found += values
    return found


def test_warmup_rises_once_a_training_step() -> None:
    assert weights(Warmup(2.0, steps=4), 6) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_no_warmup_is_the_number_itself() -> None:
    warmup = Warmup(0.3, steps=0)
    assert warmup() == 0.3
    assert not warmup.state_dict()


def test_warmup_is_over_in_eval_mode_and_does_not_move_there() -> None:
    warmup = Warmup(2.0, steps=4)
    assert weights(warmup, 1) == [0.5]
    warmup.eval()
    assert weights(warmup, 3) == [2.0] * 3
    warmup.train()
    assert weights(warmup, 1) == [1.0]


def test_warmup_is_saved() -> None:
    warmup, resumed = Warmup(2.0, steps=4), Warmup(2.0, steps=4)
    weights(warmup, 2)
    resumed.load_state_dict(warmup.state_dict())
    assert weights(resumed, 1) == weights(warmup, 1) == [1.5]


@pytest.mark.parametrize("particles", [{}, {"num_particles": 3}, {"num_particles": 3, "vectorize": False}])
def test_warmup_counts_steps_and_not_particles_in_foreign_loops(particles: dict[str, Any]) -> None:
    pair, objective = zoo.linear_vae(), ELBO(warmup=10, **particles)
    objective(pair.model, pair.guide, *pair.args)
    sgd = torch.optim.SGD([p for _, p in pyro.get_param_store().named_parameters()], lr=0.0)
    for step in range(3):
        assert objective.beta.steps_taken == step + 1
        objective(pair.model, pair.guide, *pair.args).backward()
        assert objective.beta.steps_taken == step + 1
        sgd.step()
        objective(pair.model, pair.guide, *pair.args)


def test_warmup_counts_steps_under_svi() -> None:
    """Pyro steps an optimizer for each parameter."""
    pair, objective = zoo.linear_vae(), ELBO(warmup=10, num_particles=2)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({}), loss=objective)
    for step in range(3):
        svi.step(*pair.args)
        assert objective.beta.steps_taken == step + 1


def test_warmup_weighs_the_kl_terms() -> None:
    pair = zoo.linear_vae()
    warming, fixed = ELBO(beta=2.0, warmup=8), ELBO(beta=0.5)
    losses = []
    with stepping.training_step():
        warming(pair.model, pair.guide, *pair.args)
    with stepping.training_step():
        for objective in (warming, fixed):
            objective(pair.model, pair.guide, *pair.args)
            pyro.set_rng_seed(1)
            losses.append(objective(pair.model, pair.guide, *pair.args))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)  # the schedule is in float32


def test_enumerated_elbo_warms_up() -> None:
    pair = zoo.enumerated_guide()
    warming, fixed = ELBO(warmup=4), ELBO(beta=0.25)
    losses = []
    for objective in (warming, fixed):
        objective(pair.model, pair.guide, *pair.args)
        pyro.set_rng_seed(1)
        losses.append(objective(pair.model, pair.guide, *pair.args))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)


# Pairs.


def test_a_pair_is_looked_at_once_and_the_noise_stays() -> None:
    calls = []

    def guide(x: Tensor) -> None:
        calls.append(x)
        pair.guide(x)

    pair, objective = zoo.linear_vae(), ELBO()
    pyro.set_rng_seed(1)
    first = objective(pair.model, guide, *pair.args)
    assert len(calls) == 2
    pyro.set_rng_seed(1)
    assert torch.equal(first, objective(pair.model, guide, *pair.args))
    assert len(calls) == 3


def test_a_prepared_objective_does_not_look() -> None:
    calls = []

    def guide(x: Tensor) -> None:
        calls.append(x)
        pair.guide(x)

    pair, objective = zoo.discrete(), ELBO()
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    objective.prepare(structure)
    assert "baselines.average_k" in objective.state_dict()
    objective(pair.model, guide, *pair.args)
    assert objective.structure is structure
    assert len(calls) == 1


def test_an_objective_that_is_prepared_again_forgets() -> None:
    objective, one, other = ELBO(), zoo.linear_vae(), zoo.nested()
    objective(one.model, one.guide, *one.args)
    structure, _, _ = probe(other.model, other.guide, other.args, {})
    objective.prepare(structure)
    objective(other.model, other.guide, *other.args)
    assert objective.structure is structure
    pyro.clear_param_store()
    objective(one.model, one.guide, *one.args)
    assert objective.structure != structure


class Program:
    """A pair with methods, which are new objects at each look."""

    def model(self, x: Tensor) -> None:
        zoo.linear_vae().model(x)

    def guide(self, x: Tensor) -> None:
        zoo.linear_vae().guide(x)


def test_methods_are_recognized_and_pairs_do_not_pile_up() -> None:
    program, objective, x = Program(), ELBO(), zoo.tensor(5, 3)
    for _ in range(3):
        objective(program.model, program.guide, x)
    assert len(objective._structures) == 1
    for _ in range(40):
        other = Program()
        objective(other.model, other.guide, x)
    assert len(objective._structures) <= 16


def test_a_copy_leaves_the_pair_behind() -> None:
    program, objective = Program(), ELBO(warmup=4)
    objective(program.model, program.guide, zoo.tensor(5, 3))
    twin, buffer = copy.deepcopy(objective), io.BytesIO()
    torch.save(objective, buffer)
    del objective
    ghost = weakref.ref(program)
    del program
    gc.collect()
    assert ghost() is None
    other = Program()
    twin(other.model, other.guide, zoo.tensor(5, 3))
    assert twin.beta.steps_taken == 1


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, batch: Any, guide_trace: Any) -> Tensor:
        return self.weight * batch.mean()


def test_a_copy_trains_its_own_parameters_under_svi() -> None:
    """Under one name in Pyro's store, the second one's parameters would silently not train."""
    pair, one = zoo.linear_vae(), ELBO(penalties=Shift())
    other = copy.deepcopy(one)
    for objective in (one, other):
        SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.1}), loss=objective).step(*pair.args)
        assert abs(objective.penalty_modules[0].weight.item()) > 0.05


def test_an_engine_that_finds_parameters_itself_needs_no_store() -> None:
    pair, objective = zoo.linear_vae(), ELBO(penalties=Shift())
    with stepping.engine():
        objective(pair.model, pair.guide, *pair.args)
    assert not any("objective" in name for name in pyro.get_param_store().keys())  # noqa: SIM118 (no dict)


def test_the_structure_of_a_pair() -> None:
    pair = zoo.discrete_subsampled()
    structure, _, _ = probe(pair.model, pair.guide, pair.args, {})
    assert structure == Structure(
        max_plate_nesting=1, enumerates=False, outer=(("data", -1),), subsampled=(("data", 8),),
        sampled=("z", "h"), scored=("h",), device=torch.device("cpu"),
    )  # fmt: skip
    assert structure.num_examples(pair.args, {}) == 8
    assert probe(*zoo.nested()[:3], {})[0].outer == ()


def test_a_first_look_moves_nothing() -> None:
    """Neither the random state nor a gradient, and Pyro's handlers outside see nothing of it."""
    pair = zoo.linear_vae()
    before = torch.get_rng_state()
    with pyro.poutine.trace() as outside:
        probe(pair.model, pair.guide, pair.args, {})
    assert torch.equal(before, torch.get_rng_state())
    assert not outside.trace.nodes


def test_the_number_of_examples() -> None:
    structure, _, _ = probe(*zoo.linear_vae()[:3], {})
    assert structure.num_examples((zoo.tensor(5, 3),), {}) == 5
    assert structure.num_examples((), {"n": 3, "x": zoo.tensor(7)}) == 7
    assert structure.num_examples((), {}) == 1


# A new one.


class LogVariance(Objective):
    """Richter et al. 2020: the variance over particles of log p - log q; the recipe in `Objective`'s docstring."""

    def loss(self, model: Any, guide: Any, args: Any, kwargs: Any, structure: Structure) -> Tensor:
        self.seen = structure
        return zoo.ones().requires_grad_()


def test_a_new_objective_needs_a_loss_alone() -> None:
    pair, objective = zoo.linear_vae(), LogVariance(num_particles=4)
    assert objective(pair.model, pair.guide, *pair.args) == 1.0
    assert objective.seen.max_plate_nesting == 1
    with pytest.raises(TypeError, match="abstract"):
        Objective()  # type: ignore[abstract]


def test_penalties_are_callables() -> None:
    assert check_penalties(abs) == (abs,)
    assert check_penalties([abs, len]) == (abs, len)
    assert check_penalties(()) == ()
    for wrong in (3, "l1", [3]):
        with pytest.raises(ArgumentError, match=r"^penalties: expected"):
            check_penalties(wrong)


def test_keyword_arguments_reach_model_and_guide() -> None:
    def model(*, x: Tensor, scale: float) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zoo.zeros(), 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(*, x: Tensor, scale: float) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, scale))

    for objective in (ELBO(), ELBO(3), IWAE(3), IWAE(3, "dreg"), IWAE(2, vectorize=False)):
        assert objective(model, guide, x=zoo.tensor(4), scale=0.7).isfinite()


def test_batches_of_several_tensors_pass_by_position() -> None:
    pair = zoo.semi_supervised(torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]])
    by_name = Pair(pair.model, pair.guide, (), 1)
    losses = []
    for args, kwargs in ((pair.args, {}), ((), {"x": pair.args[0], "y": pair.args[1]})):
        pyro.set_rng_seed(1)
        losses.append(ELBO()(by_name.model, by_name.guide, *args, **kwargs))
    assert torch.equal(*losses)
