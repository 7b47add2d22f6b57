"""The sparse autoencoder: maximum a posteriori codes under a Laplace prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from probae.checks import real
from probae.distributions.likelihoods import Likelihood
from probae.errors import ArgumentError
from probae.models.base import Data
from probae.models.latent import LatentModel


class BoundedColumns(nn.Module):
    """A parametrization of a weight matrix (outputs, inputs): no column is longer than one.

    Without it the L1 penalty is escaped: the codes shrink while the decoder grows, and nothing becomes sparse.

    Example:
        >>> import torch
        >>> BoundedColumns()(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
        tensor([[0.6000, 0.3000],
                [0.8000, 0.4000]])
    """

    def forward(self, weight: Tensor) -> Tensor:
        return weight / weight.norm(dim=0, keepdim=True).clamp(min=1.0)


@final
class SparseAutoencoder(LatentModel):
    """An autoencoder with sparse codes: z = relu(f(x)) under the prior p(z) = Laplace(0, 1/strength).

    Its guide is a Delta, so the ELBO is log p(x given z) - strength * |z|_1 plus a constant: the L1 penalty comes out
    of the objective by itself, and training is MAP. Beside a squared error (a Normal likelihood of variance s^2) the
    textbook's weight is 2 s^2 strength. The decoder's columns are bounded by one, or the penalty could be escaped.

    It is deterministic, so it has no log-likelihood; its monitor is log p(x, z) at the codes. With a linear decoder,
    training starts from a dictionary of random unit vectors and an encoder that is its transpose, centred by `prepare`:
    from independent weights most units of the code would die at once.

    Args:
        data_shape: of one example.
        latent_dim: length of the code; more than D is fine (overcomplete).
        hidden: widths of the encoder's hidden layers; none by default, so the decoder is linear, a dictionary.
        strength: of the penalty, in nats per unit of |z|.
        likelihood: "normal" (of scale 1; {"name": "normal", "scale": 0.2} for another) or "bernoulli".
        encoder: your own module, (N, D) -> (N, latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape); bounding it is then yours.
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument.

    Source:
        Olshausen and Field 1996 for the prior; Ng 2011, CS294A lecture notes, for the network.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> sparse = SparseAutoencoder(9, latent_dim=18, strength=0.5)
        >>> run = sparse.fit(x, epochs=5, seed=0)
        >>> sparse.embed(x).shape
        torch.Size([64, 18])
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 128,
        hidden: Sequence[int] | int = (),
        strength: float = 0.1,
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "relu",
    ) -> None:
        rate = real("strength", strength, low=0.0, open_low=True)
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior={"name": "laplace", "rate": rate},
            guide={"name": "delta", "nonlinearity": "relu"},
            network="mlp",
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self.strength = rate
        self._transposed = not self.hidden and encoder is None and decoder is None
        if self._transposed:
            self._start_transposed()
        for layer in self.decoder.modules() if decoder is None else ():
            if isinstance(layer, nn.Linear):
                parametrize.register_parametrization(layer, "weight", BoundedColumns())

    def prepare(self, data: Data) -> Self:
        """Start the output bias at the data's mean, and the encoder's where it looks at what differs from it."""
        super().prepare(data)
        encoder: Any = self.encoder
        if self._transposed and not bool(encoder[0].bias.any()):
            with torch.no_grad():
                encoder[0].bias.copy_(-encoder[0].weight @ self.examples("data", data).mean(0))
        return self

    @torch.no_grad()
    def _start_transposed(self) -> None:
        encoder: Any = self.encoder[0]  # type: ignore[index]
        decoder: Any = self.decoder[0]  # type: ignore[index]
        decoder.weight.copy_(nn.functional.normalize(torch.randn_like(decoder.weight), dim=0))
        encoder.weight.copy_(decoder.weight.T)
        encoder.bias.zero_()

    @property
    def dictionary(self) -> Tensor:
        """What each unit of the code adds to the decoder's outputs, for a linear decoder: (latent_dim, D).

        Raises:
            ArgumentError: for a decoder that is not one linear layer.
        """
        if self.hidden or "decoder" in self.own_modules:
            raise ArgumentError("hidden", "() for a dictionary, which only a linear decoder has", self.hidden)
        return self.decoder[0].weight.detach().T  # type: ignore[index]

    @property
    def config(self) -> dict[str, Any]:
        return {**self.shared_config, "strength": self.strength}
