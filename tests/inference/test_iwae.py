"""The importance-weighted bound: value and gradients against enumeration, the three gradients against each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, RenyiELBO
from torch import Tensor

from probae.errors import ArgumentError, SiteError
from probae.inference.elbo import ELBO
from probae.inference.iwae import IWAE
from tests.inference import zoo
from tests.inference.comparisons import value_and_gradients
from tests.inference.draws import assert_mean, draws, flat
from tests.inference.zoo import Pair, param, positive, zeros
from tests.no_sync import no_sync

GRADIENTS = ["standard", "dreg", "stl"]


# Discrete: all K-tuples of latent states can be listed.


Plate = Callable[[Tensor], Any]


def all_of(x: Tensor) -> Any:
    return pyro.plate("data", len(x))


def two_bits(x: Tensor, plate: Plate = all_of, seen: Callable[[Tensor, Tensor], Tensor] = lambda x, i: x[i]) -> Pair:
    """Two dependent bits for each example of a plate; `seen` is what its indices show of the data."""

    def model(x: Tensor) -> None:
        with plate(x) as index:
            a = pyro.sample("a", dist.Bernoulli(logits=param("p_a")))
            b = pyro.sample("b", dist.Bernoulli(logits=param("p_b") * a))
            pyro.sample("x", dist.Normal(param("w") * a + b, 1.0), obs=seen(x, index))

    def guide(x: Tensor) -> None:
        with plate(x) as index:
            a = pyro.sample("a", dist.Bernoulli(logits=seen(x, index) * param("q_a")))
            pyro.sample("b", dist.Bernoulli(logits=param("q_b") * a + seen(x, index)))

    return Pair(model, guide, (x,), 1)


def exact_bound(x: Tensor, count: int) -> Tensor:
    """E[L_K] of each example of `two_bits`, summed over all 4^K tuples of states: (N,)."""
    a, b = torch.tensor(list(product([0.0, 1.0], repeat=2)), dtype=torch.float64).T.unsqueeze(-1)
    bernoulli = torch.nn.functional.logsigmoid
    p_a, p_b = param("p_a"), param("p_b") * a
    log_p = bernoulli((2 * a - 1) * p_a) + bernoulli((2 * b - 1) * p_b)
    log_p = log_p + dist.Normal(param("w") * a + b, 1.0).log_prob(x)
    log_q = bernoulli((2 * a - 1) * x * param("q_a")) + bernoulli((2 * b - 1) * (param("q_b") * a + x))
    tuples = torch.cartesian_prod(*[torch.arange(4)] * count).reshape(-1, count)
    bound = (log_p - log_q)[tuples].logsumexp(1) - math.log(count)
    return (log_q[tuples].sum(1).exp() * bound).sum(0)


def exact_evidence(x: Tensor) -> Tensor:
    a, b = torch.tensor(list(product([0.0, 1.0], repeat=2)), dtype=torch.float64).T.unsqueeze(-1)
    prior = dist.Bernoulli(logits=param("p_a")).log_prob(a) + dist.Bernoulli(logits=param("p_b") * a).log_prob(b)
    return (prior + dist.Normal(param("w") * a + b, 1.0).log_prob(x)).logsumexp(0)


def expected(loss: Tensor) -> Tensor:
    return flat(loss, zoo.gradients(loss))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_discrete_value_and_gradient_are_those_of_all_tuples(count: int) -> None:
    """Three different examples, 500 times each, in 80 calls; false alarm 1e-8."""
    few = torch.tensor([-0.7, 0.4, 1.9], dtype=torch.float64)
    pair, objective = two_bits(few.repeat(500)), IWAE(count)
    objective(pair.model, pair.guide, *pair.args)
    wanted = -500 * exact_bound(few, count).sum()
    with pyro.validation_enabled(False):
        assert_mean(draws(lambda: objective(pair.model, pair.guide, *pair.args), 80), expected(wanted))


def test_particles_one_by_one_have_the_same_expectation() -> None:
    """One run for each particle; 80 calls of 300 examples; false alarm 1e-8."""
    x = torch.tensor([0.4], dtype=torch.float64)
    pair, objective = two_bits(x.repeat(300)), IWAE(3, vectorize=False)
    objective(pair.model, pair.guide, *pair.args)
    wanted = -300 * exact_bound(x, 3).sum()
    with pyro.validation_enabled(False):
        assert_mean(draws(lambda: objective(pair.model, pair.guide, *pair.args), 80), expected(wanted))


def test_the_exact_bounds_rise_to_the_evidence() -> None:
    x = zoo.tensor(4)
    bounds = torch.stack([exact_bound(x, count) for count in (1, 2, 3, 5)])
    assert (bounds.diff(dim=0) > 0).all()
    assert (bounds[-1] < exact_evidence(x)).all()


def test_the_value_nears_the_evidence_with_many_particles() -> None:
    """The bound of 20,000 particles, whose standard error is below 0.02; a tolerance of 0.2 is 10 of them."""
    x = zoo.tensor(4)
    pair = two_bits(x)
    loss = IWAE(20_000)(pair.model, pair.guide, x)
    assert abs(loss.item() + exact_evidence(x).sum().item()) < 0.2


def test_one_particle_is_the_sampled_elbo() -> None:
    for make in (zoo.linear_vae, zoo.hierarchy, zoo.nested, zoo.auxiliary, zoo.factors, zoo.boltzmann):
        pyro.clear_param_store()
        pair = make()
        elbo, iwae = ELBO(analytic_kl=False), IWAE(1, vectorize=False)
        losses = []
        for objective in (elbo, iwae):
            objective(pair.model, pair.guide, *pair.args)
            pyro.set_rng_seed(2)
            losses.append(objective(pair.model, pair.guide, *pair.args))
        torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*map(zoo.gradients, losses), rtol=1e-10, atol=1e-10)


# Subsampling plates: the scale stays outside the logarithm.


def part_of(size: int) -> Plate:
    return lambda x: pyro.plate("data", size, subsample=x)


def given(_: Tensor, index: Tensor) -> Tensor:
    """What a plate shows that was handed its subsample."""
    return index


def test_subsampled_value_and_gradient_are_those_of_the_full_data() -> None:
    """1500 of 6000 examples, K = 3, the score function's terms included; 80 calls; false alarm 1e-8."""
    few = torch.tensor([-0.7, 0.4, 1.9], dtype=torch.float64)
    pair, objective = two_bits(few.repeat(500), part_of(6000), given), IWAE(3)
    objective(pair.model, pair.guide, *pair.args)
    wanted = -4 * 500 * exact_bound(few, 3).sum()
    with pyro.validation_enabled(False):
        assert_mean(draws(lambda: objective(pair.model, pair.guide, *pair.args), 80), expected(wanted))


def test_a_plate_that_draws_its_subsample_is_unbiased() -> None:
    """Two of four examples a call, 600 calls; false alarm 1e-8."""
    x = torch.tensor([-0.7, 0.4, 1.9, 0.0], dtype=torch.float64)
    pair, objective = two_bits(x, lambda x: pyro.plate("data", len(x), subsample_size=2)), IWAE(3)
    objective(pair.model, pair.guide, x)
    wanted = -exact_bound(x, 3).sum()
    with pyro.validation_enabled(False):
        assert_mean(draws(lambda: objective(pair.model, pair.guide, x), 600), expected(wanted))


@pytest.mark.filterwarnings("ignore:Found non-auxiliary vars")
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_deterministic_site_behind_a_subsampled_plate_changes_nothing(gradient: str) -> None:
    """It stands in no plate, and has no say in what the plate's examples stand for."""
    x = torch.tensor([-0.7, 0.4, 1.9], dtype=torch.float64)

    def model(x: Tensor) -> None:
        with pyro.plate("data", 30, subsample=x):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            pyro.sample("x", dist.Normal(z, positive("s")), obs=x)

    def guide(x: Tensor, noted: bool) -> None:
        with pyro.plate("data", 30, subsample=x):
            z = pyro.sample("z", dist.Normal(x / 2, positive("t")))
        if noted:
            pyro.deterministic("summary", z.sum())

    found = []
    for noted in (False, True):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        loss = IWAE(4, gradient=gradient)(model, partial(guide, noted=noted), x)
        loss.backward()
        found.append(loss.detach())
    torch.testing.assert_close(found[0], found[1])


def test_pyros_bound_is_none_under_subsampling() -> None:
    """`RenyiELBO` at alpha 0 scales inside the logarithm: its value is above the log-evidence it should bound."""
    x = torch.tensor([0.4], dtype=torch.float64).repeat(2000)
    pair, count = two_bits(x, part_of(200_000), given), 5
    renyi = RenyiELBO(alpha=0, num_particles=count, vectorize_particles=True, max_plate_nesting=1)
    ours, evidence = IWAE(count), 100 * exact_evidence(x).sum()
    assert -renyi.loss(pair.model, pair.guide, x) > evidence
    assert -ours(pair.model, pair.guide, x) < evidence


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_batches_of_any_size_are_scaled_by_their_own(gradient: str) -> None:
    """The same noise in a plate of 20 that sees 5, then 2, examples, and in a plate of just those."""

    def pair(plate: Plate, seen: Callable[[Tensor, Tensor], Tensor]) -> Pair:
        def model(x: Tensor) -> None:
            with plate(x) as index:
                z = pyro.sample("z", dist.Normal(zeros(), positive("s")))
                pyro.sample("x", dist.Normal(z, 1.0), obs=seen(x, index))

        def guide(x: Tensor) -> None:
            with plate(x) as index:
                pyro.sample("z", dist.Normal(seen(x, index) * param("a"), positive("q")))

        return Pair(model, guide, (), 1)

    part, whole, objective = pair(part_of(20), given), pair(all_of, lambda x, i: x[i]), IWAE(4, gradient)
    for size in (5, 2):
        x = zoo.tensor(size)
        objective(part.model, part.guide, x)
        pyro.set_rng_seed(1)
        scaled = objective(part.model, part.guide, x)
        pyro.set_rng_seed(1)
        plain = IWAE(4, gradient)(whole.model, whole.guide, x) * 20 / size
        torch.testing.assert_close(scaled, plain, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(zoo.gradients(scaled), zoo.gradients(plain), rtol=1e-10, atol=1e-10)


# Plates inside the logarithm, empty guides, several pairs.


def test_plates_inside_the_enclosing_one_are_summed_inside_the_logarithm() -> None:
    """Examples in columns, parts of an example in rows: one logarithm for each column."""
    pair, count = zoo.nested(), 3

    def model(x: Tensor) -> None:
        with pyro.plate("columns", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            with pyro.plate("rows", 3, dim=-2):
                y = pyro.sample("y", dist.Normal(z, 1.0))
                pyro.sample("x", dist.Normal(y, positive("sigma")), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("columns", 4, dim=-1):
            z = pyro.sample("z", dist.Normal(param("m", 4), 1.0))
            with pyro.plate("rows", 3, dim=-2):
                pyro.sample("y", dist.Normal(z + x, 0.5))

    (x,) = pair.args
    loss, _ = value_and_gradients(Pair(model, guide, (x,), 2), IWAE(count))
    pyro.set_rng_seed(5)
    z = param("m", 4) + torch.randn(count, 1, 4, dtype=torch.float64)
    y = z + x + 0.5 * torch.randn(count, 3, 4, dtype=torch.float64)
    log_w = dist.Normal(0.0, 1.0).log_prob(z) - dist.Normal(param("m", 4), 1.0).log_prob(z)
    inside = dist.Normal(z, 1.0).log_prob(y) + dist.Normal(y, positive("sigma")).log_prob(x)
    log_w = log_w + (inside - dist.Normal(z + x, 0.5).log_prob(y)).sum(1, keepdim=True)
    wanted = -(log_w.logsumexp(0) - math.log(3)).sum()
    torch.testing.assert_close(loss, wanted.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_an_empty_guide_gives_the_likelihood(gradient: str) -> None:
    pair = zoo.boltzmann()
    iwae, elbo = (value_and_gradients(pair, objective) for objective in (IWAE(3, gradient), ELBO()))
    torch.testing.assert_close(iwae, elbo, rtol=1e-10, atol=1e-10)


def test_svi_trains_with_it() -> None:
    """Toward the evidence of a conjugate model."""
    pair = zoo.linear_vae()
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.02}), loss=IWAE(5, "dreg"))
    losses = [svi.step(*pair.args) for _ in range(200)]
    assert sum(losses[-20:]) < sum(losses[:20]) - 20


def test_vimco_never_waits_for_the_device() -> None:
    pair, objective = two_bits(zoo.tensor(5)), IWAE(3)
    objective(pair.model, pair.guide, *pair.args)
    with no_sync():
        zoo.gradients(objective(pair.model, pair.guide, *pair.args))


# Errors.


def test_a_latent_outside_a_subsampled_plate_is_refused() -> None:
    pair = zoo.subsampled()
    with pytest.raises(SiteError, match="plate 'data' subsamples, but a site lies outside it"):
        IWAE(3)(pair.model, pair.guide, *pair.args)


def test_enumerated_sites_are_refused() -> None:
    pair = zoo.enumerated_guide()
    with pytest.raises(SiteError, match="need sampled sites"):
        IWAE(3)(pair.model, pair.guide, *pair.args)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [({"num_particles": 0}, "num_particles"), ({"num_particles": 2, "gradient": "dregs"}, "gradient")],
)
def test_arguments_are_checked_at_the_door(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        IWAE(**settings)
