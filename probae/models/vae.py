"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import nn

from probae.distributions.guides import GuideFamily
from probae.distributions.likelihoods import Likelihood
from probae.distributions.priors import Prior
from probae.models.latent import LatentModel


@final
class VAE(LatentModel):
    """A variational autoencoder: p(z) = Normal(0, 1), p(x given z) from a decoder, q(z given x) from an encoder.

    Trained by the evidence lower bound, judged by importance sampling.

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the latent vector.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: "bernoulli" for bits; for real values "normal" (of scale 1), {"name": "normal", "scale": 0.2} or
            {"name": "normal", "learned": True}, since a scale far above the data's leaves nothing to learn.
        prior: "normal", or a `Prior`.
        guide: "diagonal", or a `GuideFamily`.
        encoder: your own module, (N, D) -> (N, 2 * latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape).
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument, with near matches for names.

    Source:
        Kingma and Welling 2014 (arXiv 1312.6114), section 3; Rezende et al. 2014 (arXiv 1401.4082).

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = (torch.rand(64, 9) < 0.3).float()
        >>> vae = VAE(9, latent_dim=2, hidden=16)
        >>> run = vae.fit(x, epochs=20, seed=0)
        >>> vae.log_likelihood(x, num_samples=100).direction
        'lower'
        >>> vae.sample(3).shape
        torch.Size([3, 9])
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 16,
        hidden: Sequence[int] | int = (256, 256),
        likelihood: str | dict[str, Any] | Likelihood = "bernoulli",
        *,
        prior: str | dict[str, Any] | Prior = "normal",
        guide: str | dict[str, Any] | GuideFamily = "diagonal",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "tanh",
    ) -> None:
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior=prior,
            guide=guide,
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )

    @property
    def config(self) -> dict[str, Any]:
        return {**self.shared_config, "prior": self.prior.config, "guide": self.family.config}
