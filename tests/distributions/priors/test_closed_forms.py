"""Priors against densities by hand, and where each one starts."""

from __future__ import annotations

import math

import torch

from probae.distributions.priors import FlowPrior, KernelDensity, Laplace, MixtureOfNormals, StandardNormal

z = torch.linspace(-3, 3, 40).reshape(20, 2)


def standard() -> torch.Tensor:
    return (-(z**2) / 2 - math.log(2 * math.pi) / 2).sum(-1)


def test_the_standard_normal_and_laplace() -> None:
    torch.testing.assert_close(StandardNormal(2).distribution().log_prob(z), standard())
    laplace = (-0.8 * z.abs() + math.log(0.8 / 2)).sum(-1)
    torch.testing.assert_close(Laplace(2, rate=0.8).distribution().log_prob(z), laplace)


def test_a_kernel_density_is_the_mean_of_normals_around_its_own_copy_of_the_points() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, -1.0], [2.0, 0.0]], dtype=torch.float64)
    p = KernelDensity(2, points, scale=0.3).distribution()
    each = torch.distributions.Normal(points.float()[:, None], 0.3).log_prob(z).sum(-1)
    points += 1.0
    torch.testing.assert_close(p.log_prob(z), each.logsumexp(0) - math.log(3))


def test_a_flow_starts_as_the_standard_normal() -> None:
    for dim in (1, 2):
        for conditioner in ("autoregressive", "coupling"):
            p = FlowPrior(dim, conditioner=conditioner).distribution()
            wanted = StandardNormal(dim).distribution().log_prob(z[:, :dim])
            torch.testing.assert_close(p.log_prob(z[:, :dim]), wanted)


def test_a_mixture_starts_near_the_standard_normal_with_components_apart() -> None:
    """The average of 2000 means and variances; 6 standard errors, false alarm 4e-9 a comparison."""
    prior = MixtureOfNormals(3, num_components=2000)
    p = prior.distribution()
    assert p.mean.abs().max() < 6 * math.sqrt(0.5 / 2000)
    assert (p.variance - 1).abs().max() < 6 * 0.5 * math.sqrt(2 / 2000) + 0.02
    distances = torch.cdist(prior.loc, prior.loc) + 9 * torch.eye(2000)
    assert distances.min() > 0
    torch.testing.assert_close(prior.scale, torch.full((2000, 3), math.sqrt(0.5)))


def test_scales_of_a_mixture_never_vanish_or_overflow() -> None:
    prior = MixtureOfNormals(2, num_components=2)
    for size in (1e2, 1e4, 1e30):
        with torch.no_grad():
            prior.raw_scale.copy_(torch.tensor([[-size, size], [-size, -size]]))
        assert (prior.scale >= 1e-3).all()
        value = prior.distribution().log_prob(z).sum()
        gradients = torch.autograd.grad(value, list(prior.parameters()))
        assert value.isfinite()
        assert not any(g.isnan().any() for g in gradients)
