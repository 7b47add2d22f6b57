"""The evidence lower bound as an estimate: log p(x) less the divergence from the posterior, where both are known."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

import probae as pb
from probae.errors import NoLikelihoodError
from probae.evaluation.bound import BoundAccumulator

SIGMAS = 6  # of a Normal: false alarm 2e-9
X = torch.tensor([0.3, -1.0, 2.5], dtype=torch.float64)


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z: Any = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def guide(shift: float, scale: float) -> Any:
    def program(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + shift, scale))

    return program


def truth(shift: float, scale: float) -> Tensor:
    """log p(x) - KL(q to the posterior), which is Normal(x / 2, 1/2)."""
    gap = kl_divergence(dist.Normal(X / 2 + shift, scale), dist.Normal(X / 2, 0.5**0.5))
    return dist.Normal(0.0, 2**0.5).log_prob(X) - gap


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 0.3), (0.7, 0.9), (-0.2, 2.0)])
def test_it_is_the_likelihood_less_the_divergence(shift: float, scale: float) -> None:
    """The mean of 20,000 samples is Normal: P(beyond 6 errors) = 2e-9 for each of three cases and three examples."""
    estimate = pb.log_likelihood(model, guide(shift, scale), X, method="bound", num_samples=20_000)
    assert estimate.per_example is not None
    error = SIGMAS * estimate.stderr
    assert 0 < error < 0.2
    assert abs(estimate.value - truth(shift, scale).mean().item()) < error
    torch.testing.assert_close(estimate.per_example, truth(shift, scale), rtol=0, atol=error * 3)
    assert (estimate.direction, estimate.reliable, estimate.ess) == ("lower", True, None)
    assert str(estimate.protocol) == "unknown data, the evidence lower bound with 20000 samples"


def test_the_posterior_itself_gives_the_likelihood_from_one_sample() -> None:
    estimate = pb.log_likelihood(model, guide(0.0, 0.5**0.5), X, method="bound", num_samples=1)
    torch.testing.assert_close(estimate.per_example, truth(0.0, 0.5**0.5))
    assert math.isnan(estimate.stderr)
    assert pb.log_likelihood(model, guide(0.0, 0.5**0.5), X, method="bound", num_samples=9).stderr < 1e-6


def test_its_number_of_samples_does_not_bias_it() -> None:
    """Unlike importance sampling's: 40,000 copies of an example, one sample each, a mean that is Normal; 2e-9."""
    copies = X[:1].expand(40_000)
    estimate = pb.log_likelihood(model, guide(0.0, 0.3), copies, method="bound", num_samples=2, chunk_size=10**6)
    assert abs(estimate.value - truth(0.0, 0.3)[0].item()) < SIGMAS * (estimate.stderr_data or 0.0)


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_sums_do_not_depend_on_the_chunks(size: int, shift: float) -> None:
    log_w = shift + torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = BoundAccumulator(100)
    for chunk in log_w.split(size):
        sums.add(chunk)
    got = sums.finish()
    torch.testing.assert_close(got["value"], log_w.mean(0), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(got["variance"], log_w.var(0) / 100, rtol=1e-6, atol=1e-9)


def test_an_impossible_example_is_noticed() -> None:
    sums = BoundAccumulator(2)
    sums.add(torch.tensor([[0.0, -math.inf], [1.0, 0.0]]))
    estimate = BoundAccumulator.estimate(sums.finish(), 2, pb.data.Protocol())
    assert estimate.per_example is not None
    assert estimate.per_example.tolist() == [0.5, -math.inf]
    assert not estimate.reliable
    assert estimate.reason == "the bound of 1 examples is not finite"


def test_sites_that_the_guide_enumerates_are_drawn() -> None:
    """Two components, the guide's probabilities those of the posterior: the bound is exact, one sample each."""

    def mixture(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k: Any = pyro.sample("k", dist.Bernoulli(x.new_tensor(0.3)))
            pyro.sample("x", dist.Normal(2 * k - 1, 1.0), obs=x)

    def posterior(x: Tensor) -> None:
        odds = 2 * x + math.log(0.3 / 0.7)
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(logits=odds), infer={"enumerate": "parallel"})

    ones = [dist.Normal(2 * k - 1.0, 1.0).log_prob(X) + math.log(p) for k, p in ((0, 0.7), (1, 0.3))]
    estimate = pb.log_likelihood(mixture, posterior, X, method="bound", num_samples=1)
    torch.testing.assert_close(estimate.per_example, torch.stack(ones).logsumexp(0), rtol=1e-6, atol=1e-6)


def test_a_deterministic_code_has_none() -> None:
    def delta(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x))

    with pytest.raises(NoLikelihoodError, match="Delta"):
        pb.log_likelihood(model, delta, X, method="bound")
