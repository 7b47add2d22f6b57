"""The VampPrior, a mixture of the guide's own posteriors."""

from __future__ import annotations

from typing import Any, final

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.checks import positive_int
from probae.distributions.normal_mixture import MixtureOfDiagonalNormals
from probae.distributions.priors.base import Posterior, Prior
from probae.errors import ArgumentError


@final
class VampPrior(Prior):
    """A mixture of posteriors, p(z) = (1/K) sum_k q(z given u_k), with K learned pseudo-inputs u_k.

    The prior that maximizes the ELBO is the guide's average over the data; this is an affordable one like it (with a
    guide of full covariance, some fifty times dearer than with a diagonal one). The pseudo-inputs start as training
    examples (`prepare`) and move freely. The paper clamps them to [0, 1], but the encoder is defined beyond, and a
    clamp has no gradient at its bounds, which is where bits start.

    Args:
        latent_dim: number of latent variables.
        num_components: K. Each training step encodes as many more inputs.

    Attributes:
        examples: (K, D), training examples.
        offsets: (K, D), the parameters: how far each pseudo-input has moved from its example. All zero until trained.

    Raises:
        ArgumentError: for fewer than one component; when it is used before `attach`, or without a posterior.

    Source:
        Tomczak and Welling 2018 (arXiv 1705.07120), eq. 9.

    Example:
        >>> prior = VampPrior(2, num_components=3)
        >>> prior.attach(num_visible=4)
        >>> prior.prepare(torch.rand(10, 4))
        >>> prior.distribution(lambda u: dist.Normal(u[:, :2], 1.0).to_event(1)).event_shape
        torch.Size([2])
    """

    uses_posterior = True
    examples: Tensor | None
    offsets: nn.Parameter | None

    def __init__(self, latent_dim: int, num_components: int = 500) -> None:
        super().__init__(latent_dim)
        self.num_components = positive_int("num_components", num_components)
        self.register_buffer("examples", None)
        self.register_parameter("offsets", None)

    def attach(self, num_visible: int) -> None:
        """Make the pseudo-inputs, random numbers in [0, 1] until `prepare` knows better."""
        shape = (self.num_components, positive_int("num_visible", num_visible))
        if self.examples is None:
            self.examples, self.offsets = torch.rand(shape), nn.Parameter(torch.zeros(shape))
        elif self.examples.shape != shape:
            got = f"one of data with {self.examples.shape[1]}"
            raise ArgumentError("prior", f"a VampPrior of data with {num_visible} dimensions", got)

    def prepare(self, x: Tensor) -> None:
        """Start the pseudo-inputs at random distinct examples (all of them, over again, where there are fewer)."""
        examples, offsets = self._attached()
        if not bool(offsets.any()):
            order = torch.randperm(len(x)).repeat(-(-self.num_components // len(x)))
            examples.copy_(x[order[: self.num_components].to(x.device)])

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, (K, D)."""
        examples, offsets = self._attached()
        return examples + offsets

    def distribution(self, posterior: Posterior | None = None) -> dist.TorchDistribution:
        if posterior is None:
            raise ArgumentError("posterior", "the model's q(z given x), which a VampPrior mixes", None)
        q = posterior(self.pseudo_inputs)
        logits = torch.zeros(self.num_components, dtype=self.pseudo_inputs.dtype, device=self.pseudo_inputs.device)
        if isinstance(q, dist.Independent) and isinstance(q.base_dist, dist.Normal):
            return MixtureOfDiagonalNormals(logits, q.base_dist.loc, q.base_dist.scale)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), q)

    def _attached(self) -> tuple[Tensor, nn.Parameter]:
        if self.examples is None or self.offsets is None:
            raise ArgumentError("prior", "a VampPrior that has seen attach(num_visible)", "one that has not")
        return self.examples, self.offsets

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "vamp", "num_components": self.num_components}
