"""The continuous Bernoulli: right to rounding where torch's is not, from logit zero to the largest."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from probae.distributions.likelihoods import ContinuousBernoulli
from probae.distributions.likelihoods.tilted_uniform import TiltedUniform

SIZES = [0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.0041, 0.1, 0.4999, 0.5, 0.5001, 1.0, 5.0, 17.0, 30.0, 89.0, 400.0, 1e4, 1e18]
LOGITS = torch.tensor([-size for size in SIZES[:0:-1]] + SIZES, dtype=torch.float64)


def reference(t: float) -> tuple[float, float, float]:
    """Log Z of exp(t x), less max(t, 0); mean; variance: by quadrature, or in the limit where exp(-|t|) vanishes."""
    size = abs(t)
    if size > 300:
        log_z, low, variance = -math.log(size), 1 / size, 1 / size**2
    else:
        nodes, weights = np.polynomial.legendre.leggauss(300)
        u, w = (nodes + 1) / 2, weights / 2 * np.exp(-size * (nodes + 1) / 2)  # u is the distance from the mode
        low = (w @ u) / w.sum()
        log_z, variance = math.log(w.sum()), (w @ (u - low) ** 2) / w.sum()
    return log_z, 1 - low if t > 0 else low, variance


REFERENCES = torch.tensor([reference(t) for t in LOGITS.tolist()], dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_log_densities_and_their_gradients(dtype: torch.dtype, rtol: float) -> None:
    log_z, mean, _ = REFERENCES.T
    for x in (0.0, 0.25, 1.0):
        t = LOGITS.to(dtype).requires_grad_()
        log_prob = TiltedUniform(t).log_prob(torch.tensor(x, dtype=dtype))
        wanted = LOGITS.to(dtype).double() * (x - (LOGITS > 0).double()) - log_z
        torch.testing.assert_close(log_prob.double(), wanted, rtol=rtol, atol=2 * rtol)
        (gradient,) = torch.autograd.grad(log_prob.sum(), t)
        torch.testing.assert_close(gradient.double(), x - mean, rtol=rtol, atol=2 * rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_moments(dtype: torch.dtype, rtol: float) -> None:
    _, mean, variance = REFERENCES.T
    p = TiltedUniform(LOGITS.to(dtype))
    torch.testing.assert_close(p.mean.double(), mean, rtol=5 * rtol, atol=0)
    torch.testing.assert_close(p.variance.double(), variance, rtol=20 * rtol, atol=1e-38)


def test_the_gradient_of_the_mean_is_the_variance() -> None:
    t = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(TiltedUniform(t).mean.sum(), t)
    torch.testing.assert_close(gradient, REFERENCES[:, 2], rtol=1e-11, atol=0)


def test_second_derivatives_exist_everywhere() -> None:
    t = LOGITS.clone().requires_grad_()
    log_prob = TiltedUniform(t).log_prob(torch.tensor(0.25, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(log_prob.sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), t)
    torch.testing.assert_close(second, -REFERENCES[:, 2], rtol=1e-10, atol=1e-15)


def test_torch_agrees_where_it_is_right() -> None:
    t = torch.linspace(-8, 8, 33, dtype=torch.float64)
    x = torch.rand(33, dtype=torch.float64)
    ours, torchs = TiltedUniform(t), dist.ContinuousBernoulli(logits=t)
    torch.testing.assert_close(ours.log_prob(x), torchs.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.mean, torchs.mean, rtol=1e-9, atol=1e-9)


def test_torch_is_wrong_where_we_say_so() -> None:
    """When this fails, torch's own distribution has been mended, and ours may go."""
    t = torch.tensor([20.0, 1000.0, 0.0041])
    torchs = dist.ContinuousBernoulli(logits=t)
    error = (torchs.log_prob(torch.ones(3)) - TiltedUniform(t).log_prob(torch.ones(3))).abs()
    assert (error[:2] > torch.tensor([0.2, 4.0])).all()
    assert torchs.variance[2] > 3 * TiltedUniform(t).variance[2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_draws_have_the_mean(dtype: torch.dtype) -> None:
    """z-tests of 35 logits by 100,000 draws, Bonferroni at 6 standard errors: false alarm 35 x 2e-9 = 7e-8."""
    p, count = TiltedUniform(LOGITS.to(dtype)), 100_000
    draws = p.sample(torch.Size([count]))
    assert ((draws >= 0) & (draws <= 1)).all()
    _, mean, variance = REFERENCES.T
    distance = _from_the_nearer_end(draws.double(), mean)
    # Where logits are large the draws near one are rounded to its neighbours.
    rounding = torch.finfo(dtype).eps * (LOGITS > 0)
    z = (distance - torch.minimum(mean, 1 - mean)).abs() / ((variance / count).sqrt() + rounding)
    assert (z < 6).all()


def _from_the_nearer_end(draws: Tensor, mean: Tensor) -> Tensor:
    return torch.where(mean > 0.5, (1 - draws).mean(0), draws.mean(0))


@pytest.mark.parametrize("u", [0.0, 2**-24, 0.5, 1 - 2**-24])
def test_draws_stay_inside_whatever_is_rounded(u: float, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.cat([torch.linspace(-40, 40, 4001), LOGITS.float()])
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, u))
    draws = TiltedUniform(logits).sample()
    assert ((draws >= 0) & (draws <= 1)).all()


def test_the_start_of_a_bias_has_the_mean() -> None:
    mean = torch.tensor([0.0, 0.01, 0.1, 0.4999999, 0.5, 0.7, 0.99, 1.0], dtype=torch.float64)
    likelihood = ContinuousBernoulli(8)
    torch.testing.assert_close(likelihood.mean(likelihood.outputs_for(mean)), mean.clamp(0.01, 0.99))
