"""A Normal with full covariance."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.distributions.guides.base import GuideFamily, positive_scale
from probae.distributions.own_sample import OwnSample, standard_log_prob

LARGEST_RATIO = 100.0
"""Entries of L below the diagonal stay within this many times the diagonal of their row."""


@final
class FullNormal(GuideFamily):
    """A Normal with full covariance, Normal(m, L L'), so that the posterior may be correlated.

    Of the outputs, the first d are the location m, the next d give scales s as a diagonal Normal's do, and the rest are
    strictly lower triangular, U, row by row:

        L = diag(s) (I + R),  R_ij = U_ij / (1 + |U_ij| / 100)

    so that correlations do not depend on the scales, and no output makes a sample or its density overflow. At outputs
    zero it is about Normal(0, I).

    Shapes: outputs (..., 2 d + d (d - 1) / 2).

    Example:
        >>> FullNormal(2).distribution(torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])).covariance_matrix
        tensor([[0.9488, 0.9394],
                [0.9394, 1.8790]])
    """

    pointwise = "linear"
    has_density = True
    mixes = True
    positions: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        rows, columns = torch.tril_indices(self.latent_dim, self.latent_dim, offset=-1)
        self.num_outputs = 2 * self.latent_dim + len(rows)
        # Where each entry of I + R is found among those below the diagonal, followed by a zero and a one.
        positions = torch.full((self.latent_dim, self.latent_dim), len(rows)).fill_diagonal_(len(rows) + 1)
        positions[rows, columns] = torch.arange(len(rows))
        self.register_buffer("positions", positions.flatten(), persistent=False)

    def distribution(self, outputs: Tensor) -> dist.TorchDistribution:
        size = self.latent_dim
        loc, raw, below = outputs.split([size, size, self.num_outputs - 2 * size], -1)
        edge = outputs.new_zeros((*outputs.shape[:-1], 1))
        entries = torch.cat([below / (1 + below.abs() / LARGEST_RATIO), edge, edge + 1], -1)
        unit = entries.index_select(-1, self.positions).unflatten(-1, (size, size))
        return CorrelatedNormal(loc, scale_tril=positive_scale(raw).unsqueeze(-1) * unit)

    def code(self, outputs: Tensor) -> Tensor:
        return outputs[..., : self.latent_dim]

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "full"}


@final
class CorrelatedNormal(dist.MultivariateNormal):
    """Pyro's MultivariateNormal, but it knows the log-density of its own sample by the noise e that made it:

        z = m + L e,  log q(z) = log Normal(e; 0, I) - sum_i log L_ii

    That saves solving L e = z - m, which is dear, and in float32 overflows where L is all but singular.

    Example:
        >>> q = CorrelatedNormal(torch.zeros(2), scale_tril=torch.eye(2))
        >>> z = q.rsample()
        >>> torch.allclose(q.log_prob(z), q.log_prob(z.clone()))
        True
    """

    _own = OwnSample()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        tril = self._unbroadcasted_scale_tril
        value = self.loc + (tril @ noise.unsqueeze(-1)).squeeze(-1)
        self._own = OwnSample(value, standard_log_prob(noise) - tril.diagonal(dim1=-2, dim2=-1).log().sum(-1))
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        own = self._own.log_prob(value)
        return super().log_prob(value) if own is None else own
