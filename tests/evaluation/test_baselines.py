"""The baselines that a model has to beat: exact, by hand, and reproducible."""

from __future__ import annotations

import gc

import pyro
import pyro.distributions as dist
import pytest
import torch

import probae as pb
from probae.data.protocol import Protocol
from probae.errors import ArgumentError
from probae.evaluation.baselines import BernoulliMixture, bernoulli_baseline, mixture_baseline

DIGITS = pb.data.load("digits")


def test_independent_pixels() -> None:
    train, test = DIGITS.train, DIGITS.test
    rates = (train.tensor.sum(0) + 1) / (len(train) + 2)
    expected = dist.Bernoulli(rates).log_prob(test.tensor).sum(1)
    estimate = bernoulli_baseline(train, test)
    torch.testing.assert_close(estimate.per_example, expected.double(), rtol=1e-5, atol=1e-4)
    assert (estimate.direction, estimate.stderr) == ("exact", 0.0)
    assert str(estimate.protocol) == "digits/test, stochastic binarization (seed 0), exact"


def test_a_mixture_by_hand() -> None:
    torch.manual_seed(0)
    x = DIGITS.test.tensor[:20].double()
    mixture = BernoulliMixture(x, 7)
    with torch.no_grad():
        mixture.weight_logits.normal_()
    parts = dist.Bernoulli(logits=mixture.rate_logits).log_prob(x[:, None]).sum(-1)
    expected = (parts + mixture.weight_logits.log_softmax(0)).logsumexp(1).detach()
    estimate = pb.log_likelihood(mixture.model, mixture.guide, x, method="exact")
    torch.testing.assert_close(estimate.per_example, expected, rtol=1e-9, atol=1e-9)
    loss = pb.ELBO()(mixture.model, mixture.guide, x)
    torch.testing.assert_close(-loss.detach(), expected.sum(), rtol=1e-9, atol=1e-9)


def test_a_trained_mixture_beats_independent_pixels_and_is_reproducible() -> None:
    splits, settings = (DIGITS.train[:300], DIGITS.valid[:100], DIGITS.test), {"num_components": 8, "epochs": 25}
    values = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        values.append(mixture_baseline(*splits, **settings).value)
        assert torch.equal(torch.get_rng_state(), before)
    assert values[0] == values[1]
    assert values[0] > bernoulli_baseline(splits[0], splits[2]).value + 1
    assert not dict(pyro.get_param_store())


def test_one_mixture_after_another_keeps_its_own_parameters() -> None:
    """Named by its address, a new mixture was given the parameters of the one that lay there before."""
    for rate in (0.1, 0.5, 0.9):
        x = (torch.rand(200, 3) < rate).float()
        mixture = BernoulliMixture(x, 1)
        pyro.infer.SVI(mixture.model, mixture.guide, pyro.optim.SGD({"lr": 0.0}), pb.ELBO()).step(x)
        torch.testing.assert_close(mixture.rate_logits.detach().sigmoid()[0], (x.sum(0) + 1) / 202)
        del mixture
        gc.collect()


def test_the_number_of_components_is_checked() -> None:
    with pytest.raises(ArgumentError, match=r"num_components: expected a positive integer; got 0"):
        BernoulliMixture(torch.zeros(2, 3), 0)


def test_dynamic_data_is_judged_on_its_fixed_draw() -> None:
    splits = pb.data.load("digits", binarize="dynamic", seed=1)
    estimate = bernoulli_baseline(splits.train, splits.test)
    assert estimate.protocol == Protocol("digits", "test", "dynamic", 1).using("exact")
