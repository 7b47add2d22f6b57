"""The plain autoencoder: maximum likelihood codes, with no prior to hold them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import nn

from probae.distributions.likelihoods import Likelihood
from probae.errors import ArgumentError
from probae.models.latent import LatentModel
from probae.networks import Network
from probae.networks.mlp import MLP
from probae.networks.tied import tied_decoder


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
        network: "mlp", "conv" for images, or a configuration.
        encoder: your own module, (N, D) -> (N, latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape).
        activation: of the hidden layers.
        tied: the decoder uses the encoder's weights, transposed, with biases of its own. For MLPs.
        dropout: the rate at which hidden units of the MLPs are silenced in training.

    Raises:
        ArgumentError: names the argument.

    See also:
        `pb.WeightPrior` for L1 or L2 on the weights.

    Source:
        Bourlard and Kamp 1988; Baldi and Hornik 1989 for the linear case; Hinton and Salakhutdinov 2006.

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
        network: str | dict[str, Any] | Network = "mlp",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "relu",
        tied: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if dropout != 0:
            network = _with_dropout(network, dropout, hidden, own=encoder is not None and decoder is not None)
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior="flat",
            guide={"name": "delta", "nonlinearity": "linear"},
            network=network,
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self.tied = bool(tied)
        if self.tied:
            self._tie()

    @property
    def config(self) -> dict[str, Any]:
        return {**self.shared_config, "network": self.network.config, "tied": self.tied}

    def _tie(self) -> None:
        if self.own_modules or not isinstance(self.network, MLP):
            raise ArgumentError("tied", "False beside modules of your own or another network than 'mlp'", True)
        if self.likelihood.num_outputs != self.num_visible:
            raise ArgumentError("tied", "False beside a likelihood of more than one output for each value", True)
        encoder: Any = self.encoder
        self.decoder = tied_decoder(encoder)


def _with_dropout(network: Any, dropout: float, hidden: Any, *, own: bool) -> dict[str, Any]:
    """The configuration of an MLP with dropout, where there is one that has hidden layers."""
    if network != "mlp" or own:
        raise ArgumentError("dropout", "0 beside modules of your own or another network than 'mlp'", dropout)
    if hidden in ((), []):
        raise ArgumentError("dropout", "0 without hidden layers", dropout)
    return {"name": "mlp", "dropout": dropout}
