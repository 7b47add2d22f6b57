"""The adversarial objective: its gradients against those of divergences by quadrature, and each side's own."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pyro import poutine
from pyro.infer import SVI
from torch import Tensor, nn

import probae as pb
from probae.distributions.normal_mixture import MixtureOfDiagonalNormals
from probae.errors import ArgumentError, NoLikelihoodError, SiteError
from tests.distributions.ring import Ring
from tests.no_sync import no_sync

NODES = torch.linspace(-9, 9, 601, dtype=torch.float64)
WEIGHTS = torch.softmax(-NODES.square() / 2, 0)
"""The weighted mean of f(m + s * NODES) is that over Normal(m, s): the trapezoid rule, for a smooth f exact to 1e-14"""

GRID = torch.linspace(-12, 12, 4001, dtype=torch.float64)


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Module(nn.Module):
    """A function of rows, with parameters or without."""

    def __init__(self, function: Callable[..., Tensor], *parameters: Tensor) -> None:
        super().__init__()
        self.function, self.values = function, nn.ParameterList(parameters)

    def forward(self, rows: Tensor) -> Tensor:
        return self.function(rows, *self.values)


# The divergence.


def aggregated(z: Tensor, m: Tensor, s: Tensor) -> Tensor:
    """log q(z), q the mean of Normal(m_i, s_i)."""
    parts = [dist.Normal(*one).log_prob(z) for one in zip(m, s, strict=True)]
    return torch.stack(parts).logsumexp(0) - math.log(len(m))


PRIORS: dict[str, Any] = {
    "normal": lambda: dist.Normal(float64(0.3), 1.5),
    "two modes": lambda: dist.MixtureSameFamily(
        dist.Categorical(float64(0.3, 0.7)), dist.Normal(float64(-1.0, 2.0), float64(0.8, 1.2))
    ),
}


def nodes_pair(prior: Any, m: Tensor, s: Tensor) -> tuple[Any, Any]:
    """Examples i with q(z given i) = Normal(m_i, s_i), each as the nodes of a quadrature with their weights."""

    def site(distribution: Any) -> None:
        with pyro.plate("data", len(m), dim=-2), pyro.plate("nodes", len(NODES), dim=-1), poutine.scale(scale=WEIGHTS):
            pyro.sample("z", distribution)

    return lambda: site(prior), lambda: site(dist.Delta(m[:, None] + s[:, None] * NODES))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("m", "s"), [((0.5,), (0.7,)), ((-1.0, 0.2, 1.4), (0.6, 1.1, 0.5))], ids=["one", "three"])
def test_with_the_best_classifier_the_guides_gradient_is_the_divergences(
    prior: str, m: tuple[float, ...], s: tuple[float, ...]
) -> None:
    """KL(q(z) to p(z)) and its gradient by the trapezoid rule, whose error on 4,001 points is far below 1e-8."""
    p, loc, scale = PRIORS[prior](), float64(*m).requires_grad_(), float64(*s).requires_grad_()
    log_q = aggregated(GRID, loc, scale)
    divergence = torch.trapezoid(log_q.exp() * (log_q - p.log_prob(GRID)), GRID)
    wanted = torch.autograd.grad(divergence, [loc, scale])

    best = Module(lambda z: aggregated(z, loc.detach(), scale.detach()) - p.log_prob(z))
    model, guide = nodes_pair(p, loc, scale)
    loss = pb.Adversarial(best, strength=2.0)(model, guide) / len(m)
    torch.testing.assert_close(torch.autograd.grad(loss, [loc, scale]), tuple(2 * g for g in wanted))

    z = loc[:, None] + scale[:, None] * NODES
    reversed_ = -(WEIGHTS * F.softplus(-best(z))).sum() / len(m)
    for other, right in zip(torch.autograd.grad(reversed_, [loc, scale]), wanted, strict=True):
        assert not torch.allclose(other, right, rtol=0.2), "the Jensen-Shannon divergence would pass as well"


def test_the_best_classifier_of_fixed_distributions_is_the_log_ratio() -> None:
    """On a grid with their densities as weights nothing is random, and the optimum is the log ratio at each point."""
    q, p, z = dist.Normal(float64(0.8), 0.6), dist.Normal(float64(0.0), 1.0), GRID[GRID.abs() < 5]

    def on_the_grid(distribution: Any) -> None:
        with pyro.plate("grid", len(z)), poutine.scale(scale=distribution.log_prob(z).exp()):
            pyro.sample("z", dist.Delta(z))

    classifier = Module(lambda z, a, b, c: a + b * z + c * z**2, *float64(0.0, 0.0, 0.0).unbind())
    objective, optimizer = pb.Adversarial(classifier), torch.optim.LBFGS(classifier.parameters(), max_iter=200)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = objective(lambda: on_the_grid(p), lambda: on_the_grid(q)) / len(z)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    with torch.no_grad():
        torch.testing.assert_close(classifier(z), q.log_prob(z) - p.log_prob(z), rtol=0, atol=1e-3)


# Each side's own gradient.


def codes_pair(scale: float = 1.0) -> tuple[Any, Any, nn.Module, nn.Module]:
    """A deterministic encoder to two dimensions, and a linear decoder."""
    encoder, decoder = nn.Linear(3, 2).double(), nn.Linear(2, 3).double()

    def model(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=scale):
            z = pyro.sample("z", dist.Normal(float64(0.0, 0.0), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)), poutine.scale(scale=scale):
            pyro.sample("z", dist.Delta(encoder(x), event_dim=1))

    return model, guide, encoder, decoder


def classifier_of(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def prior_draws(seed: int, count: int) -> Tensor:
    torch.manual_seed(seed)
    return dist.Normal(float64(0.0, 0.0), 1.0).expand([count, 2]).sample()


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_each_side_gets_its_own_gradient_alone(scale: float, labelled: bool) -> None:
    model, guide, encoder, decoder = codes_pair(scale)
    x, label = torch.randn(6, 3).double(), torch.eye(4).double()[torch.arange(6) % 4]
    classifier = classifier_of(6 if labelled else 2)

    def classify(z: Tensor) -> Tensor:
        return classifier(torch.cat([z, label], -1) if labelled else z)

    given = (lambda batch: batch[1]) if labelled else None
    objective = pb.Adversarial(classifier, strength=0.7, given=given)
    objective(model, guide, x, label)  # it has looked at the pair
    torch.manual_seed(5)
    loss = objective(model, guide, x, label)
    z, drawn = encoder(x), prior_draws(5, 6)
    reconstruction = -dist.Normal(decoder(z), 1.0).log_prob(x).sum()
    of_pair = scale * (reconstruction + 0.7 * classify(z).sum())
    of_classifier = scale * (F.softplus(-classify(z.detach())) + F.softplus(classify(drawn))).sum()
    torch.testing.assert_close(loss, of_pair + of_classifier)
    pair = [*encoder.parameters(), *decoder.parameters()]
    found = torch.autograd.grad(loss, [*pair, *classifier.parameters()])
    wanted = (*torch.autograd.grad(of_pair, pair), *torch.autograd.grad(of_classifier, list(classifier.parameters())))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("vectorize", [True, False])
def test_particles_are_averaged(vectorize: bool) -> None:
    """The gradient of a deterministic guide, which no draw of the prior reaches, is the same for any number of them."""
    model, guide, encoder, _ = codes_pair()
    x, classifier = torch.randn(6, 3).double(), classifier_of(2)
    gradients = [
        torch.autograd.grad(objective(model, guide, x), encoder.weight)
        for objective in (pb.Adversarial(classifier), pb.Adversarial(classifier, num_particles=3, vectorize=vectorize))
    ]
    torch.testing.assert_close(*gradients)


def test_other_sites_keep_their_terms() -> None:
    """Two layers, the upper one judged: the lower one's log p and log q stay, those of the upper one go."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(float64(0.0), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(2 * top, 0.5).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=False):
                pyro.sample("noise", dist.Bernoulli(float64(0.5)).to_event(1), infer={"is_auxiliary": True})
            z = pyro.sample("z", dist.Normal(x, 0.3).to_event(1))
            pyro.sample("top", dist.Normal(z / 2, 0.1).to_event(1))

    x, objective = torch.randn(4, 1).double(), pb.Adversarial(Module(lambda rows: 0.5 * rows), site="top")
    objective(model, guide, x)
    torch.manual_seed(3)
    found = objective(model, guide, x)
    torch.manual_seed(3)
    trace = poutine.trace(guide).get_trace(x)
    top, z = trace.nodes["top"]["value"], trace.nodes["z"]["value"]
    drawn = dist.Normal(float64(0.0), 1.0).expand([4, 1]).sample()
    rest = dist.Normal(2 * top, 0.5).log_prob(z) + dist.Normal(z, 1.0).log_prob(x) - dist.Normal(x, 0.3).log_prob(z)
    terms = -rest + 0.5 * top + F.softplus(-0.5 * top) + F.softplus(0.5 * drawn)
    torch.testing.assert_close(found, terms.sum())


def test_a_prior_needs_no_density_to_train_by() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Ring())

    encoder, x = nn.Linear(3, 2), torch.randn(6, 3)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(encoder(x), event_dim=1))

    assert pb.Adversarial(nn.Linear(2, 1))(model, guide, x).requires_grad
    with pytest.raises(NoLikelihoodError, match=r"^site 'z': Ring can be drawn from, but has no density"):
        pb.ELBO()(model, guide, x)


# Generators.


def generator_pair() -> tuple[Any, Any, nn.Linear]:
    """x = W e + b of Normal noise e, against data."""
    generator = nn.Linear(2, 2)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Delta(x, event_dim=1))

    def guide(x: Tensor) -> None:
        pyro.module("generator", generator)
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=False):
                noise = dist.Normal(x.new_zeros(2), 1.0).to_event(1)
                e = pyro.sample("e", noise, infer={"is_auxiliary": True})
            pyro.sample("x", dist.Delta(generator(e), event_dim=1))

    return model, guide, generator


def correlated(count: int = 2000) -> Tensor:
    return torch.randn(count, 2) @ torch.tensor([[1.5, 0.5], [0.0, 1.0]]) + torch.tensor([2.0, -1.0])


ADAM = partial(torch.optim.Adam, lr=0.02, betas=(0.5, 0.999))


def test_a_generator_learns_the_moments_of_data() -> None:
    """They start 2.2 and 1.5 away; a tenth of that is what the game still moves by. Nothing is drawn anew here."""
    x = correlated()
    model, guide, generator = generator_pair()
    classifier = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    objective = pb.Adversarial(classifier, site="x")
    pb.fit(model, guide, x, objective=objective, optimizer=ADAM, schedule="linear", epochs=30, batch_size=100, seed=0)
    weight = generator.weight.detach()
    torch.testing.assert_close(generator.bias.detach(), x.mean(0), rtol=0, atol=0.2)
    torch.testing.assert_close(weight @ weight.T, x.T.cov(), rtol=0, atol=0.3)


def test_recorded_steps_are_the_eager_ones() -> None:
    x, states = correlated(200), []
    for way in ("eager", "trace"):
        pyro.clear_param_store()
        torch.manual_seed(1)
        model, guide, generator = generator_pair()
        objective = pb.Adversarial(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)), site="x")
        run = pb.fit(model, guide, x, objective=objective, epochs=3, batch_size=20, seed=0, compile=way)
        assert run.compile == way
        states.append({**generator.state_dict(), **objective.state_dict()})
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_it_never_waits_for_the_device() -> None:
    model, guide, *_ = codes_pair()
    x, objective = torch.randn(6, 3).double(), pb.Adversarial(classifier_of(2), num_particles=2)
    objective(model, guide, x)
    with no_sync():
        objective(model, guide, x).backward()


def test_svi_trains_both_sides_and_so_do_copies() -> None:
    x = correlated(50)
    model, guide, generator = generator_pair()
    one = pb.Adversarial(nn.Linear(2, 1), site="x")
    for objective in (one, copy.deepcopy(one)):
        before = copy.deepcopy((generator.state_dict(), objective.state_dict()))
        SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), loss=objective).step(x)
        for old, new in zip(before, (generator.state_dict(), objective.state_dict()), strict=True):
            assert not any(torch.equal(old[name], new[name]) for name in new)


# Errors.


def test_arguments_are_checked() -> None:
    for argument, settings in {
        "discriminator": {"discriminator": lambda z: z}, "site": {"site": 3}, "strength": {"strength": -1.0},
        "given": {"given": "y"}, "num_particles": {"num_particles": 0},
    }.items():  # fmt: skip
        with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
            pb.Adversarial(**{"discriminator": nn.Linear(2, 1), **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (nn.Linear(2, 2).double(), r"outputs of shape \(6,\) or \(6, 1\) for inputs \(6, 2\); got shape \(6, 2\)"),
        (nn.Linear(3, 1).double(), r"a module for inputs \(N, 2\); got .*mat1 and mat2"),
        (Module(lambda z: z.sum()), r"outputs of shape .* got shape \(\)"),
        (Module(lambda z: [z]), r"outputs of shape .* got list"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_discriminator_of_another_shape_is_refused_by_name(bad: nn.Module, message: str) -> None:
    model, guide, *_ = codes_pair()
    with pytest.raises(ArgumentError, match=f"^discriminator: expected {message}"):
        pb.Adversarial(bad)(model, guide, torch.randn(6, 3).double())


def test_a_discriminators_own_error_stays_what_it_is() -> None:
    def fails(z: Tensor) -> Tensor:
        raise RuntimeError("out of luck")

    model, guide, *_ = codes_pair()
    with pytest.raises(RuntimeError, match=r"^out of luck"):
        pb.Adversarial(Module(fails))(model, guide, torch.randn(6, 3).double())


@pytest.mark.parametrize(
    ("site", "message"),
    [("x", "'x' is no latent site of this pair, which has 'z'"), ("code", "'code' is no"), ("zz", "did you mean 'z'")],
)
def test_there_is_such_a_latent_site(site: str, message: str) -> None:
    model, guide, *_ = codes_pair()
    with pytest.raises(SiteError, match=message):
        pb.Adversarial(classifier_of(2), site=site)(model, guide, torch.randn(6, 3).double())


def bits(x: Tensor, **infer: Any) -> None:
    with pyro.plate("others", len(x)):
        pyro.sample("y", dist.Bernoulli(torch.sigmoid(pyro.param("p", float64(0.5)))), infer=infer)


@pytest.mark.parametrize("infer", [{}, {"enumerate": "parallel"}], ids=["score function", "enumerated"])
def test_discrete_sites_are_refused(infer: dict[str, Any]) -> None:
    model, guide, *_ = codes_pair()
    both = [lambda x, first=first: (first(x), bits(x, **infer)) for first in (model, guide)]
    message = "needs reparameterized latent sites; " + ("an enumerated" if infer else "site 'y'")
    with pytest.raises(SiteError, match=message):
        pb.Adversarial(classifier_of(2))(*both, torch.randn(6, 3).double())


def test_a_prior_that_would_not_be_trained_is_refused() -> None:
    _, guide, *_ = codes_pair()
    loc, logits = float64(0.0, 0.0).requires_grad_(), float64(0.0).requires_grad_()
    mixture = MixtureOfDiagonalNormals(logits, loc.detach()[None], torch.ones(1, 2).double())
    for prior in (dist.Normal(loc, 1.0).to_event(1), mixture):

        def model(x: Tensor, prior: Any = prior) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", prior)

        objective, x = pb.Adversarial(classifier_of(2)), torch.randn(6, 3).double()
        for validated in (True, False) if prior.has_rsample else (True,):
            with (
                pyro.validation_enabled(validated),
                pytest.raises(SiteError, match="the model's distribution of 'z' has parameters"),
            ):
                objective(model, guide, x)
