"""The plain autoencoder: maximum likelihood codes, with no prior to hold them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import nn

from probae.distributions.likelihoods import Likelihood
from probae.models.latent import LatentModel
from probae.models.making import tied as tied_to_encoder
from probae.models.making import with_dropout
from probae.networks import Network


@final
class Autoencoder(LatentModel):
    """An autoencoder: z = f(x) under a flat prior, so that the ELBO is log p(x given f(x)), the reconstruction.

    Beside a Normal likelihood this is the squared error, beside a Bernoulli one the cross-entropy. Without hidden
    layers encoder and decoder are linear, and the best reconstruction is that of as many principal components:
    `fit(x, epochs=3000, batch_size=None, learning_rate=0.03, schedule="cosine")` finds it, and the subspace that they
    span, in seconds for values of order one.

    It is deterministic and has no prior, so it has no log-likelihood and nothing to sample from; its monitor is the
    reconstruction, log p(x given f(x)).

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the code. Above the data's dimension nothing keeps it from copying its input: see
            `SparseAutoencoder`.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them; () for a linear autoencoder.
        likelihood: "normal" (of scale 1) or "bernoulli", ...; a configuration, or a `Likelihood`.
        nonlinearity: of the code: "linear", "relu" or "sigmoid", ...
        network: "mlp", "conv" for images, "recurrent" for sequences, or a configuration.
        encoder: your own module, (N, D) -> (N, latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape).
        activation: of the hidden layers.
        tied: the decoder uses the encoder's weights, transposed, with biases of its own. For MLPs.
        dropout: the rate at which hidden units of the MLPs are silenced in training.
        noise: scale of the Normal noise at the inputs of a sigmoid code in training, such as 4, which makes it binary:
            `binary_codes` says on which side of 1/2 each unit is, for semantic hashing (`pb.applications.retrieve`).

    Raises:
        ArgumentError: names the argument.

    See also:
        `pb.WeightPrior` for L1 or L2 on the weights.

    Source:
        Bourlard and Kamp 1988; Baldi and Hornik 1989 for the linear case; Hinton and Salakhutdinov 2006;
        Salakhutdinov and Hinton 2009, "Semantic hashing", for noise.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> autoencoder = Autoencoder(9, latent_dim=2, hidden=16)
        >>> run = autoencoder.fit(x, epochs=5, seed=0)
        >>> autoencoder.reconstruct(x).shape
        torch.Size([64, 9])
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 32,
        hidden: Sequence[int] | int = (256,),
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        nonlinearity: str = "linear",
        network: str | dict[str, Any] | Network = "mlp",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "relu",
        tied: bool = False,
        dropout: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        if dropout != 0:
            network = with_dropout(network, dropout, hidden, own=encoder is not None and decoder is not None)
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior="flat",
            guide={"name": "delta", "nonlinearity": nonlinearity, "noise": noise},
            network=network,
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self.tied = bool(tied)
        if self.tied:
            self.decoder = tied_to_encoder(self)

    @property
    def config(self) -> dict[str, Any]:
        return {
            **self.shared_config,
            "nonlinearity": self.family.config["nonlinearity"],
            "network": self.network.config,
            "tied": self.tied,
            "noise": self.family.config.get("noise", 0.0),
        }
