"""Examples that are observed in part: log p of what is observed, exactly, and nothing of the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.utils.data import DataLoader

import probae as pb
from probae.data import Dataset
from probae.distributions.likelihoods import LIKELIHOODS
from probae.errors import ArgumentError, DataError
from probae.models.observed import Observed, check_mask, observed

SIZE, WIDTH = 12, 6
MASK = torch.rand(SIZE, WIDTH, generator=torch.Generator().manual_seed(1)) < 0.6
MASK[:, 0] = True
SETTINGS: dict[str, dict[str, Any]] = {"categorical": {"categories": 3}, "discretized_logistic": {"levels": 5}}


def examples_for(name: str) -> tuple[Tensor, Tensor]:
    """Examples in the support, and a mask that shows some of each."""
    generator = torch.Generator().manual_seed(2)
    if name == "categorical":
        classes = torch.randint(3, (SIZE, 2), generator=generator)
        units = MASK[:, :2].repeat_interleave(3, -1)
        return torch.nn.functional.one_hot(classes, 3).flatten(1).float(), units
    grey = torch.randint(5, (SIZE, WIDTH), generator=generator) / 4
    return {"bernoulli": (grey > 0.5).float(), "normal": grey * 3}.get(name, grey), MASK


def vae_of(name: str, **settings: Any) -> pb.VAE:
    torch.manual_seed(0)
    return pb.VAE(WIDTH, 2, 5, {"name": name, **SETTINGS.get(name, {})}, **settings).double()


def site_log_prob(model: pb.VAE, z: Tensor, x: Tensor, **given: Any) -> Tensor:
    with pyro.validation_enabled():
        trace = poutine.trace(poutine.condition(model.model, {"z": z})).get_trace(x, **given)
        trace.compute_log_prob()
        return trace.nodes["x"]["log_prob"]


# The likelihood of what is observed.


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_it_is_the_likelihood_summed_over_what_is_not_observed(name: str) -> None:
    """Summed over all fillings of a hidden value, or integrated, what shows it is what hides it."""
    x, mask = (part.double() if part.is_floating_point() else part for part in examples_for(name))
    model, z = vae_of(name), torch.randn(SIZE, 2, dtype=torch.float64)
    hidden = torch.where(mask, x, torch.nan)
    shown = site_log_prob(model, z, hidden, mask=mask)
    unit = 3 if name == "categorical" else 1
    for row in range(4):
        places = (~mask[row]).nonzero().flatten()[:unit]
        if len(places) == 0:
            continue
        fillings, weights = fillings_of(name, unit)
        filled = x[row].expand(len(fillings), -1).clone()
        filled[:, places] = fillings
        more = mask[row].clone()
        more[places] = True
        with_it = site_log_prob(model, z[row].expand(len(fillings), -1), filled, mask=more.expand(len(fillings), -1))
        torch.testing.assert_close((with_it + weights.log()).logsumexp(0), shown[row], rtol=1e-6, atol=1e-6)


def fillings_of(name: str, unit: int) -> tuple[Tensor, Tensor]:
    """All values of a hidden unit, with the weights of a sum or a quadrature."""
    if name == "categorical":
        return torch.eye(unit, dtype=torch.float64), torch.ones(unit, dtype=torch.float64)
    if name in ("bernoulli", "discretized_logistic"):
        levels = 2 if name == "bernoulli" else 5
        return torch.linspace(0, 1, levels, dtype=torch.float64).unsqueeze(1), torch.ones(levels, dtype=torch.float64)
    low, high = (0.0, 1.0) if name == "continuous_bernoulli" else (-12.0, 12.0)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    scale = (high - low) / 2
    return (low + scale * (torch.tensor(nodes) + 1)).unsqueeze(1), scale * torch.tensor(weights)


def test_a_linear_models_likelihood_of_the_observed_is_the_marginals() -> None:
    """log p(x_o) of x = W z + b + noise is Normal(b_o, W_o W_o' + s^2 I), by importance sampling within five errors."""
    torch.manual_seed(0)
    model = pb.VAE(WIDTH, 2, (), {"name": "normal", "scale": 1.5})
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()  # the guide is the prior
    x = torch.where(MASK, torch.randn(SIZE, WIDTH), torch.nan)
    estimate = model.log_likelihood(x, mask=MASK, num_samples=20_000)
    layer: Any = model.decoder[0]  # type: ignore[index]
    exact = []
    for row, shown in zip(x, MASK, strict=True):
        weight = layer.weight.detach()[shown]
        covariance = weight @ weight.T + 2.25 * torch.eye(len(weight))
        exact.append(dist.MultivariateNormal(layer.bias.detach()[shown], covariance).log_prob(row[shown]))
    assert abs(estimate.value - torch.stack(exact).mean().item()) < 5 * estimate.stderr + 1e-3
    assert "log p(x where observed)" in str(estimate)


def test_lengths_are_the_mask_of_their_first_steps() -> None:
    model, x = vae_of("normal"), torch.randn(SIZE, 3, 2, dtype=torch.float64)
    model.data_shape = (3, 2)
    lengths = torch.arange(SIZE) % 3 + 1
    mask = torch.arange(3).expand(SIZE, 3) < lengths.unsqueeze(1)
    z = torch.randn(SIZE, 2, dtype=torch.float64)
    by_mask = site_log_prob(model, z, x, mask=mask.repeat_interleave(2, -1))
    torch.testing.assert_close(site_log_prob(model, z, x, lengths=lengths), by_mask)
    both = site_log_prob(model, z, x, lengths=lengths, mask=torch.arange(6).expand(SIZE, 6) > 0)
    torch.testing.assert_close(both, by_mask - model.decode(z).base_dist.log_prob(x.flatten(1))[:, 0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", [vae_of("normal"), vae_of("normal", guide="flow"), vae_of("normal", prior="vamp")])
def test_nothing_hangs_on_what_is_not_observed(model: pb.VAE) -> None:
    x = torch.randn(SIZE, WIDTH, dtype=torch.float64)
    other, unknown = torch.where(MASK, x, 99.0), torch.where(MASK, x, torch.nan)
    for verb in (model.embed, model.reconstruct):
        torch.testing.assert_close(verb(other, mask=MASK), verb(unknown, mask=MASK), rtol=0, atol=0)
    blank = torch.where(MASK, x, 0.0)
    torch.testing.assert_close(model.embed(other, mask=MASK), model.embed(blank), rtol=0, atol=0)
    elbos = []
    for given in (other, unknown):
        torch.manual_seed(3)
        elbos.append(pb.ELBO(num_particles=3)(model.model, model.guide, given, mask=MASK))
    torch.testing.assert_close(*elbos, rtol=0, atol=0)


def test_gradients_are_those_of_the_observed_alone() -> None:
    """A dimension that is never observed gives its outputs no gradient; with all shown there is no difference."""
    model, x, mask = vae_of("bernoulli"), examples_for("bernoulli")[0].double(), MASK.clone()
    mask[:, 2] = False
    pb.ELBO()(model.model, model.guide, x, mask=mask).backward()
    bias: Any = model.decoder[-1].bias  # type: ignore[index, union-attr]
    assert bias.grad[2] == 0
    assert (bias.grad[[0, 1, 3, 4, 5]] != 0).all()
    gradients = []
    for given in ({}, {"mask": torch.ones_like(mask)}):
        model.zero_grad()
        torch.manual_seed(3)
        pb.ELBO()(model.model, model.guide, x, **given).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


# Training.


def partly(count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Correlated values with a third of them missing, NaN: (all, what is shown, mask)."""
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(count, 1, generator=generator)
    x = z * torch.tensor([1.0, -1.0, 0.5, 2.0]) + 3 + 0.3 * torch.randn(count, 4, generator=generator)
    mask = torch.rand(count, 4, generator=generator) < 0.67
    mask[torch.arange(count), torch.randint(4, (count,), generator=generator)] = True
    return x, torch.where(mask, x, torch.nan), mask


def test_training_starts_at_the_mean_of_the_observed() -> None:
    _, x, mask = partly()
    for model in (pb.VAE(4, 1, 8, "normal"), pb.DenoisingAutoencoder(4, 2, 8), pb.SparseAutoencoder(4, 8)):
        model.prepare({"x": x, "mask": mask})
        torch.testing.assert_close(model.decoder[-1].bias.detach(), x.nanmean(0))  # type: ignore[index, union-attr]


def test_hidden_values_are_told_from_the_observed_ones() -> None:
    """Trained on a third missing, a linear model fills them in nearly as well as the true regression does.

    The error of the columns' means is the spread, 1.3 on average; that of the best linear filling about 0.4.
    """
    x, shown, mask = partly()
    torch.manual_seed(0)
    model = pb.VAE(4, 1, 32, {"name": "normal", "learned": True})
    data = {"x": shown, "mask": mask}
    model.fit(data, epochs=80, batch_size=50, learning_rate=1e-2, seed=0, progress=False)
    missing = ~mask
    error = (model.reconstruct(shown, mask=mask) - x)[missing].square().mean().sqrt()
    assert error < 0.75
    assert (x - x.mean(0))[missing].square().mean().sqrt() > 1.2


@pytest.mark.parametrize("way", ["trace", "inductor"])
def test_recorded_training_is_the_same(way: str) -> None:
    if way == "inductor":
        pytest.importorskip("torch._inductor")
    _, x, mask = partly(70)
    ends = []
    for compile in ("eager", way):
        torch.manual_seed(0)
        model = pb.VAE(4, 2, 8, "normal")
        data = {"x": x, "mask": mask}
        model.fit(data, epochs=3, batch_size=32, seed=0, compile=compile, progress=False)
        ends.append(list(model.parameters()))
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


def melodies() -> Dataset:
    return pb.data.load("melodies", size=96, length=5, min_length=2).train


NOTES: dict[str, Any] = {"name": "categorical", "categories": 8}


def test_a_data_set_brings_its_lengths() -> None:
    data = melodies()
    torch.manual_seed(0)
    model = pb.VAE((5, 8), 3, 8, NOTES, network="recurrent")
    run = model.fit(data, valid=data, epochs=2, seed=0, progress=False)
    assert len(run.history["valid_elbo"]) == 2
    torch.testing.assert_close(model.embed(data), model.embed(data.tensor, lengths=data.lengths))
    estimate = model.log_likelihood(data[:20], num_samples=50)
    assert "log p(x up to its length)" in str(estimate)
    by_hand = model.log_likelihood(data.tensor[:20], lengths=data.lengths[:20], num_samples=50)  # type: ignore[index]
    assert estimate.value == by_hand.value


def test_streams_and_labels_take_them_too() -> None:
    data = melodies()
    torch.manual_seed(0)
    model = pb.VAE((5, 8), 3, 8, NOTES, num_labels=4)
    model.fit(data, epochs=1, seed=0, progress=False)
    model.fit(DataLoader(data, batch_size=32), epochs=1, seed=0, progress=False)
    mapping = {"x": data.tensor, "y": data.labels, "lengths": data.lengths}
    model.fit(mapping, valid=mapping, epochs=1, seed=0, progress=False)
    estimate = model.log_likelihood(data[:10], num_samples=20)
    assert "log p(x up to its length given y)" in str(estimate)
    latent = pb.VAE((5, 8), 3, 8, NOTES, num_labels=4, labels="latent")
    latent.fit(mapping, epochs=1, seed=0, progress=False)
    assert math.isfinite(latent.log_likelihood(data[:10], num_samples=20).value)


def test_a_pair_by_itself_is_told_where_sequences_end() -> None:
    """Padding that is scored as if it had been observed would be another likelihood, and nobody would know."""
    data = melodies()[:10]
    torch.manual_seed(0)
    model = pb.VAE((5, 8), 3, 8, NOTES)
    with pytest.raises(DataError, match=r"'lengths': data.lengths"):
        pb.log_likelihood(model.model, model.guide, data, num_samples=5)
    told = {"x": data.tensor, "lengths": data.lengths}
    estimate = pb.log_likelihood(model.eval().model, model.guide, told, num_samples=50, seed=0)
    assert estimate.value == pytest.approx(model.log_likelihood(data, num_samples=50, seed=0).value, abs=1e-5)


@pytest.mark.parametrize("labels", ["latent", "condition"])
def test_what_a_mask_hides_from_a_model_with_labels_does_not_matter(labels: str) -> None:
    """Not in the classifier's cross-entropy either; and it may be NaN."""
    _, x, mask = partly(64)
    y, runs = torch.arange(64) % 3, []
    for hidden in (0.0, -999.0, torch.nan):
        torch.manual_seed(0)
        model = pb.VAE(4, 2, 8, "normal", num_labels=3, labels=labels)
        data = {"x": torch.where(mask, x, hidden), "y": y, "mask": mask}
        runs.append(model.fit(data, epochs=3, seed=0, progress=False).history["train_loss"])
        if labels == "latent":
            batch = {"x": data["x"].nan_to_num(), "y": y, "mask": mask}
            (penalty,) = model.objective(classification=2.0).penalties
            wanted = 2.0 * torch.nn.functional.cross_entropy(model.labels.logits(x.where(mask, 0.0)), y)
            torch.testing.assert_close(penalty(batch, None), wanted)
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("kind", ["plain", "sparse", "denoising", "emphasis", "contractive"])
def test_deterministic_models_take_them_too(kind: str) -> None:
    _, x, mask = partly(64)
    torch.manual_seed(0)
    model: Any = {
        "plain": lambda: pb.Autoencoder(4, 2, 8),
        "sparse": lambda: pb.SparseAutoencoder(4, 8, hidden=()),
        "denoising": lambda: pb.DenoisingAutoencoder(4, 2, 8),
        "emphasis": lambda: pb.DenoisingAutoencoder(4, 2, 8, emphasis=(2.0, 0.5)),
        "contractive": lambda: pb.ContractiveAutoencoder(4, 2, 8),
    }[kind]()
    data = {"x": x, "mask": mask}
    run = model.fit(data, valid=data, epochs=20, learning_rate=1e-2, seed=0, progress=False)
    assert run.history["valid_log_joint"][-1] > run.history["valid_log_joint"][0]
    assert model.reconstruct(x, mask=mask).isfinite().all()


def test_noise_does_not_reach_what_is_not_observed() -> None:
    """A corrupted input is blank where the example is."""
    model = pb.DenoisingAutoencoder(4, 2, 8, {"name": "gaussian", "scale": 1.0})
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    _, x, mask = partly(64)
    model.guide(x, mask=mask)
    assert (seen[-1][~mask] == 0).all()
    assert (seen[-1][mask] != x[mask]).all()


def test_walkback_does_not_read_what_is_not_observed() -> None:
    """Neither what was hidden from the start nor what the chain itself puts there."""
    model = pb.DenoisingAutoencoder(4, 2, 8, {"name": "gaussian", "scale": 1.0}, walkback=3)
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    _, x, mask = partly(64)
    model.guide(x, mask=mask)
    assert len(seen) == 4
    assert all((given[~mask] == 0).all() for given in seen)
    assert all((given[mask] != 0).all() for given in seen)


def test_denoise_and_score_come_by_the_same_door() -> None:
    """Values that are hidden may be anything; a data set brings its lengths; numbers need not be in the support."""
    torch.manual_seed(0)
    model: Any = pb.DenoisingAutoencoder((3, 2), 4, 8, "gaussian", "bernoulli")
    x, lengths = 3 * torch.randn(4, 3, 2), torch.tensor([1, 2, 3, 1])
    mask = (torch.arange(3) < lengths.unsqueeze(1)).repeat_interleave(2, 1)
    spoiled = torch.where(mask, x.flatten(1), torch.nan)
    blank = torch.where(mask, x.flatten(1), 0.0)
    data = Dataset(blank, data_shape=(3, 2), lengths=lengths)
    for verb, expected in ((model.denoise, model.denoise(blank)), (model.score, model.score(blank) * mask)):
        for given in ({"mask": mask}, {"lengths": lengths}, {"mask": mask, "lengths": lengths}):
            torch.testing.assert_close(verb(spoiled, **given), expected, rtol=0, atol=0)
        torch.testing.assert_close(verb(data), expected, rtol=0, atol=0)
        with pytest.raises(ArgumentError, match=r"^lengths: expected"):
            verb(x, lengths=lengths - 1)
        with pytest.raises(ArgumentError, match=r"^mask: expected at least one observed"):
            verb(x, mask=torch.zeros(6, dtype=torch.bool))
        with pytest.raises(DataError, match=r"^x: expected finite"):
            verb(spoiled)


def test_many_examples_are_encoded_in_parts() -> None:
    """What comes out is as if at once, and no network sees more than 1,024 of them."""
    sizes: list[int] = []
    shape, x, y = (1, 4, 4), torch.randn(2500, 16), torch.randint(3, (2500,))
    models: dict[str, Any] = {
        "plain": pb.Autoencoder(shape, 3, 8, network="conv"),
        "denoising": pb.DenoisingAutoencoder(shape, 3, 8, "gaussian", network="conv"),
        "labels": pb.VAE(shape, 3, 8, "normal", num_labels=3, network="conv"),
    }
    for name, model in models.items():
        given = (x, y) if name == "labels" else (x,)
        codes, made = model.embed(*given), model.reconstruct(*given)
        torch.testing.assert_close(model.encode(*given).mean, codes)
        for rows in (slice(0, 500), slice(900, 1200), slice(2300, 2500)):
            part = tuple(one[rows] for one in given)
            torch.testing.assert_close(model.embed(*part), codes[rows])
            torch.testing.assert_close(model.reconstruct(*part), made[rows])
        model.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        verbs = (model.embed, model.encode, model.reconstruct, model.anomaly_map)
        for verb in verbs if name != "denoising" else (*verbs, model.denoise, model.score):
            verb(*given)
    assert max(sizes) == 1024
    assert sum(sizes) == 2500 * 14


def test_emphasis_does_not_weigh_what_is_not_observed() -> None:
    """With weights (1, 0) on all but nothing corrupted, the loss is zero; hidden values must not bring it back."""
    corruption = {"name": "masking", "rate": 0.0}
    model = pb.DenoisingAutoencoder(4, 2, 8, corruption, emphasis=(1.0, 0.0))
    _, x, mask = partly(64)
    loss = model.objective()(model.model, model.guide, x, mask=mask)
    torch.testing.assert_close(loss, torch.zeros(()), atol=1e-4, rtol=0)


# What is refused.


def test_masks_and_lengths_are_checked_by_name() -> None:
    model, x = pb.VAE((3, 2), 2, 5, "normal"), torch.randn(4, 3, 2)
    shapes = r"expected a bool tensor of shape \(6,\) or \(4, 6\), True = observed"
    for mask in (torch.ones(4, 6), torch.ones(5, 6, dtype=torch.bool), [True] * 6, torch.ones(4, dtype=torch.bool)):
        with pytest.raises(ArgumentError, match=f"^mask: {shapes}"):
            model.embed(x, mask=mask)
    with pytest.raises(ArgumentError, match=r"^mask: expected at least one observed value in each example"):
        model.embed(x, mask=torch.zeros(4, 6, dtype=torch.bool))
    wanted = r"\(4,\) integers from 1 to 3"
    for lengths in (
        torch.tensor([1, 2, 3, 0]),
        torch.tensor([4, 1, 1, 1]),
        torch.ones(4),
        torch.ones(3).long(),
        [1] * 4,
    ):
        with pytest.raises(ArgumentError, match=f"^lengths: expected {wanted}"):
            model.embed(x, lengths=lengths)
    with pytest.raises(ArgumentError, match=r"^lengths"):
        model.fit({"x": x, "lengths": torch.tensor([1, 2, 3, 0])}, epochs=1)
    with pytest.raises(ArgumentError, match=r"^mask: expected None"):
        model.model(mask=torch.ones(4, 6, dtype=torch.bool))
    with pytest.raises(DataError, match=r"^x: expected finite values; got 1 of 24"):
        model.embed(
            torch.where(torch.arange(24).reshape(4, 3, 2) == 7, torch.nan, x), mask=torch.ones(6, dtype=torch.bool)
        )


def test_a_category_is_observed_whole_or_not_at_all() -> None:
    model = pb.VAE(6, 2, 5, {"name": "categorical", "categories": 3})
    x = torch.eye(3)[torch.zeros(4, 2, dtype=torch.long)].flatten(1)
    with pytest.raises(ArgumentError, match=r"^mask: expected all 3 values of a unit observed, or none"):
        model.embed(x, mask=torch.tensor([True, False, True, True, True, True]))
    with pytest.raises(DataError, match=r"^x: expected one-hot"):
        model.embed(torch.zeros(4, 6), mask=torch.tensor([True] * 3 + [False] * 3))


def test_what_cannot_take_them_says_so() -> None:
    x, mask = torch.randn(8, 4), torch.ones(8, 4, dtype=torch.bool)
    ppca = pb.ProbabilisticPCA(4, 2)
    for call in (
        lambda: ppca.embed(x, mask=mask),
        lambda: ppca.guide(x, mask=mask),
        lambda: ppca.fit({"x": x, "mask": mask}),
    ):
        with pytest.raises(ArgumentError, match=r"^mask: expected None, since ProbabilisticPCA has no use for it"):
            call()
    rbm = pb.RBM(4, 2)
    with pytest.raises(ArgumentError, match=r"^mask"):
        rbm.fit({"x": (x > 0).float(), "mask": mask}, epochs=1)


def test_one_mask_for_all_and_lengths_of_numbers() -> None:
    x = torch.arange(6.0).reshape(2, 3) + 1
    seen = observed(x, check_mask(torch.tensor([True, False, True]), 2, (3,)), torch.tensor([3, 1]), (3,))
    assert seen.mask is not None
    assert seen.mask.tolist() == [[True, False, True], [True, False, False]]
    assert seen.x.tolist() == [[1, 0, 3], [4, 0, 0]]
    assert seen.filled().tolist() == [[1, 0, 3], [4, 0, 3]]
    assert Observed(x).filled() is x
