"""The sparse autoencoder by other means than a Laplace prior: a Normal one, a target rate, the k largest; its units."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError

GREY = pb.data.load("digits", binarize="none").train
X = GREY.tensor[:40].double()


def loss(sparse: pb.SparseAutoencoder, **settings: Any) -> Tensor:
    objective = sparse.objective()
    for name, value in settings.items():
        setattr(objective, name, value)
    return objective(sparse.model, sparse.guide, X)


def reconstruction(sparse: pb.SparseAutoencoder) -> Tensor:
    return sparse.decode(sparse.embed(X)).log_prob(X).sum()


def divergence(rate: float, mean: Tensor) -> Tensor:
    target = torch.distributions.Bernoulli(torch.tensor(rate, dtype=mean.dtype))
    return torch.distributions.kl_divergence(target, torch.distributions.Bernoulli(mean)).sum()


@pytest.mark.parametrize("particles", [1, 3])
def test_the_target_rate_is_a_penalty_of_the_batchs_means(particles: int) -> None:
    sparse = pb.SparseAutoencoder(64, 10, 5, strength=0.7, target_rate=0.05).double()
    codes = torch.sigmoid(sparse.encoder(X))
    wanted = -reconstruction(sparse) + 0.7 * len(X) * divergence(0.05, codes.mean(0))
    torch.testing.assert_close(loss(sparse, num_particles=particles), wanted, rtol=1e-9, atol=0)
    torch.testing.assert_close(sparse.embed(X), codes.detach())


def test_saturated_units_leave_the_penalty_finite() -> None:
    sparse = pb.SparseAutoencoder(64, 10, target_rate=0.05)
    for bias in (-1e3, 1e3):
        torch.nn.init.constant_(sparse.encoder[0].bias, bias)  # type: ignore[index, arg-type]
        value = sparse.objective()(sparse.model, sparse.guide, X.float())
        value.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in sparse.parameters())


def test_units_come_to_their_target_rate() -> None:
    torch.manual_seed(0)
    sparse = pb.SparseAutoencoder(64, 32, strength=50.0, target_rate=0.1, likelihood={"name": "normal", "scale": 0.2})
    sparse.prepare(GREY)
    sparse.encoder[0].bias.data += 2.0  # type: ignore[index, union-attr]
    assert sparse.activity(GREY).means.mean() > 0.3
    sparse.fit(GREY, epochs=20, learning_rate=1e-2, seed=0)
    assert (sparse.activity(GREY).means - 0.1).abs().max() < 0.02


def test_units_start_near_their_target_rate() -> None:
    sparse = pb.SparseAutoencoder(64, 32, target_rate=0.1).prepare(GREY)
    logits = sparse.encoder[0](GREY.tensor).mean(0)  # type: ignore[index, operator]
    torch.testing.assert_close(logits, torch.full((32,), 0.1).logit(), rtol=0, atol=1e-4)


def test_the_k_largest_stay() -> None:
    sparse: Any = pb.SparseAutoencoder(64, 10, 5, top_k=3).double()
    sparse.encoder[-1].bias.data -= 1.0  # so that the largest are not the farthest from zero
    outputs = sparse.encoder(X).detach()
    codes = sparse.embed(X)
    kept = codes != 0
    assert (kept.sum(1) == 3).all()
    assert torch.equal(codes[kept], outputs[kept])
    assert (outputs.masked_fill(kept, -torch.inf).amax(1) < outputs.masked_fill(~kept, torch.inf).amin(1)).all()
    torch.testing.assert_close(loss(sparse), -reconstruction(sparse), rtol=1e-9, atol=0)


def test_a_normal_prior_is_the_squared_penalty() -> None:
    one, other = (pb.SparseAutoencoder(64, 10, 5, strength, prior="normal").double() for strength in (0.7, 1.9))
    other.load_state_dict(one.state_dict())
    codes = one.embed(X)
    constant = 0.5 * codes.numel() * torch.tensor(1.9 / 0.7, dtype=torch.float64).log()
    wanted = (1.9 - 0.7) * codes.square().sum() - constant
    torch.testing.assert_close(loss(other) - loss(one), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("options", [{"target_rate": 0.1, "strength": 1e-3}, {"top_k": 5}, {"prior": "normal"}])
def test_the_decoders_columns_stay_bounded(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    sparse = pb.SparseAutoencoder(64, 30, **options, likelihood={"name": "normal", "scale": 0.2})
    sparse.fit(GREY[:300], epochs=10, learning_rate=1e-2, seed=0)
    norms = sparse.dictionary.norm(dim=1)
    assert (norms <= 1 + 1e-6).all()
    assert (norms > 0.999).any()


def test_activity_counts_units_and_finds_the_dead() -> None:
    """A unit that is the same in every example is dead, be it silent or not."""
    sparse = pb.SparseAutoencoder(64, 6)
    bias = sparse.encoder[0].bias  # type: ignore[index, union-attr]
    torch.nn.init.zeros_(sparse.encoder[0].weight)  # type: ignore[index, arg-type, union-attr]
    with torch.no_grad():
        sparse.encoder[0].weight[5, 20] = 1.0  # type: ignore[index, operator, union-attr]
        bias.copy_(torch.tensor([0.5, -1.0, 1.0, -0.1, 2.0, 0.0]))
    found, share = sparse.activity(GREY), (GREY.tensor[:, 20] > 0).float().mean().item()
    assert 0.1 < share < 0.9
    torch.testing.assert_close(found.rates, torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, share]))
    torch.testing.assert_close(found.means[:5], torch.tensor([0.5, 0.0, 1.0, 0.0, 2.0]))
    assert found.active_share == pytest.approx((3 + share) / 6)
    torch.testing.assert_close(found.ranges[:5], torch.zeros(5))
    assert found.dead.tolist() == [0, 1, 2, 3, 4]


def test_a_sigmoid_unit_is_active_above_one_half() -> None:
    sparse = pb.SparseAutoencoder(64, 2, target_rate=0.1)
    torch.nn.init.zeros_(sparse.encoder[0].weight)  # type: ignore[index, arg-type, union-attr]
    with torch.no_grad():
        sparse.encoder[0].bias.copy_(torch.tensor([0.1, -0.1]))  # type: ignore[index, operator, union-attr]
    assert sparse.activity(GREY).rates.tolist() == [1.0, 0.0]


def test_a_sigmoid_unit_that_moves_below_one_half_is_alive() -> None:
    """At a low target rate most units never come above it, and yet the reconstruction needs them."""
    torch.manual_seed(0)
    sparse = pb.SparseAutoencoder(64, 32, target_rate=0.05)
    sparse.fit(GREY, epochs=15, seed=0, progress=False)
    found, z = sparse.activity(GREY), sparse.embed(GREY)
    silent = found.rates == 0
    assert silent.sum() > 5
    assert not len(found.dead)

    def squared_error(which: Tensor) -> Tensor:
        """With these units at their means."""
        return (sparse.decode(torch.where(which, z.mean(0), z)).mean - GREY.tensor).square().sum(1).mean()

    assert squared_error(silent) > 1.2 * squared_error(torch.zeros(32, dtype=torch.bool))
    with torch.no_grad():
        sparse.encoder[0].weight[3] *= 1e-3  # type: ignore[index, operator, union-attr]
    assert sparse.activity(GREY).dead.tolist() == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_rate": 0.1, "top_k": 3}, "top_k: expected None beside target_rate"),
        ({"prior": "normal", "top_k": 3}, "top_k: expected None beside prior"),
        ({"prior": "laplace", "target_rate": 0.1}, "target_rate: expected None beside prior"),
        ({"strength": 0.1, "top_k": 3}, "strength: expected None beside top_k"),
        ({"top_k": 0}, "top_k: expected a positive integer"),
        ({"top_k": 11}, "top_k: expected at most 10"),
        ({"target_rate": 0.0}, "target_rate: expected a finite number above 0"),
        ({"target_rate": 1.0}, "target_rate: expected a number below 1"),
        ({"target_rate": 0.1, "strength": 0.0}, "strength: expected a finite number above 0"),
        ({"prior": {"name": "laplace", "rate": 2.0}}, "prior: expected a name without settings"),
        ({"prior": "flat"}, "prior: expected one of 'laplace', 'normal'"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        pb.SparseAutoencoder(64, 10, **options)
