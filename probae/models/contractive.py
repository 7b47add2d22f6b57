"""The contractive autoencoder: codes that move little when the example does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.likelihoods import Likelihood
from probae.errors import ArgumentError
from probae.inference.elbo import ELBO
from probae.inference.jacobians import jacobian, squared_norm
from probae.models.base import Data
from probae.models.latent import LatentModel
from probae.models.making import tied as tied_to_encoder
from probae.networks import Network

JACOBIANS = ("auto", "exact", "estimated")
_AT_ONCE = 2**24  # numbers in the Jacobians of as many examples as are taken apart at once
_FEW_UNITS = 32  # of the code, up to which "auto" takes the exact Jacobian


class Tangents(NamedTuple):
    """The directions in which codes move most.

    Attributes:
        singular_values: of the encoder's Jacobian, falling, (N, k).
        directions: unit vectors in the space of the data, (N, k, D).
    """

    singular_values: Tensor
    directions: Tensor


@final
class ContractiveAutoencoder(LatentModel):
    """An autoencoder with the penalty strength * |df/dx|^2: the squared Frobenius norm of its encoder's Jacobian.

    The reconstruction keeps the code alive along the data; the penalty stills it in all other directions, so that the
    Jacobian's few large singular values span the data's tangent space (`tangents`).

    Tie the decoder to the encoder (`tied=True`), as the source does, for a penalty that cannot be escaped: otherwise
    codes may shrink while the decoder grows, and a long training ends near the identity.

    For one layer of sigmoid units the norm has a closed form; the Jacobians of other encoders come from reverse-mode
    differentiation, exactly for short codes, for long ones by Hutchinson's unbiased estimate. The second-order form
    (CAE+H) adds second_order * E |J(x) - J(x + e)|^2 over Normal e of scale `noise_scale`: it penalizes curvature.

    It is deterministic and has no prior, so it has no log-likelihood; its monitor is the reconstruction.

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the code.
        hidden: widths of the encoder's hidden layers; none by default.
        strength: of the penalty, in nats per unit of |df/dx|^2.
        likelihood: "normal" (of scale 1) or "bernoulli", ...; a configuration, or a `Likelihood`.
        second_order: strength of the second-order penalty; 0 for none.
        noise_scale: of the e in it.
        jacobian: "exact", "estimated" from random signs, or "auto".
        num_probes: random signs for each example, where it is estimated.
        nonlinearity: of the code: "sigmoid", "relu" or "linear".
        network: "mlp", "conv" for images, "recurrent" for sequences, or a configuration.
        encoder: your own module, (N, D) -> (N, latent_dim), of smooth functions for a penalty that says something.
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape).
        activation: of the hidden layers; "sigmoid", "tanh" or another smooth one.
        tied: the decoder uses the encoder's weights, transposed, with biases of its own. For MLPs.

    Raises:
        ArgumentError: names the argument.

    Source:
        Rifai, Vincent, Muller, Glorot and Bengio (2011), "Contractive auto-encoders"; Rifai, Mesnil et al. (2011),
        "Higher order contractive auto-encoder", for the second order.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> contractive = ContractiveAutoencoder(9, 16, strength=0.01)
        >>> run = contractive.fit(x, epochs=5, seed=0)
        >>> contractive.tangents(x, 2).singular_values.shape
        torch.Size([64, 2])
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 128,
        hidden: Sequence[int] | int = (),
        strength: float = 0.1,
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        second_order: float = 0.0,
        noise_scale: float = 0.1,
        jacobian: str = "auto",
        num_probes: int = 1,
        nonlinearity: str = "sigmoid",
        network: str | dict[str, Any] | Network = "mlp",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "tanh",
        tied: bool = False,
    ) -> None:
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior="flat",
            guide={"name": "delta", "nonlinearity": nonlinearity},
            network=network,
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self.strength = checks.real("strength", strength, low=0.0)
        self.second_order = checks.real("second_order", second_order, low=0.0)
        self.noise_scale = checks.real("noise_scale", noise_scale, low=0.0, open_low=True)
        self.jacobian = checks.choice("jacobian", jacobian, JACOBIANS)
        self.num_probes = checks.positive_int("num_probes", num_probes)
        self.tied = bool(tied)
        if self.tied:
            self.decoder = tied_to_encoder(self)

    def objective(self) -> ELBO:
        """The ELBO, with the penalties that are not zero."""
        penalties = [(self.strength, self._contraction), (self.second_order, self._curvature)]
        return ELBO(penalties=[penalty for strength, penalty in penalties if strength > 0])

    def tangents(self, x: Data, num_directions: int | None = None) -> Tangents:
        """Singular values and right singular vectors of the encoder's Jacobian: the tangent space that was learned.

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            num_directions: how many, k; all of them by default: min(latent_dim, D).

        Raises:
            ArgumentError: if there are not so many.

        Source: Rifai, Dauphin et al. (2011), "The manifold tangent classifier".
        """
        most = min(self.latent_dim, self.num_visible)
        count = most if num_directions is None else checks.positive_int("num_directions", num_directions)
        if count > most:
            raise ArgumentError("num_directions", f"at most {most} (the smaller of code and data)", count)
        with self.evaluating():
            parts = self.examples("x", x).split(max(1, _AT_ONCE // (self.latent_dim * self.num_visible)))
            found = [torch.linalg.svd(jacobian(self._code, rows), full_matrices=False)[1:] for rows in parts]
            values, directions = (torch.cat([part[:, :count] for part in side]) for side in zip(*found, strict=True))
            return Tangents(values, directions)

    @property
    def config(self) -> dict[str, Any]:
        return {
            **self.shared_config,
            "strength": self.strength,
            "second_order": self.second_order,
            "noise_scale": self.noise_scale,
            "jacobian": self.jacobian,
            "num_probes": self.num_probes,
            "nonlinearity": self.family.config["nonlinearity"],
            "network": self.network.config,
            "tied": self.tied,
        }

    def _code(self, x: Tensor) -> Tensor:
        """The code as after training: without dropout, and of each example alone, whatever is in its batch."""
        before = [(part, part.training) for part in self.encoder.modules()]
        self.encoder.eval()
        try:
            return self.family.code(self._encode(x))
        finally:
            for part, was in before:
                part.training = was

    def _contraction(self, batch: Any, guide_trace: Any) -> Tensor:
        """strength * |df/dx|^2 for each example."""
        layer = self._only_layer
        if self.jacobian != "estimated" and layer is not None:
            code = guide_trace.nodes["z"]["value"]
            return self.strength * (code * (1 - code)).square() @ layer.weight.square().sum(1)
        return self.strength * squared_norm(self._code, self._observed_in(batch).x, num_probes=self._probes)

    def _curvature(self, batch: Any, guide_trace: Any) -> Tensor:
        """second_order * |J(x) - J(x + e)|^2 for each example, with one e."""
        x = self._observed_in(batch).x
        near = x + self.noise_scale * torch.randn_like(x)
        return self.second_order * squared_norm(self._code, x, other=near, num_probes=self._probes)

    @property
    def _only_layer(self) -> nn.Linear | None:
        """The encoder's, if it is one layer of sigmoid units, whose Jacobian has a closed form."""
        layers = list(self.encoder) if isinstance(self.encoder, nn.Sequential) else [self.encoder]
        layer = layers[0] if len(layers) == 1 else None
        return layer if type(layer) is nn.Linear and self.family.config["nonlinearity"] == "sigmoid" else None

    @property
    def _probes(self) -> int | None:
        exact = self.jacobian == "exact" or (self.jacobian == "auto" and self.latent_dim <= _FEW_UNITS)
        return None if exact else self.num_probes
