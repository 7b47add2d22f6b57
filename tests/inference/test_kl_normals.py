"""KL between Normals, diagonal or of full covariance: against linear algebra, against samples, and by gradcheck."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

import probae.inference.kl  # noqa: F401  (adds the pair that torch lacks)
from probae.distributions.guides import FullNormal
from tests.inference import zoo

SIZE = 4
KINDS = ["diagonal", "full"]


def tril(*batch: int, seed: int) -> Tensor:
    """A Cholesky factor, far from diagonal."""
    entries = zoo.tensor(*batch, SIZE, SIZE, seed=seed)
    return entries.tril(-1) + torch.diag_embed(entries.diagonal(dim1=-2, dim2=-1).exp())


def normal(kind: str, loc: Tensor, factor: Tensor) -> Any:
    if kind == "full":
        return dist.MultivariateNormal(loc, scale_tril=factor)
    return dist.Normal(loc, factor.diagonal(dim1=-2, dim2=-1)).to_event(1)


def covariance(kind: str, factor: Tensor) -> Tensor:
    factor = factor if kind == "full" else torch.diag_embed(factor.diagonal(dim1=-2, dim2=-1))
    return factor @ factor.mT


def by_definition(m: Tensor, a: Tensor, n: Tensor, b: Tensor) -> Tensor:
    """(tr(B^-1 A) + (n - m)' B^-1 (n - m) - d + log det B - log det A) / 2, for covariances A and B."""
    inverse, gap = torch.linalg.inv(b), (n - m).unsqueeze(-1)
    square = (gap.mT @ inverse @ gap).squeeze(-1).squeeze(-1)
    trace = (inverse @ a).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (trace + square - SIZE + torch.logdet(b) - torch.logdet(a)) / 2


@pytest.mark.parametrize("of_p", [(), (5,)], ids=["one", "batch"])
@pytest.mark.parametrize("of_q", [(), (5,)], ids=["one", "batch"])
@pytest.mark.parametrize("kind_p", KINDS)
@pytest.mark.parametrize("kind_q", KINDS)
def test_the_closed_form(kind_q: str, kind_p: str, of_q: tuple[int, ...], of_p: tuple[int, ...]) -> None:
    m, n = zoo.tensor(*of_q, SIZE), zoo.tensor(*of_p, SIZE, seed=1)
    a, b = tril(*of_q, seed=2), tril(*of_p, seed=3)
    q, p = normal(kind_q, m, a), normal(kind_p, n, b)
    wanted = by_definition(m, covariance(kind_q, a), n, covariance(kind_p, b))
    torch.testing.assert_close(kl_divergence(q, p), wanted, rtol=1e-10, atol=1e-10)
    shape = torch.Size((3, 5))
    wide = kl_divergence(q.expand(shape), p.expand(shape))
    torch.testing.assert_close(wide, wanted.expand(shape), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind_p", KINDS)
@pytest.mark.parametrize("kind_q", KINDS)
def test_its_gradient(kind_q: str, kind_p: str) -> None:
    m, n = zoo.tensor(2, SIZE).requires_grad_(), zoo.tensor(SIZE, seed=1).requires_grad_()
    a, b = tril(2, seed=2).requires_grad_(), tril(seed=3).requires_grad_()

    def kl(m: Tensor, a: Tensor, n: Tensor, b: Tensor) -> Tensor:
        return kl_divergence(normal(kind_q, m, a.tril()), normal(kind_p, n, b.tril()))

    torch.autograd.gradcheck(kl, (m, a, n, b))


@pytest.mark.parametrize("kind_p", KINDS)
@pytest.mark.parametrize("kind_q", KINDS)
def test_samples_agree(kind_q: str, kind_p: str) -> None:
    """The mean of 100,000 values of log q - log p, within 6 standard errors; false alarm 2e-9."""
    q = normal(kind_q, zoo.tensor(SIZE), tril(seed=2))
    p = normal(kind_p, zoo.tensor(SIZE, seed=1), tril(seed=3))
    z = q.sample((100_000,))
    terms = q.log_prob(z) - p.log_prob(z)
    assert abs(terms.mean() - kl_divergence(q, p)) < 6 * terms.std() / 100_000**0.5


def test_a_correlated_normal_to_independent_laplaces_which_have_no_matrix() -> None:
    """100,000 values, within 6 standard errors; false alarm 2e-9."""
    q = normal("full", zoo.tensor(SIZE), tril(seed=2))
    p = dist.Laplace(zoo.tensor(SIZE, seed=1), zoo.tensor(SIZE, seed=3).exp()).to_event(1)
    z = q.sample((100_000,))
    terms = q.log_prob(z) - p.log_prob(z)
    assert abs(terms.mean() - kl_divergence(q, p)) < 6 * terms.std() / 100_000**0.5


def test_what_is_not_over_the_same_vectors_has_no_closed_form() -> None:
    q = dist.MultivariateNormal(torch.zeros(3, SIZE), scale_tril=torch.eye(SIZE))
    matrices = dist.Normal(torch.zeros(3, SIZE), 1.0).to_event(2)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, matrices)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_the_kl_of_a_full_guide_is_finite_at_large_outputs(size: float) -> None:
    family = FullNormal(SIZE)
    signs = torch.randint(-1, 2, (50, family.num_outputs), generator=torch.Generator().manual_seed(0))
    outputs = (size * signs).requires_grad_()
    with pyro.validation_enabled(False):
        kl = kl_divergence(family.distribution(outputs), dist.Normal(torch.zeros(SIZE), 1.0).to_event(1))
    assert kl.isfinite().all()
    assert torch.autograd.grad(kl.sum(), outputs)[0].isfinite().all()
