"""The mixture of diagonal Normals: matrix products that are as exact as differences, and cheaper."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from probae.distributions.normal_mixture import MixtureOfDiagonalNormals


def parameters(count: int = 4, dim: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, loc, raw = (torch.randn(s, generator=generator) for s in ((count,), (count, dim), (count, dim)))
    return logits.to(dtype), loc.to(dtype), raw.exp().to(dtype)


def by_differences(z: Tensor, logits: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Torch's own way, which makes an N x K x d tensor."""
    components = dist.Normal(loc, scale).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components).log_prob(z)


def test_the_density_is_that_of_the_definition() -> None:
    z = 3 * torch.randn(5, 6, 3, dtype=torch.float64)
    found = MixtureOfDiagonalNormals(*parameters()).log_prob(z)
    torch.testing.assert_close(found, by_differences(z, *parameters()), rtol=1e-12, atol=1e-12)


def test_gradients_by_values_and_parameters() -> None:
    inputs = [part.requires_grad_() for part in (torch.randn(5, 3, dtype=torch.float64), *parameters())]
    torch.autograd.gradcheck(lambda z, *args: MixtureOfDiagonalNormals(*args).log_prob(z), inputs)


@pytest.mark.parametrize(
    ("spread", "scale"), [(1.0, 0.5), (1.0, 0.05), (5.0, 0.05), (5.0, 1e-3)], ids=["usual", "sharp", "far", "tiny"]
)
def test_float32_is_as_exact_as_its_inputs(spread: float, scale: float) -> None:
    """500 components in 50 dimensions, at values drawn from them; the worst of 1000 errors and their mean, in nats."""
    loc = spread * (2 * torch.rand(500, 50) - 1)
    logits, scales, index = torch.randn(500), scale * (0.5 + torch.rand(500, 50)), torch.randint(500, (1000,))
    z = torch.normal(loc[index], scales[index])
    exact = torch.cat([by_differences(c, *(p.double() for p in (logits, loc, scales))) for c in z.double().split(100)])
    found = MixtureOfDiagonalNormals(logits, loc, scales).log_prob(z)
    assert found.dtype == torch.float32
    error = found.double() - exact
    assert error.abs().max() < 5e-5
    assert error.mean().abs() < 1e-6
    differences = by_differences(z[:100], logits, loc, scales).double() - exact[:100]
    assert error[:100].square().mean() < differences.square().mean(), "float32 differences are less exact"


def test_moments_are_those_of_the_definition() -> None:
    logits, loc, scale = parameters()
    p, wanted = MixtureOfDiagonalNormals(logits, loc, scale), dist.MixtureSameFamily(
        dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1)
    )  # fmt: skip
    torch.testing.assert_close(p.mean, wanted.mean)
    torch.testing.assert_close(p.variance, wanted.variance)
    assert p.expand(torch.Size((7,))).mean.shape == p.expand(torch.Size((7,))).variance.shape == (7, 3)
    torch.testing.assert_close(p.expand(torch.Size((7,))).variance, wanted.variance.expand(7, 3))


def test_a_component_without_weight_is_never_drawn() -> None:
    p = MixtureOfDiagonalNormals(
        torch.tensor([0.0, -torch.inf, 0.0]), torch.tensor([[-100.0], [0.0], [100.0]]), torch.ones(3, 1)
    )
    draws = p.sample((1000,))
    assert (draws.abs() > 50).all()
    assert (draws > 0).any()
    assert (draws < 0).any()
    assert p.log_prob(torch.zeros(1)).isfinite()


@pytest.mark.parametrize("size", [1e4, 1e18, 1e30])
def test_far_values_have_no_weight_rather_than_a_nan(size: float) -> None:
    z = torch.tensor([[size, -size, 0.0]], requires_grad=True)
    value = MixtureOfDiagonalNormals(*parameters(dtype=torch.float32)).log_prob(z)
    assert not value.isnan().any()
    assert not torch.autograd.grad(value.sum(), z)[0].isnan().any()


def test_bad_parameters_are_refused_in_validated_runs() -> None:
    logits, loc, scale = parameters()
    for bad in ((logits, loc, -scale), (logits, loc * torch.nan, scale), (logits + torch.nan, loc, scale)):
        with pytest.raises(ValueError, match="to satisfy the constraint"):
            MixtureOfDiagonalNormals(*bad, validate_args=True)
