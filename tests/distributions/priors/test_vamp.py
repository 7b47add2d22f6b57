"""The VampPrior: the average of the guide's posteriors at its pseudo-inputs, which start as examples."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch

from probae.distributions.guides import DiagonalNormal, FullNormal
from probae.distributions.normal_mixture import MixtureOfDiagonalNormals
from probae.distributions.priors import VampPrior
from probae.errors import ArgumentError
from tests.distributions.plane import assert_draws_have_the_density, integral, points
from tests.distributions.priors.cases import VISIBLE, encoder, trained


def attached(num_components: int = 5) -> VampPrior:
    prior = VampPrior(2, num_components)
    prior.attach(VISIBLE)
    return prior


@pytest.mark.parametrize("family", [DiagonalNormal, FullNormal])
def test_it_is_the_average_of_posteriors(family: type) -> None:
    prior, posterior, z = trained("vamp"), encoder(family), torch.randn(3, 6, 2, dtype=torch.float64)
    assert isinstance(prior, VampPrior)
    each = [posterior(u).log_prob(z) for u in prior.pseudo_inputs]
    wanted = torch.stack(each).logsumexp(0) - math.log(prior.num_components)
    p = prior.distribution(posterior)
    torch.testing.assert_close(p.log_prob(z), wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(p.expand(torch.Size((6,))).log_prob(z), wanted, rtol=1e-10, atol=1e-10)
    assert isinstance(p, MixtureOfDiagonalNormals) == (family is DiagonalNormal)


def test_a_mixture_of_correlated_posteriors_obeys_the_laws() -> None:
    prior, posterior = trained("vamp"), encoder(FullNormal)
    with torch.no_grad():
        p = prior.distribution(posterior)
        assert integral(p.log_prob(points())).item() == pytest.approx(1, abs=1e-9)
        assert_draws_have_the_density(p)
        assert p.expand(torch.Size((3, 7))).sample().shape == (3, 7, 2)
    prior.distribution(posterior).log_prob(torch.randn(9, 2, dtype=torch.float64)).sum().backward()
    assert all(p.grad.abs().max() > 0 for p in (*prior.parameters(), *posterior.parameters()))


def test_pseudo_inputs_start_at_distinct_examples_drawn_from_the_global_generator() -> None:
    x, prior = torch.rand(50, VISIBLE), attached()
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        prior.prepare(x)
        matches = (prior.pseudo_inputs.unsqueeze(1) == x).all(-1)
        assert (matches.sum(1) == 1).all()
        assert (matches.sum(0) <= 1).all()
        starts.append(prior.pseudo_inputs.detach().clone())
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_more_components_than_examples_take_all_of_them_equally_often() -> None:
    x, prior = torch.rand(3, VISIBLE), attached(8)
    prior.prepare(x)
    matches = (prior.pseudo_inputs.unsqueeze(1) == x).all(-1)
    assert sorted(matches.sum(0).tolist()) == [2, 3, 3]


def test_what_was_trained_stays_also_through_its_state() -> None:
    x, prior = torch.rand(50, VISIBLE), attached()
    prior.prepare(x)
    optimizer = torch.optim.SGD(prior.parameters(), lr=0.1)
    prior.distribution(encoder().float()).log_prob(torch.randn(9, 2)).sum().backward()
    optimizer.step()
    trained = prior.pseudo_inputs.detach().clone()
    prior.prepare(x)
    assert torch.equal(prior.pseudo_inputs, trained)
    twin = attached()
    twin.load_state_dict(prior.state_dict())
    twin.prepare(x)
    assert torch.equal(twin.pseudo_inputs, trained)


def test_pseudo_inputs_move_also_where_they_are_bits() -> None:
    """A clamp to [0, 1] would have no gradient there."""
    prior = attached()
    prior.prepare((torch.rand(50, VISIBLE) < 0.5).float())
    prior.distribution(encoder().float()).log_prob(torch.randn(9, 2)).sum().backward()
    assert (prior.offsets.grad != 0).all()  # type: ignore[union-attr]


def test_what_it_needs_is_asked_for() -> None:
    prior = VampPrior(2, 5)
    uses = [lambda: prior.pseudo_inputs, lambda: prior.prepare(torch.rand(9, 4)), lambda: prior.distribution(encoder())]
    for use in uses:
        with pytest.raises(ArgumentError, match=r"^prior: expected a VampPrior that has seen attach"):
            use()
    with pytest.raises(ArgumentError, match=r"^num_visible: "):
        prior.attach(0)
    prior.attach(VISIBLE)
    with pytest.raises(ArgumentError, match=r"^posterior: "):
        prior.distribution()


def test_a_model_that_takes_it_over_keeps_what_it_learned_if_its_data_has_that_dimension() -> None:
    prior = attached()
    before = prior.pseudo_inputs.detach().clone()
    prior.attach(VISIBLE)
    assert torch.equal(prior.pseudo_inputs, before)
    with pytest.raises(ArgumentError, match=r"^prior: expected a VampPrior of data with 9 dimensions; got .* with 4"):
        prior.attach(9)


def test_it_is_an_estimate_of_the_average_posterior() -> None:
    """With as many components as examples it is the average itself."""
    x, prior, posterior = torch.rand(20, VISIBLE, dtype=torch.float64), attached(20).double(), encoder()
    prior.prepare(x)
    z = torch.randn(9, 2, dtype=torch.float64)
    average = dist.MixtureSameFamily(dist.Categorical(torch.ones(20, dtype=torch.float64)), posterior(x))
    torch.testing.assert_close(prior.distribution(posterior).log_prob(z), average.log_prob(z))
