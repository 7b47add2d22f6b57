"""The contractive autoencoder: its penalty in closed form, exact and estimated, and the tangents that it learns."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

import probae as pb
from probae.errors import ArgumentError, NoLikelihoodError

D, H = 9, 4
CONV: Any = {"name": "conv", "channels": [2]}


def make(shape: Any = D, **settings: Any) -> pb.ContractiveAutoencoder:
    return pb.ContractiveAutoencoder(shape, H, **settings).double()


def some(count: int = 6, size: int = D) -> Tensor:
    return torch.randn(count, size, dtype=torch.float64)


def loss(model: pb.ContractiveAutoencoder, x: Tensor, objective: Any = None) -> Tensor:
    return (objective or model.objective())(model.model, model.guide, x)


def penalty(model: pb.ContractiveAutoencoder, x: Tensor) -> Tensor:
    """What its objective adds to the reconstruction, summed over the examples."""
    return loss(model, x) - loss(model, x, pb.ELBO())


def by_rows(model: pb.ContractiveAutoencoder, x: Tensor) -> Tensor:
    """The Jacobian of each example alone, in evaluation mode."""
    encoder = copy.deepcopy(model.encoder).eval()
    return vmap(jacrev(lambda row: model.family.code(encoder(row[None])[0])))(x)


class NormalizedDropout(nn.Sequential):
    """An encoder that depends on the batch and on chance while it is trained."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(D, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, H))


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"jacobian": "exact", "hidden": (7,)}, {"hidden": (7, 5)}, {"nonlinearity": "relu"},
        {"nonlinearity": "linear", "hidden": 5}, {"shape": (4, 4), "hidden": 5, "network": CONV},
        {"encoder": nn.Linear(D, H)},
    ],
    ids=str,
)  # fmt: skip
def test_the_penalty_is_the_norm_of_each_examples_jacobian(settings: dict[str, Any]) -> None:
    model = make(strength=0.7, **settings)
    x = some(size=model.num_visible)
    torch.testing.assert_close(penalty(model, x), 0.7 * by_rows(model, x).square().sum())


def test_the_estimate_agrees_with_the_closed_form() -> None:
    """Both through the objective. 6 standard errors of 20,000 estimates: P(a false alarm) is below 1e-8."""
    x, model = some(1).expand(20_000, D), make(jacobian="estimated", strength=1.0, num_probes=2)
    exact = make(strength=1.0)
    exact.load_state_dict(model.state_dict())
    found = model._contraction(x, None)
    assert (found.mean() - penalty(exact, x) / len(x)).abs() < 6 * found.std() / len(x) ** 0.5
    assert found.std() > 0.01 * found.mean()


@pytest.mark.parametrize("hidden", [(), 7])
def test_the_second_order_is_a_sum_by_hand(hidden: Any) -> None:
    x, model = some(), make(strength=0.3, second_order=2.0, noise_scale=0.2, hidden=hidden)
    objective = model.objective()
    loss(model, x, objective)  # it has looked at the pair
    torch.manual_seed(5)
    found = loss(model, x, objective) - loss(model, x, pb.ELBO())
    torch.manual_seed(5)
    near = x + 0.2 * torch.randn_like(x)
    curvature = (by_rows(model, x) - by_rows(model, near)).square().sum()
    torch.testing.assert_close(found, 0.3 * by_rows(model, x).square().sum() + 2.0 * curvature)


@pytest.mark.parametrize("how", ["closed form", "exact", "estimated"])
def test_its_gradient_is_that_of_finite_differences(how: str) -> None:
    settings = {"closed form": {}, "exact": {"hidden": 7}, "estimated": {"hidden": 7, "jacobian": "estimated"}}[how]
    x, model = some(), make(strength=1.0, second_order=0.0 if how == "closed form" else 1.0, **settings)
    weights = list(model.encoder.parameters())
    directions = [torch.randn_like(weight) for weight in weights]

    def value(shift: float = 0.0) -> Tensor:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight += shift * direction
        torch.manual_seed(2)
        return penalty(model, x)

    gradients = torch.autograd.grad(value(), weights)
    slope = torch.stack([(g * d).sum() for g, d in zip(gradients, directions, strict=True)]).sum()
    difference = (value(1e-5) - value(-2e-5)) / 2e-5
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-7)
    assert slope.abs() > 1e-3


def test_the_penalty_leaves_the_encoder_as_it_trains() -> None:
    """It sees each example alone and no chance, counts no batch twice, and leaves the training mode on."""
    model, x = make(encoder=NormalizedDropout(), strength=0.7), some()
    twin = copy.deepcopy(model)
    loss(model, x)
    loss(twin, x, pb.ELBO())
    torch.testing.assert_close(model.state_dict(), twin.state_dict())
    assert all(part.training for part in model.modules())
    torch.testing.assert_close(model._contraction(x, None), 0.7 * by_rows(model, x).square().sum((1, 2)))


def test_without_strengths_it_is_an_autoencoder() -> None:
    assert not make(strength=0.0).objective().penalties


def test_training_contracts() -> None:
    x, norms = pb.data.load("digits", binarize="none").train[:300], []
    for strength in (0.0, 0.3):
        torch.manual_seed(0)
        model = pb.ContractiveAutoencoder(64, 40, strength=strength)
        model.fit(x, epochs=15, learning_rate=1e-2, seed=0)
        norms.append(model.tangents(x).singular_values.square().sum(1).mean())
    assert norms[1] < 0.5 * norms[0]


def test_tied_weights_keep_the_penalty_from_being_escaped() -> None:
    """A free decoder makes up for any shrinking of the codes, here to the identity; one that is tied cannot."""
    torch.manual_seed(0)
    x = torch.randn(500, 2) * torch.tensor([1.0, 0.3])
    kept = []
    for tied in (False, True):
        torch.manual_seed(0)
        model: Any = pb.ContractiveAutoencoder(2, 4, nonlinearity="linear", strength=0.2, tied=tied)
        model.fit(x, epochs=300, batch_size=None, learning_rate=0.05, seed=0)
        both = model.decoder[0].weight.detach() @ model.encoder[0].weight.detach()
        kept.append(torch.linalg.svdvals(both))
        assert tied == torch.equal(model.decoder[0].weight, model.encoder[0].weight.T)
        assert pb.ContractiveAutoencoder(**model.config).tied is tied
    assert kept[0].min() > 0.9
    # Tied, W'W has the eigenvalues 1 - strength / variance where that is above zero: d/ds (1 - s)^2 v / 2 + strength s.
    assert (kept[1] - torch.tensor([1 - 0.2 / x[:, 0].var(), 0.0])).abs().max() < 0.02


def test_tangents_are_the_singular_vectors_of_the_jacobian() -> None:
    x, model = some(), make()
    layer: Any = model.encoder[0]  # type: ignore[index]
    h = torch.sigmoid(layer(x)).detach()
    rows = (h * (1 - h))[:, :, None].numpy() * layer.weight.detach().numpy()
    _, values, directions = np.linalg.svd(rows, full_matrices=False)
    found = model.tangents(x)
    assert (found.singular_values.shape, found.directions.shape) == ((6, H), (6, H, D))
    torch.testing.assert_close(found.singular_values, torch.tensor(values))
    cosines = (found.directions * torch.tensor(directions)).sum(-1).abs()
    torch.testing.assert_close(cosines, torch.ones_like(cosines))
    assert not found.directions.requires_grad
    few = model.tangents(x, 2)
    torch.testing.assert_close((few.singular_values, few.directions), (found[0][:, :2], found[1][:, :2]))


def test_its_monitor_is_the_reconstruction() -> None:
    model, x = make(strength=5.0), some()
    run = model.fit(x, valid=x, epochs=2, seed=0)
    assert run.best == pytest.approx(model.decode(model.embed(x)).log_prob(x).mean().item(), rel=1e-6)


def test_it_has_no_likelihood() -> None:
    with pytest.raises(NoLikelihoodError, match="'z' is a Delta"):
        make().log_likelihood(some())


@pytest.mark.parametrize(
    "bad",
    [
        {"strength": -1.0}, {"second_order": -0.1}, {"noise_scale": 0.0}, {"jacobian": "hutchinson"}, {"num_probes": 0},
        {"nonlinearity": "tahn"}, {"network": "rnn"},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"^{next(iter(bad))}: "):
        make(**bad)


def test_tangents_of_many_examples_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if at once; no Jacobian of more than two examples is kept."""
    model, x = pb.ContractiveAutoencoder(6, 4), torch.rand(7, 6)
    whole, sizes = model.tangents(x, 3), list[int]()
    model.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("probae.models.contractive._AT_ONCE", 2 * 4 * 6 + 1)
    parts = model.tangents(x, 3)
    assert sizes == [2, 2, 2, 1]
    torch.testing.assert_close(parts.singular_values, whole.singular_values)
    torch.testing.assert_close(parts.directions.abs(), whole.directions.abs())


def test_no_more_tangents_than_there_are() -> None:
    with pytest.raises(ArgumentError, match=r"^num_directions: expected at most 4 \(the smaller of code and data\)"):
        make().tangents(some(), 5)
