"""Probabilistic PCA: everything about it is known exactly, so everything is compared with what is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import probae as pb
from probae.errors import ArgumentError, DataError


def data(num_examples: int = 400, size: int = 8, rank: int = 3, noise: float = 0.3) -> Tensor:
    """Examples near a subspace, around a mean, in float64."""
    generator = torch.Generator().manual_seed(0)
    z, weight, mean, e = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(num_examples, rank), (rank, size), (size,), (num_examples, size)]
    )
    return z @ weight + mean + noise * e


def highest_log_likelihood(x: Tensor, latent_dim: int) -> float:
    """Tipping and Bishop 1999, at the maximum: -(D log 2 pi + log |C| + D) / 2, of the singular values of the data."""
    size = x.shape[1]
    variances = torch.linalg.svdvals(x - x.mean(0)).square() / len(x)
    noise = variances[latent_dim:].mean()
    log_det = variances[:latent_dim].log().sum() + (size - latent_dim) * noise.log()
    return -0.5 * (size * math.log(2 * math.pi) + log_det.item() + size)


@pytest.mark.parametrize("latent_dim", [1, 3, 7])
@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (1e4, 1e5), (1e-3, 0.0)])
def test_the_closed_form_is_the_maximum_and_its_elbo_the_likelihood(
    latent_dim: int, factor: float, shift: float
) -> None:
    """With the exact posterior, log p(x, z) - log q(z given x) is log p(x) for every z, so nothing is random here."""
    x = factor * data() + shift
    ppca = pb.ProbabilisticPCA(8, latent_dim).double().fit_closed_form(x)
    exact = ppca.log_likelihood(x)
    assert exact.value == pytest.approx(highest_log_likelihood(x, latent_dim), abs=1e-9)
    elbo = -pb.ELBO(analytic_kl=False)(ppca.model, ppca.guide, x).item() / len(x)
    assert elbo == pytest.approx(exact.value, abs=1e-9)
    sampled = ppca.log_likelihood(x, "importance", num_samples=2)
    torch.testing.assert_close(sampled.per_example, exact.per_example, rtol=0, atol=1e-8)


def test_the_likelihood_is_that_of_a_normal_with_full_covariance() -> None:
    ppca, x = pb.ProbabilisticPCA((2, 4), 3).double(), data(20)
    weight = ppca.weight
    covariance = weight @ weight.T + ppca.likelihood.scale.detach() ** 2 * torch.eye(8)  # type: ignore[operator]
    wanted = torch.distributions.MultivariateNormal(ppca.mean, covariance).log_prob(x)
    exact = ppca.log_likelihood(x.reshape(20, 2, 4))
    torch.testing.assert_close(exact.per_example, wanted)
    assert (exact.direction, exact.stderr, exact.protocol.estimator) == ("exact", 0.0, "exact")
    torch.testing.assert_close(ppca.marginal().covariance_matrix, covariance)


def test_directions_of_equal_variance_leave_no_weights() -> None:
    """All eigenvalues are the same: what is kept exceeds the mean of the rest by nothing, or by less than rounding."""
    ppca = pb.ProbabilisticPCA(10, 7).fit_closed_form(torch.cat([torch.eye(10), -torch.eye(10)]))
    assert ppca.decode(torch.ones(2, 7)).mean.abs().max() < 1e-3


def test_stochastic_gradients_reach_the_closed_form() -> None:
    """By the defaults, to 0.01 nats an example."""
    torch.manual_seed(0)
    x = data(noise=1.0).float()
    ppca = pb.ProbabilisticPCA(8, 3)
    ppca.fit(x, seed=0)
    assert -0.01 < ppca.log_likelihood(x).value - highest_log_likelihood(x.double(), 3) < 1e-5


def test_its_axes_are_the_principal_components_in_order() -> None:
    x = data()
    ppca = pb.ProbabilisticPCA(8, 3).double().fit_closed_form(x)
    gram = ppca.weight.T @ ppca.weight
    torch.testing.assert_close(gram, gram.diagonal().sort(descending=True).values.diag())
    components = torch.linalg.svd(x - x.mean(0)).Vh[:3]
    cosines = torch.nn.functional.cosine_similarity(ppca.weight.T, components)
    torch.testing.assert_close(cosines.abs(), torch.ones(3, dtype=torch.float64))
    assert (ppca.weight.gather(0, ppca.weight.abs().argmax(0, keepdim=True)) > 0).all()
    torch.testing.assert_close(ppca.mean, x.mean(0))


def test_constant_dimensions_are_as_good_as_others() -> None:
    x = data()
    x[:, [2, 5]] = 1.0
    ppca = pb.ProbabilisticPCA(8, 3).double().fit_closed_form(x)
    assert ppca.log_likelihood(x).value == pytest.approx(highest_log_likelihood(x, 3), abs=1e-9)
    torch.testing.assert_close(ppca.weight[[2, 5]], torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "x", [data(noise=0.0), 1e6 + data(noise=0.0), data(4), data(1), torch.ones(9, 8)],
    ids=["rank 3", "far away", "4 examples", "1 example", "constant"],
)  # fmt: skip
def test_data_without_a_maximum_is_refused_and_changes_nothing(x: Tensor, dtype: torch.dtype) -> None:
    ppca = pb.ProbabilisticPCA(8, 3).to(dtype)
    before = {name: tensor.clone() for name, tensor in ppca.state_dict().items()}
    with pytest.raises(DataError, match=r"^data: expected variance in more directions than latent_dim"):
        ppca.fit_closed_form(x.to(dtype))
    torch.testing.assert_close(ppca.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("latent_dim", [8, 9])
def test_a_code_as_long_as_the_data_is_refused(latent_dim: int) -> None:
    with pytest.raises(ArgumentError, match=r"^latent_dim: expected a number below the 8 values of an example"):
        pb.ProbabilisticPCA((2, 4), latent_dim)


def test_options_of_the_likelihood_are_checked() -> None:
    ppca, x = pb.ProbabilisticPCA(8, 3), data(5).float()
    for options, argument in [({"method": "ais"}, "method"), ({"y": 1}, "y"), ({"number": 1}, "number")]:
        with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
            ppca.log_likelihood(x, **options)


# In-painting.


@pytest.mark.parametrize("mean", [False, True])
def test_what_is_missing_is_drawn_from_its_conditional_distribution(mean: bool) -> None:
    """Means and covariances are those of the marginal Normal, conditioned by Schur's complement (six errors)."""
    torch.manual_seed(0)
    x = torch.randn(50, 2) @ torch.randn(2, 5) + 0.4 * torch.randn(50, 5)
    model = pb.ProbabilisticPCA(5, 2).fit_closed_form(x)
    joint, shown = model.marginal(), torch.tensor([True, False, True, False, False])
    covariance = joint.covariance_matrix
    gain = covariance[~shown][:, shown] @ covariance[shown][:, shown].inverse()
    x = torch.tensor([0.7, torch.nan, -1.2, torch.nan, torch.nan])
    expected = joint.loc[~shown] + gain @ (x[shown].double() - joint.loc[shown])
    left = covariance[~shown][:, ~shown] - gain @ covariance[shown][:, ~shown]
    count = 20_000
    filled = model.inpaint(x.expand(count, 5), shown, mean=mean)
    assert (filled[:, shown] == x[shown]).all()
    missing = filled[:, ~shown].double()
    if mean:
        torch.testing.assert_close(missing, expected.expand(count, 3), rtol=1e-5, atol=1e-6)
        return
    assert ((missing.mean(0) - expected).abs() < 6 * left.diagonal().div(count).sqrt()).all()
    spread = (left.square() + left.diagonal().outer(left.diagonal())).div(count).sqrt()
    assert ((missing.T.cov() - left).abs() < 6 * spread).all()


def test_each_example_has_its_own_mask() -> None:
    torch.manual_seed(0)
    model = pb.ProbabilisticPCA(4, 2).fit_closed_form(torch.randn(50, 4))
    x, masks = torch.randn(8, 4), torch.rand(8, 4) < 0.6
    masks[:, 0] = True
    together = model.inpaint(x, masks, mean=True)
    for row in range(8):
        torch.testing.assert_close(together[row], model.inpaint(x[row : row + 1], masks[row], mean=True)[0])
