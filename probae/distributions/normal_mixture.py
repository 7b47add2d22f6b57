"""Mixtures of diagonal Normals, with a density made of matrix products."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor


@final
class MixtureOfDiagonalNormals(dist.TorchDistribution):
    """K diagonal Normals over vectors of d variables, with weights softmax(logits):

        log p(z) = log sum_k w_k prod_i Normal(z_i; m_ki, s_ki^2)

    The square is expanded, sum_i (z_i - m_ki)^2 / s_ki^2 = z^2 . s_k^-2 - 2 z . m_k s_k^-2 + m_k^2 . s_k^-2, so that
    all components at all values are one product of matrices, N x 2d by 2d x K. Its terms cancel where scales are small
    beside the values, so it is taken in float64, whatever the dtype: the error, about 1e-16 (z / s)^2, is then far
    below that of float32 differences, at a tenth of their price.

    Args:
        logits: (K,), of the weights.
        loc: (K, d).
        scale: (K, d), positive.

    Shapes: batch shape (), event shape (d,); values (..., d).

    Example:
        >>> p = MixtureOfDiagonalNormals(torch.zeros(2), torch.tensor([[-2.0], [2.0]]), torch.ones(2, 1))
        >>> p.log_prob(torch.tensor([[2.0], [0.0]]))
        tensor([-1.6118, -2.9189])
        >>> p.mean, p.variance
        (tensor([0.]), tensor([5.]))
    """

    arg_constraints: ClassVar[Any] = {
        "logits": dist.constraints.real_vector,
        "loc": dist.constraints.independent(dist.constraints.real, 2),
        "scale": dist.constraints.independent(dist.constraints.positive, 2),
    }
    support: ClassVar[Any] = dist.constraints.real_vector

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, *, validate_args: bool | None = None) -> None:
        self.logits, self.loc, self.scale = logits, loc, scale
        super().__init__(torch.Size(), loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureOfDiagonalNormals:
        new = self.__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_weight, loc, z = self.logits.double().log_softmax(-1), self.loc.double(), value.double()
        precision = self.scale.double().reciprocal().square()
        pull = loc * precision
        peak = (precision.log().sum(-1) - (loc * pull).sum(-1) - loc.shape[-1] * math.log(2 * math.pi)) / 2
        rows = torch.cat([-0.5 * z.square(), z], -1).reshape(-1, 2 * z.shape[-1])
        joint = torch.addmm(log_weight + peak, rows, torch.cat([precision, pull], -1).t())
        found = joint.logsumexp(-1).reshape(value.shape[:-1]).to(torch.promote_types(value.dtype, self.loc.dtype))
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            index = self.logits.softmax(-1).multinomial(shape.numel(), replacement=True).reshape(shape)
            loc = self.loc[index]
            return loc + self.scale[index] * torch.randn_like(loc)  # torch.normal looks at the scales: it would wait

    @property
    def mean(self) -> Tensor:
        return self._average(self.loc).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        spread = self.scale.square() + (self.loc - self._average(self.loc)).square()
        return self._average(spread).expand(self.batch_shape + self.event_shape)

    def _average(self, of_components: Tensor) -> Tensor:
        """The expectation over components, from (K, d) to (d,)."""
        return (self.logits.softmax(-1).unsqueeze(-1) * of_components).sum(-2)
