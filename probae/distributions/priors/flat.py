"""The flat prior, which holds no code back."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor

from probae.distributions.priors.base import Posterior, Prior
from probae.errors import NoLikelihoodError


@final
class ImproperFlat(dist.ImproperUniform):
    """log p = 0 everywhere: no distribution, since it has no normalization. Pyro's, on the device of the values.

    Example:
        >>> flat = ImproperFlat(dist.constraints.real_vector, (), (2,))
        >>> flat.log_prob(torch.randn(3, 2, dtype=torch.float64))
        tensor([0., 0., 0.], dtype=torch.float64)
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[: value.dim() - self.event_dim], self.batch_shape)
        return value.new_zeros(()).expand(shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        raise NoLikelihoodError(
            "a flat prior cannot be sampled from, since it has no normalization. Decode codes of data instead "
            "(model.decode(model.embed(x))), or train a model with a proper prior, such as prior='normal'"
        )


@final
class Flat(Prior):
    """No preference among latent vectors: log p(z) = 0, so that a Delta guide's ELBO is the reconstruction alone.

    Improper: it can neither be sampled from nor give a likelihood.

    Example:
        >>> Flat(2).distribution().log_prob(torch.tensor([[1.0, -2.0], [0.0, 1e9]]))
        tensor([0., 0.])
    """

    proper = False

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        return ImproperFlat(dist.constraints.real_vector, torch.Size(), torch.Size((self.latent_dim,)))

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "flat"}
