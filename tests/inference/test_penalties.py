"""A prior on weights: MAP in the weights, whatever the batches, eager or recorded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.errors import ArgumentError

X = torch.rand(40, 9, generator=torch.Generator().manual_seed(0))


def log_prior(model: nn.Module, prior: str, scale: float) -> Tensor:
    weights = torch.cat([layer.weight.flatten() for layer in model.modules() if isinstance(layer, nn.Linear)])
    kind: Any = {"normal": torch.distributions.Normal, "laplace": torch.distributions.Laplace}[prior]
    return kind(weights.new_zeros(()), scale).log_prob(weights).sum()


@pytest.mark.parametrize("prior", ["normal", "laplace"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_batches_of_an_epoch_count_the_prior_once(prior: str, tied: bool) -> None:
    model = pb.Autoencoder(9, 2, 5, tied=tied).double()
    plain, with_prior = pb.ELBO(), pb.ELBO(penalties=pb.WeightPrior(model, 40, prior, scale=0.3))
    batches = X.double().split(16)
    difference: Any = sum(with_prior(model.model, model.guide, x) - plain(model.model, model.guide, x) for x in batches)
    torch.testing.assert_close(difference, -log_prior(model, prior, 0.3))
    found, wanted = (
        torch.autograd.grad(value, [p for p in model.parameters() if p.dim() > 1])
        for value in (difference, -log_prior(model, prior, 0.3))
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("part", ["model", "layer"])
def test_a_bounded_layer_pays_for_what_it_applies(part: str) -> None:
    """Longer columns are the same function, and cost the same."""
    model: Any = pb.SparseAutoencoder(9, 4)
    prior = pb.WeightPrior(model if part == "model" else model.decoder[0], 40)
    before = prior(None, None)
    with torch.no_grad():
        model.decoder[0].raw_weight *= 3.0
    torch.testing.assert_close(prior(None, None), before)
    prior(None, None).backward()
    assert (model.decoder[0].raw_weight.grad * model.decoder[0].raw_weight).sum(0).abs().max() < 1e-6
    applied = [model.decoder[0].weight, *([model.encoder[0].weight] if part == "model" else [])]
    total = sum(weight.square().sum() / 2 + weight.numel() * 0.5 * math.log(2 * math.pi) for weight in applied)
    torch.testing.assert_close(prior(None, None), total / 40)


@pytest.mark.parametrize("way", ["eager", "trace"])
def test_a_strong_prior_takes_the_weights_to_zero_and_leaves_the_biases(way: str) -> None:
    torch.manual_seed(0)
    model: Any = pb.Autoencoder(9, 2, 5)
    objective = pb.ELBO(penalties=pb.WeightPrior(model.encoder, 40, scale=1e-2))
    bias, weight = model.encoder[0].bias.detach().clone(), model.decoder[0].weight.detach().clone()
    run = model.fit(X, objective=objective, epochs=100, learning_rate=1e-2, seed=0, compile=way)
    assert run.compile == way
    assert model.encoder[0].weight.abs().max() < 0.02
    assert model.encoder[0].bias.abs().max() > 0.3 * bias.abs().max()
    assert model.decoder[0].weight.abs().max() > 0.3 * weight.abs().max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.ReLU(), 40), "module: expected a torch.nn.Module with weights; got one without any"),
        ((3, 40), "module: expected a torch.nn.Module with weights; got int"),
        ((nn.Linear(2, 2), 0), "num_examples: expected a positive integer"),
        ((nn.Linear(2, 2), 4, "lapace"), "prior: expected one of 'laplace', 'normal'"),
        ((nn.Linear(2, 2), 4, "normal", 0.0), "scale: expected a finite number above 0"),
    ],
)
def test_arguments_are_checked(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        pb.WeightPrior(*arguments)


def test_a_target_rate_is_the_divergence_of_the_mean_rates() -> None:
    torch.manual_seed(0)
    rbm, x = pb.RBM(9, 4, negative_phase="exact").double(), X.double().round()
    with torch.no_grad():
        rbm.weight.normal_()
    plain, with_rate = pb.ELBO(), pb.ELBO(penalties=pb.TargetRate(rbm, 0.2, strength=3.0))
    difference = (with_rate(rbm.model, rbm.guide, x) - plain(rbm.model, rbm.guide, x)) / len(x)
    target, mean = torch.distributions.Bernoulli(0.2), torch.sigmoid(x @ rbm.weight + rbm.hidden_bias).mean(0)
    wanted = 3.0 * torch.distributions.kl_divergence(target, torch.distributions.Bernoulli(mean)).sum()
    torch.testing.assert_close(difference, wanted)
    found, expected = (torch.autograd.grad(value, [rbm.weight, rbm.hidden_bias]) for value in (difference, wanted))
    torch.testing.assert_close(found, expected)


def test_a_dead_unit_is_woken_and_a_full_one_is_tired() -> None:
    """Rates too small, or too near one, for float32 have a penalty that is finite and a gradient that is not zero."""
    x = torch.rand(20, 9).round()
    for bias in (-200.0, 200.0):
        rbm = pb.RBM(9, 1).set_parameters(torch.zeros(9, 1), torch.zeros(9), torch.full((1,), bias))
        penalty = pb.TargetRate(rbm, 0.2)(x, None)
        (gradient,) = torch.autograd.grad(penalty, rbm.hidden_bias)
        assert penalty.item() == pytest.approx((0.2 if bias < 0 else 0.8) * 200, abs=0.51)
        assert gradient.item() == pytest.approx(-0.2 if bias < 0 else 0.8, abs=1e-4)


@pytest.mark.parametrize("way", ["eager", "trace"])
def test_units_learn_their_target_rate(way: str) -> None:
    torch.manual_seed(1)
    x, rates = pb.data.load("digits").train, []
    for strength in (0.0, 20.0):
        rbm = pb.RBM(64, 20)
        rbm.fit(x, objective=pb.ELBO(penalties=pb.TargetRate(rbm, 0.1, strength)), epochs=5, seed=0, compile=way)
        rates.append(rbm.embed(x).mean(0))
    assert (rates[0] - 0.1).abs().mean() > 0.15
    assert (rates[1] - 0.1).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: pb.TargetRate(pb.VAE(9, 2)), "model"),
        (lambda: pb.TargetRate(pb.RBM(9, 2, hidden="gaussian")), "model"),
        (lambda: pb.TargetRate(pb.RBM(9, 2), 0.0), "rate"),
        (lambda: pb.TargetRate(pb.RBM(9, 2), 1.0), "rate"),
        (lambda: pb.TargetRate(pb.RBM(9, 2), 0.1, -1.0), "strength"),
    ],
)
def test_a_target_rate_is_checked_at_the_door(make: Any, argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        make()
