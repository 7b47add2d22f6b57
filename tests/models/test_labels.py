"""Labels: as a condition, and as a latent site that is summed out; against sums and integrals done by hand."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError, DataError

D, K = 6, 3
LONG = torch.tensor([0, 1, 2, 1])


def bits(count: int, seed: int = 0) -> Tensor:
    return (torch.rand(count, D, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def small(labels: str, **settings: Any) -> pb.VAE:
    torch.manual_seed(0)
    vae = pb.VAE(D, **{"latent_dim": 1, "hidden": 5, "num_labels": K, "labels": labels, **settings}).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(2.0)  # away from a decoder that does not listen
    assert vae.labels is not None
    vae.labels.rates.copy_(torch.tensor([0.5, 0.3, 0.2]))
    return vae


def log_joint_of_label(vae: pb.VAE, x: Tensor, label: int) -> Tensor:
    """log p(x given y) by the midpoint rule over z: (N,)."""
    step = 1e-3
    z = torch.arange(-8, 8, step, dtype=torch.float64).unsqueeze(-1) + step / 2
    log_p = vae.decode(z, label).log_prob(x.unsqueeze(1))  # (N, grid)
    return (log_p + dist.Normal(0.0, 1.0).log_prob(z.squeeze(-1)) + math.log(step)).logsumexp(1)


def test_the_likelihood_of_a_conditional_model_is_that_of_an_integral() -> None:
    vae, x, y = small("condition"), bits(4), torch.tensor([0, 1, 2, 1])
    exact = torch.stack([log_joint_of_label(vae, x, label) for label in range(K)])[y, torch.arange(4)]
    estimate = vae.log_likelihood(x, y=y, num_samples=20_000)
    torch.testing.assert_close(estimate.per_example, exact, rtol=0, atol=6 * 4 * estimate.stderr)
    assert "log p(x given y)" in str(estimate.protocol)
    assert (exact - torch.stack([log_joint_of_label(vae, x, (i + 1) % K) for i in y.tolist()])[:, 0]).abs().max() > 0.01


def test_the_likelihood_with_latent_labels_sums_over_them() -> None:
    vae, x = small("latent"), bits(4)
    assert vae.labels is not None
    parts = torch.stack([log_joint_of_label(vae, x, label) for label in range(K)])
    exact = (parts + vae.labels.rates.log().unsqueeze(1)).logsumexp(0)
    estimate = vae.log_likelihood(x, num_samples=20_000)
    torch.testing.assert_close(estimate.per_example, exact, rtol=0, atol=6 * 4 * estimate.stderr)
    assert "given" not in str(estimate.protocol)


def elbo_by_hand(vae: pb.VAE, x: Tensor, label: Tensor, count: int) -> Tensor:
    """log p(x, y) + log p(y) - KL of one label each, averaged over samples of z: (N,)."""
    assert vae.labels is not None
    q = vae.encode(x, label)
    z = q.sample((count,))
    likelihood = vae.decode(z, label.repeat(count)).log_prob(x).mean(0)
    kl = torch.distributions.kl_divergence(q, dist.Normal(torch.zeros(1).double(), 1.0).to_event(1))
    return likelihood - kl + vae.labels.rates.log()[label]


def test_the_elbo_of_known_and_unknown_labels() -> None:
    """Kingma et al. 2014, equations 6 and 7. A standard error here is below 0.005 nats; twelve of them never fail."""
    vae, x, y = small("latent"), bits(3), torch.tensor([2, -1, 0])
    assert vae.labels is not None
    torch.manual_seed(1)
    loss = pb.ELBO(num_particles=4000)(vae.model, vae.guide, x, y)
    q = vae.classify(x)
    parts = torch.stack([elbo_by_hand(vae, x, torch.full((3,), label), 20_000) for label in range(K)], 1)
    unknown = (q.probs * (parts - q.logits)).sum(1)
    expected = parts[0, 2] + unknown[1] + parts[2, 0]
    assert -loss.item() == pytest.approx(expected.item(), abs=0.06)
    everywhere = pb.ELBO(num_particles=4000)(vae.model, vae.guide, x)
    assert -everywhere.item() == pytest.approx(unknown.sum().item(), abs=0.06)


def test_the_classifier_learns_from_the_penalty_alone_where_labels_are_known() -> None:
    vae, x, y = small("latent"), bits(5), torch.tensor([0, 1, 2, 0, 1])
    assert vae.labels is not None
    classifier = [*vae.labels.classifier.parameters()]  # type: ignore[union-attr]
    pb.ELBO()(vae.model, vae.guide, x, y).backward()
    assert all(not p.grad.any() for p in classifier if p.grad is not None)
    torch.manual_seed(0)
    plain = pb.ELBO()(vae.model, vae.guide, x, y)
    torch.manual_seed(0)
    penalized = vae.objective(classification=0.7)(vae.model, vae.guide, x, y)
    cross_entropy = torch.nn.functional.cross_entropy(vae.labels.logits(x), y, reduction="sum")
    torch.testing.assert_close(penalized - plain, 0.7 * cross_entropy)


def test_the_penalty_is_the_mean_over_the_labelled_examples() -> None:
    vae, x = small("latent"), bits(6)
    y = torch.tensor([0, -1, 2, -1, -1, -1])
    vae.fit((x, y), epochs=1, batch_size=None, learning_rate=0.0, seed=0)
    assert vae.labels is not None
    mean = vae.labels.classification(0.5, lambda batch: batch[0])
    penalty = mean((x, y), None)
    known = y >= 0
    expected = 0.5 * torch.nn.functional.cross_entropy(vae.labels.logits(x[known]), y[known])
    torch.testing.assert_close(penalty, expected)
    assert mean((x, torch.full_like(y, -1)), None) == 0


def test_labels_by_keyword_count_as_much() -> None:
    vae, x, y = small("latent"), bits(6), torch.tensor([0, -1, 2, 1, -1, 0])
    losses = []
    for args, kwargs in (((x, y), {}), ((x,), {"y": y}), ((), {"x": x, "y": y})):
        torch.manual_seed(0)
        losses.append(vae.objective(classification=3.0)(vae.model, vae.guide, *args, **kwargs).item())
    assert losses[0] == losses[1] == losses[2]


def test_the_objective_takes_the_bound_s_settings() -> None:
    objective: Any = small("latent").objective(0.5, beta=0.3, num_particles=2)
    assert (objective.beta.value, objective.num_particles, len(objective.penalties)) == (0.3, 2, 1)
    assert not small("condition").objective().penalties  # type: ignore[union-attr, operator]
    with pytest.raises(ArgumentError, match="beta"):
        small("latent").objective(betta=0.3)


@pytest.mark.parametrize("bad", [-1, 2])
def test_a_stream_s_later_labels_are_never_taken_for_others(bad: int) -> None:
    """Nobody looks at them, since that would wait; the loss is none."""
    good = (torch.ones(4, 9), torch.tensor([0, 1, 0, 1]))
    stream = [*[good] * 30, (torch.ones(4, 9), torch.tensor([0, 1, bad, 1]))]
    model = pb.VAE(9, 2, 8, num_labels=2)
    with pytest.raises(pb.errors.NonFiniteError, match="step 30 is not finite") as caught:
        model.fit(stream, epochs=1, seed=0)
    assert caught.value.step == 30
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_stream_s_labels_are_checked_by_the_first_step() -> None:
    for labels, bad in (("condition", LONG - 1), ("latent", LONG + 1), ("latent", LONG.float())):
        with pytest.raises(DataError, match=r"^y: expected") as caught:
            small(labels).fit([(bits(4), bad)], epochs=1)
        assert "Trace Shapes" not in str(caught.value)


def test_prepared_rates_stay() -> None:
    vae, x = pb.VAE(D, 2, 4, num_labels=K), bits(4).float()
    vae.prepare(pb.data.Dataset(x, LONG))
    rates = vae.labels.rates.clone()  # type: ignore[union-attr]
    torch.testing.assert_close(rates, torch.tensor([2.0, 3.0, 2.0]) / 7)
    vae.prepare((x, torch.zeros(4, dtype=torch.long)))  # type: ignore[arg-type]
    assert torch.equal(vae.labels.rates, rates)  # type: ignore[union-attr]


def test_models_without_labels_refuse_them_in_their_verbs() -> None:
    vae, x = pb.VAE(D, 2, 4), bits(4).float()
    for use in (
        lambda: vae.sample(4, y=1), lambda: vae.embed(x, LONG), lambda: vae.decode(torch.zeros(4, 2), 1),
        lambda: vae.reconstruct(x, LONG), lambda: vae.log_likelihood(x, y=LONG),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"^y: expected None, since the model has no labels \(num_labels=\)"):
            use()
    with pytest.raises(ArgumentError, match=r"^y: expected None"):
        small("latent").log_likelihood(bits(4), y=LONG)


def test_a_module_that_does_not_expect_the_label_is_named() -> None:
    vae = pb.VAE(D, 2, num_labels=K, encoder=torch.nn.Linear(D, 4))
    with pytest.raises(ArgumentError, match=r"encoder: expected a module for inputs of shape \(N, 9\), one-hot labels"):
        vae.embed(bits(4).float(), LONG)


def test_few_labels_classify_many() -> None:
    """A hundred labels of 1,197: far above chance (10%), and above what the same classifier learns from them alone."""
    digits = pb.data.load("digits", binarize="threshold")
    y = digits.train.labels.clone()  # type: ignore[union-attr]
    y[100:] = -1
    torch.manual_seed(0)
    vae = pb.VAE(64, 10, 64, num_labels=10, labels="latent")
    vae.fit((digits.train, y), epochs=30, learning_rate=3e-3, seed=0)
    accuracy = (vae.classify(digits.test).probs.argmax(-1) == digits.test.labels).float().mean()
    assert accuracy > 0.7
    rates = torch.bincount(y[:100], minlength=10) + 1.0
    torch.testing.assert_close(vae.labels.rates, rates / rates.sum())  # type: ignore[union-attr]


def test_labels_decide_what_is_drawn() -> None:
    digits = pb.data.load("digits", binarize="threshold")
    few = digits.train[digits.train.labels < 2]  # type: ignore[operator]
    torch.manual_seed(0)
    vae = pb.VAE((1, 8, 8), 4, 32, num_labels=2)
    vae.fit(few, epochs=40, learning_rate=5e-3, seed=0)
    for label in (0, 1):
        drawn = vae.sample(200, y=label, mean=True).mean(0)
        means = torch.stack([few.tensor[few.labels == i].mean(0) for i in (0, 1)])
        assert (drawn - means[label]).square().sum() < 0.3 * (drawn - means[1 - label]).square().sum()
    assert vae.sample(5, y=torch.tensor([0, 1, 0, 1, 1])).shape == (5, 64)
    assert vae.decode(torch.zeros(3, 4), 1).batch_shape == (3,)
    assert not torch.equal(vae.reconstruct(few.tensor[:5], 0), vae.reconstruct(few.tensor[:5], 1))


def test_without_labels_samples_have_the_training_data_s_rates() -> None:
    """Binomial(4000, 0.9): six standard errors are 114, a false alarm in 5e8."""
    vae = pb.VAE(2, 1, 4, num_labels=2)
    y = (torch.arange(1000) >= 900).long()
    x = torch.stack([y.float(), 1 - y.float()], 1)
    vae.fit((x, y), epochs=60, learning_rate=0.03, seed=0)
    torch.manual_seed(0)
    assert abs(int((vae.sample(4000, mean=True)[:, 0] < 0.5).sum()) - 4000 * 901 / 1002) < 114


def test_labels_by_guess_and_by_request() -> None:
    vae, x = small("latent"), bits(4)
    best = vae.classify(x).probs.argmax(-1)
    torch.testing.assert_close(vae.embed(x), vae.embed(x, best))
    asked = torch.where(torch.tensor([True, False, True, False]), (best + 1) % K, best)
    mixed = torch.where(torch.tensor([True, False, True, False]), asked, -1)
    torch.testing.assert_close(vae.embed(x, mixed), vae.embed(x, asked))


@pytest.mark.parametrize(
    ("labels", "y", "message"),
    [
        ("condition", None, "expected .*labels"),
        ("condition", LONG.float(), r"expected integer labels; got a tensor of torch.float32"),
        ("condition", LONG[:3], r"expected labels of shape \(4,\), one an example; got shape \(3,\)"),
        ("condition", LONG - 1, r"expected labels from 0 to 2; got values from -1 to 1. pb.VAE\(labels='latent'\)"),
        ("latent", LONG + 1, "expected labels from 0 to 2, or -1 where unknown; got values from 1 to 3"),
        ("latent", LONG - 2, ".* where unknown; got values from -2 to 0"),
        ("latent", "two", "expected integer labels; got str"),
    ],
)
def test_labels_are_checked_at_each_door(labels: str, y: Any, message: str) -> None:
    vae, x = small(labels), bits(4)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(DataError, match=f"^data: {message}"):
        vae.fit((x, y) if y is not None else x, epochs=1)
    with pytest.raises(DataError, match=f"^y: {message}"):
        vae.embed(x, y)
    if y is not None:
        with pytest.raises(DataError, match=f"^y: {message}"):
            vae.sample(4, y)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "latent", "num_labels": None}, "num_labels: expected the number of classes, beside"),
        ({"labels": "hidden"}, "labels: expected one of 'condition', 'latent'; got 'hidden'"),
        ({"labels": "condition", "num_labels": 1}, "num_labels: expected an integer of at least 2; got 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pb.VAE(D, **{"num_labels": K, **settings})


def test_only_latent_labels_are_inferred() -> None:
    with pytest.raises(ArgumentError, match="labels: expected 'latent'"):
        small("condition").classify(bits(2))
    with pytest.raises(ArgumentError, match="num_labels"):
        pb.VAE(D).classify(bits(2))
