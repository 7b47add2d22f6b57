"""Probabilistic PCA: the linear model whose every quantity has a closed form."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Self, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae import checks
from probae.distributions.likelihoods.location_scale import SMALLEST_SCALE
from probae.errors import ArgumentError, DataError
from probae.evaluation.estimate import Estimate, exact_estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.models.base import Data, protocol_of
from probae.models.classifier import Classifier
from probae.models.latent import LatentModel
from probae.models.observed import Observed


@final
class ProbabilisticPCA(LatentModel):
    """Probabilistic PCA: p(z) = Normal(0, I), p(x given z) = Normal(W z + mu, s^2 I), one learned scale s.

    z can be integrated out, p(x) = Normal(mu, W W' + s^2 I), so that log p(x) is exact. Its maximum has a closed form
    too (`fit_closed_form`): with the eigenvalues l_1 >= ... >= l_D of the data's covariance and their eigenvectors U,

        s^2 = mean of l_(q+1), ..., l_D,  W = U_q (L_q - s^2 I)^(1/2),  q = latent_dim.

    The guide is linear, Normal(V (x - mu) + c, diag(t^2)) with the same t for every x. That holds the exact posterior
    where the columns of W are orthogonal; since p(x) does not change when z is rotated, nothing is lost: the best ELBO
    is the best log-likelihood, and no other local maximum keeps training from it. `fit` comes within 0.01 nats for
    values of order one, by default in 1,000 epochs of batches of 512, with Adam from 0.05 down a cosine; it is slow
    where s is far below the spread. The closed form takes any data, and no time.

    Args:
        data_shape: of one example, an int or a tuple, of D values.
        latent_dim: q, below D: with D - 1 every covariance can be reached.

    Raises:
        ArgumentError: names the argument.

    Source:
        Tipping and Bishop 1999, "Probabilistic principal component analysis", equations 7 and 8 and appendix A; Lucas
        et al. 2019 (arXiv 1911.02469) for the guide.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(200, 2, generator=generator) @ torch.randn(2, 9, generator=generator)
        >>> x = x + 0.1 * torch.randn(200, 9, generator=generator)
        >>> ppca = ProbabilisticPCA(9, latent_dim=2).fit_closed_form(x)
        >>> f"{ppca.likelihood.scale:.1f}", ppca.log_likelihood(x).direction
        ('0.1', 'exact')
    """

    fit_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": partial(torch.optim.Adam, lr=0.05),
        "schedule": "cosine",
        "batch_size": 512,
        "epochs": 1000,
    }

    def __init__(self, data_shape: int | tuple[int, ...], latent_dim: int = 2) -> None:
        size = torch.Size(checks.shape("data_shape", data_shape)).numel()
        if checks.positive_int("latent_dim", latent_dim) >= size:
            raise ArgumentError("latent_dim", f"a number below the {size} values of an example", latent_dim)
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=(),
            likelihood={"name": "normal", "learned": True},
            prior="normal",
            guide="shared",
            network="mlp",
            encoder=None,
            decoder=None,
            activation="tanh",
        )

    @torch.no_grad()
    def fit_closed_form(self, data: Data) -> Self:
        """Put model and guide at the maximum of the likelihood, whatever they were; the ELBO is then log p(x) itself.

        W's columns are orthogonal, in the order of their lengths, each with its largest entry positive. Constant
        dimensions are as good as others. It takes one eigendecomposition, (D, D), in float64.

        Raises:
            DataError: for data without variance beyond `latent_dim` directions, such as that of latent_dim + 1 examples
                or fewer: s would be zero and the likelihood has no maximum.
        """
        rows = self.examples("data", data)
        x = rows.double()
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)[:, : self.latent_dim]
        noise = values[self.latent_dim :].mean()
        _check_noise(noise, values[0], rows)
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        self._layer("decoder").weight.copy_(vectors * (values[: self.latent_dim] - noise).clamp(min=0.0).sqrt())
        self._layer("decoder").bias.copy_(mean)
        likelihood: Any = self.likelihood
        likelihood.set_scale(noise.sqrt())
        self._infer_exactly()
        return self.eval()

    def marginal(self) -> dist.LowRankMultivariateNormal:
        """p(x) = Normal(mu, W W' + s^2 I), in float64: event shape (D,)."""
        with torch.no_grad():
            weight, mean, variance = self._doubled()
            return dist.LowRankMultivariateNormal(mean, weight, variance.expand(self.num_visible))

    def log_likelihood(self, data: Data, method: str = "exact", *, y: Any = None, **options: Any) -> Estimate:
        """The mean log p(x), exactly; or by importance sampling from the guide, as for any other model.

        Args:
            data: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            method: "exact", "importance" or "bound".
            y: None; the model has no labels.
            options: num_samples, seed, ... of `pb.log_likelihood`; "exact" needs none.
        """
        if checks.choice("method", method, ("exact", "importance", "bound")) != "exact":
            return super().log_likelihood(data, method, y=y, **options)
        self._refuse_labels(y)
        checks.options(options, log_likelihood, without=("model", "guide", "data", "method", "protocol"))
        per_example = self.marginal().log_prob(self.examples("data", data).double())
        return exact_estimate(per_example, "the latent vector is integrated out in closed form", protocol_of(data))

    def inpaint(
        self, x: Data, mask: Any = None, y: Any = None, *, lengths: Any = None, steps: int = 1, mean: bool = False
    ) -> Tensor:
        """Fill in what is not observed, (N, D), from p(x_missing given x_observed), a Normal: no chain is needed.

        With o the observed dimensions of an example, z given x_o is Normal(M^-1 W_o' (x_o - mu_o), s^2 M^-1),
        M = W_o' W_o + s^2 I.

        Args:
            x, mask, lengths: as in `pb.VAE.inpaint`.
            y: None; the model has no labels.
            steps: has no effect; draws are independent.
            mean: the mean of x_missing given x_observed instead of a draw.
        """
        self._refuse_labels(y)
        checks.positive_int("steps", steps)
        with self.evaluating():
            seen = super().observed("x", x, mask, lengths)
            shown = torch.ones_like(seen.x, dtype=torch.bool) if seen.mask is None else seen.mask
            weight, mu, variance = self._doubled()
            away = torch.where(shown, seen.x.double() - mu, 0.0)
            precision = torch.einsum("nd,dk,dl->nkl", shown.double(), weight, weight)
            factor = torch.linalg.cholesky(precision + variance * torch.eye(self.latent_dim).to(variance))
            z = torch.cholesky_solve((away @ weight).unsqueeze(-1), factor)
            if not mean:
                z = z + variance.sqrt() * torch.linalg.solve_triangular(factor.mT, torch.randn_like(z), upper=True)
            filled = mu + z.squeeze(-1) @ weight.T
            filled = filled if mean else filled + variance.sqrt() * torch.randn_like(filled)
            return torch.where(shown, seen.x, filled.to(seen.x.dtype))

    @property
    def weight(self) -> Tensor:
        """W, (D, latent_dim): each column a direction, as long as the deviation along it beyond the noise."""
        return self._layer("decoder").weight.detach()

    @property
    def mean(self) -> Tensor:
        """mu, (D,)."""
        return self._layer("decoder").bias.detach()

    def classifier(self, num_labels: int, *, dropout: float = 0.0) -> Classifier:
        """A classifier on the posterior means, which are linear in x; `fit` tunes all of it."""
        made: Any = super().classifier(num_labels, dropout=dropout)
        with torch.no_grad():
            made.encoder[0].bias -= made.encoder[0].weight @ self._layer("decoder").bias  # the encoder sees x - mu
        return made

    @property
    def config(self) -> dict[str, Any]:
        return {"data_shape": list(self.data_shape), "latent_dim": self.latent_dim}

    @property
    def _anomaly_method(self) -> str:
        return "exact"

    def observed(self, argument: str, x: Any, mask: Any = None, lengths: Any = None) -> Observed:
        """The examples; a posterior of one covariance cannot serve those that are observed in part."""
        self.refuse(mask=mask, lengths=lengths)
        return super().observed(argument, x)

    def _observed(self, x: Tensor, mask: Tensor | None, lengths: Tensor | None) -> Observed:
        self.refuse(mask=mask, lengths=lengths)
        return super()._observed(x, mask, lengths)

    def _encode(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """V (x - mu) + c: around the mean, as the posterior is; without it training takes several times as long."""
        return super()._encode(x - self._layer("decoder").bias, label)

    def _infer_exactly(self) -> None:
        """Put the guide at the posterior, Normal(M^-1 W' (x - mu), s^2 M^-1), M = W'W + s^2 I, which is diagonal."""
        weight, _, variance = self._doubled()
        total = weight.square().sum(0) + variance
        self._layer("encoder").weight.copy_((weight / total).T)
        self._layer("encoder").bias.zero_()
        family: Any = self.family
        family.log_scale.copy_(0.5 * (variance / total).log())

    def _doubled(self) -> tuple[Tensor, Tensor, Tensor]:
        """W, mu and s^2, in float64."""
        likelihood: Any = self.likelihood
        return self.weight.double(), self.mean.double(), likelihood.scale.detach().double().square()

    def _layer(self, name: str) -> Any:
        return getattr(self, name)[0]


def _check_noise(noise: Tensor, largest: Tensor, x: Tensor) -> None:
    """Refuse a variance of the noise that is only that of rounding, in the data or in its covariance."""
    rounding = torch.finfo(x.dtype).eps * x.abs().max().double()
    smallest = rounding.square() + torch.finfo(torch.float64).eps * x.shape[1] * largest + SMALLEST_SCALE**2
    if bool(noise <= smallest):
        wanted = "variance in more directions than latent_dim: without any the likelihood has no maximum"
        raise DataError("data", wanted, f"{len(x)} examples with a variance of {noise:.2g} in the others")
