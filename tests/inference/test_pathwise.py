"""Gradients through the samples alone: equal to formulas by hand, unbiased where they should be, zero at the truth."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from probae.errors import SiteError
from probae.inference.iwae import IWAE
from tests.inference import zoo
from tests.inference.comparisons import recorded_and_eager, value_and_gradients
from tests.inference.draws import assert_same_mean, draws, welch
from tests.inference.zoo import Pair, param, positive, zeros
from tests.no_sync import no_sync

GRADIENTS = ["standard", "dreg", "stl"]
MODEL_PARAMETERS = {"W", "b", "sigma", "A", "s1", "r"}
PAIRS = [zoo.linear_vae, zoo.hierarchy, zoo.nested, zoo.auxiliary]


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("make", PAIRS, ids=lambda make: make.__name__)
def test_value_and_model_gradient_are_the_same_in_all_three(make: Callable[[], Pair], vectorize: bool) -> None:
    found = [value_and_gradients(make(), IWAE(4, gradient, vectorize=vectorize)) for gradient in GRADIENTS]
    for value, gradients in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=1e-12)
        for name in gradients.keys() & MODEL_PARAMETERS:
            torch.testing.assert_close(gradients[name], found[0][1][name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", PAIRS, ids=lambda make: make.__name__)
def test_one_particle_makes_dreg_and_stl_the_same(make: Callable[[], Pair]) -> None:
    (_, dreg), (_, stl) = (value_and_gradients(make(), IWAE(1, gradient)) for gradient in ("dreg", "stl"))
    assert any(gradient.abs().max() > 0 for gradient in dreg.values())
    torch.testing.assert_close(dreg, stl, rtol=1e-12, atol=1e-12)


def two_latents(x: Tensor) -> Pair:
    """z2 depends on z1 in the guide, by its mean and by its scale."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(zeros(), 1.0))
            z2 = pyro.sample("z2", dist.Normal(z1.sin(), 0.7))
            pyro.sample("x", dist.Normal(z1 + z2, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(param("m1") + x / 3, positive("s1")))
            pyro.sample("z2", dist.Normal(param("c") * z1 + param("m2"), positive("s2") * (1 + z1**2).sqrt()))

    return Pair(model, guide, (x,), 1)


def by_hand(x: Tensor, noise: Tensor, power: int, detached: str = "parameters") -> Tensor:
    """A surrogate of the loss of `two_latents` with the gradient of Tucker et al. (eq. 7): power 2; STL: power 1.

    Args:
        x: examples (N,).
        noise: of the two sites, (2, K, N).
        power: of the normalized weights.
        detached: what log q is evaluated with: the guide's "parameters" detached, as it must be, or, wrongly, the
            "arguments" of its distributions.
    """
    theta = {"m1": param("m1"), "c": param("c"), "m2": param("m2"), "s1": positive("s1"), "s2": positive("s2")}
    fixed = {name: value.detach() for name, value in theta.items()}

    def arguments(p: dict[str, Tensor], z1: Tensor) -> tuple[Tensor, ...]:
        return p["m1"] + x / 3, p["s1"], p["c"] * z1 + p["m2"], p["s2"] * (1 + z1**2).sqrt()

    z1 = theta["m1"] + x / 3 + theta["s1"] * noise[0]
    _, _, mean, scale = arguments(theta, z1)
    z2 = mean + scale * noise[1]
    of_q = arguments(fixed, z1)
    if detached == "arguments":
        of_q = tuple(argument.detach() for argument in of_q)
    log_q = dist.Normal(of_q[0], of_q[1]).log_prob(z1) + dist.Normal(of_q[2], of_q[3]).log_prob(z2)
    log_p = dist.Normal(0.0, 1.0).log_prob(z1) + dist.Normal(z1.sin(), 0.7).log_prob(z2)
    log_w = log_p + dist.Normal(z1 + z2, 1.0).log_prob(x) - log_q
    return -(log_w.detach().softmax(0) ** power * log_w).sum()


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize(("gradient", "power"), [("dreg", 2), ("stl", 1)])
def test_dependent_latents_equal_the_gradient_by_hand(gradient: str, power: int, vectorize: bool) -> None:
    x, count = zoo.tensor(30), 4
    pair = two_latents(x)
    _, found = value_and_gradients(pair, IWAE(count, gradient, vectorize=vectorize))
    pyro.set_rng_seed(5)
    if vectorize:
        noise = torch.stack([torch.randn(count, 30, dtype=torch.float64) for _ in range(2)])
    else:
        each = [torch.stack([torch.randn(30, dtype=torch.float64) for _ in range(2)]) for _ in range(count)]
        noise = torch.stack(each, 1)
    right = zoo.gradients(by_hand(x, noise, power))
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)
    wrong = zoo.gradients(by_hand(x, noise, power, detached="arguments"))
    assert (wrong["m1"] - found["m1"]).abs() > 1e-3  # the two can be told apart


@pytest.mark.parametrize("make", [zoo.linear_vae, zoo.hierarchy], ids=lambda make: make.__name__)
def test_dreg_has_the_expectation_of_the_standard_gradient(make: Callable[[], Pair]) -> None:
    """100 calls of 1000 examples each; false alarm 1e-8."""
    pair = make()
    x = pair.args[0][:1].repeat(1000, 1)
    found = []
    for gradient in ("standard", "dreg"):
        objective = IWAE(3, gradient)
        objective(pair.model, pair.guide, x)
        with pyro.validation_enabled(False):
            found.append(draws(lambda objective=objective: objective(pair.model, pair.guide, x), 100))
    assert_same_mean(*found)


def test_dreg_is_unbiased_with_dependent_latents_where_detached_arguments_are_not() -> None:
    """100 calls of 4000 examples each; false alarm 1e-8. The wrong gradient is more than 20 errors off."""
    x = zoo.tensor(1).repeat(4000)
    pair, found = two_latents(x), {}
    for gradient in ("standard", "dreg"):
        objective = IWAE(3, gradient)
        objective(pair.model, pair.guide, x)
        with pyro.validation_enabled(False):
            found[gradient] = draws(lambda objective=objective: objective(pair.model, pair.guide, x), 100)
    assert_same_mean(found["standard"], found["dreg"])
    wrong = draws(lambda: by_hand(x, torch.randn(2, 3, 4000, dtype=torch.float64), 2, detached="arguments"), 100)
    assert welch(found["standard"], wrong)[1:].abs().max() > 20


def test_stl_is_biased_for_several_particles() -> None:
    """As the documentation says; more than 10 errors, 100 calls of 1000 examples."""
    x = zoo.tensor(1).repeat(1000)
    pair, found = two_latents(x), {}
    for gradient in ("standard", "stl"):
        objective = IWAE(5, gradient)
        objective(pair.model, pair.guide, x)
        with pyro.validation_enabled(False):
            found[gradient] = draws(lambda objective=objective: objective(pair.model, pair.guide, x), 100)
    assert welch(found["standard"], found["stl"])[1:].abs().max() > 10


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("gradient", ["dreg", "stl"])
def test_the_gradient_is_exactly_zero_at_the_exact_posterior(gradient: str, count: int) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        half, scale = torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.5**0.5, dtype=torch.float64)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * pyro.param("half", half), pyro.param("root", scale)))

    pair = Pair(model, guide, (zoo.tensor(20),), 1)
    _, found = value_and_gradients(pair, IWAE(count, gradient))
    for name in ("half", "root"):
        assert found[name].abs() < 1e-12
    _, noisy = value_and_gradients(pair, IWAE(count))
    assert noisy["root"].abs() > 0.01


def test_a_stochastic_network_is_run_once() -> None:
    """With dropout in the encoder, the density must be that of the network that drew the sample."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", zoo.normal(2))
            pyro.sample("x", dist.Normal(z @ param("W", 2, 3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            h = torch.dropout(x @ param("V", 3, 2), 0.5, True)
            pyro.sample("z", dist.Normal(h, positive("s", 2)).to_event(1))

    pair = Pair(model, guide, (zoo.tensor(20, 3),), 1)
    values = [value_and_gradients(pair, IWAE(3, gradient))[0] for gradient in GRADIENTS]
    torch.testing.assert_close(values[1:], values[:1] * 2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("make", [*PAIRS, zoo.delta], ids=lambda make: make.__name__)
def test_loss_and_gradient_never_wait_for_the_device(make: Callable[[], Pair], gradient: str) -> None:
    pair, objective = make(), IWAE(3, gradient)
    objective(pair.model, pair.guide, *pair.args)
    with no_sync():
        zoo.gradients(objective(pair.model, pair.guide, *pair.args))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_it_can_be_recorded(gradient: str) -> None:
    recorded, eager = recorded_and_eager(IWAE(3, gradient), zoo.hierarchy(), (zoo.tensor(4, 3, seed=9),))
    torch.testing.assert_close(recorded, eager, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", ["dreg", "stl"])
def test_a_site_that_is_not_reparameterized_is_named(gradient: str) -> None:
    pair = zoo.discrete()
    with pytest.raises(SiteError, match=f"gradient='{gradient}' needs reparameterized .*'k' is not one.*'standard'"):
        IWAE(3, gradient)(pair.model, pair.guide, *pair.args)


def test_noise_that_is_masked_out_need_not_be_reparameterized_unless_it_is_learned() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor, learned: bool) -> None:
        rate = param("rate").sigmoid() if learned else 0.5 * torch.ones(())
        with pyro.plate("data", len(x)):
            with pyro.poutine.mask(mask=False):
                keep = pyro.sample("keep", dist.Bernoulli(rate), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(x * keep * param("a"), 1.0))

    def model_of_two(x: Tensor, learned: bool) -> None:
        model(x)

    x = zoo.tensor(4)
    IWAE(3, "dreg")(model_of_two, guide, x, False)
    with pytest.raises(SiteError, match="'keep' is not one"):
        IWAE(3, "dreg")(model_of_two, guide, x, True)
    assert zoo.gradients(IWAE(3)(model_of_two, guide, x, True))["rate"] != 0
