"""The sparse autoencoder: a prior, a target rate or a choice of the largest keeps most units silent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probae import checks
from probae.distributions.likelihoods import Likelihood
from probae.errors import ArgumentError, NoLikelihoodError
from probae.inference.elbo import ELBO
from probae.models.base import Data
from probae.models.latent import LatentModel

_NARROW = 0.01


class BoundedLinear(nn.Module):
    """A linear layer whose weight matrix (outputs, inputs) has no column longer than one.

    Without the bound the L1 penalty is escaped: the codes shrink while the decoder grows, and nothing becomes sparse.

    Args:
        linear: a layer whose parameters are taken over; its weight is the direction of the columns that are too long.

    Example:
        >>> import torch
        >>> linear = nn.Linear(2, 2)
        >>> linear.weight.data = torch.tensor([[3.0, 0.3], [4.0, 0.4]])
        >>> BoundedLinear(linear).weight.detach()
        tensor([[0.6000, 0.3000],
                [0.8000, 0.4000]])
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.raw_weight, self.bias = linear.weight, linear.bias

    @property
    def weight(self) -> Tensor:
        """The matrix that is applied."""
        return self.raw_weight / self.raw_weight.norm(dim=0, keepdim=True).clamp(min=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Activity(NamedTuple):
    """How often the units of a code are active over data.

    Attributes:
        rates: the share of examples in which each unit is active, (latent_dim,): not zero, or above 1/2 where it is
            a sigmoid.
        means: each unit's mean over the examples, (latent_dim,): what a target rate is asked of.
        ranges: from each unit's smallest value in an example to its largest, (latent_dim,).
    """

    rates: Tensor
    means: Tensor
    ranges: Tensor

    @property
    def active_share(self) -> float:
        """The share of units that are active in an example, on average."""
        return self.rates.mean().item()

    @property
    def dead(self) -> Tensor:
        """The indices of the units that say nothing of an example, in order.

        Their range is below a hundredth of the widest unit's: silent, or saturated, or about a rate.
        """
        return (self.ranges <= _NARROW * self.ranges.max()).nonzero().flatten()


@final
class SparseAutoencoder(LatentModel):
    """An autoencoder with sparse codes, by one of three means.

    - A prior, by default: z = relu(f(x)) under p(z) = Laplace(0, 1/strength). The guide is a Delta, so the ELBO is
      log p(x given z) - strength * |z|_1 plus a constant: the L1 penalty comes out of the objective by itself, and
      training is MAP. Beside a squared error (a Normal likelihood of variance s^2) the textbook's weight is
      2 s^2 strength. With prior="normal" the penalty is strength * |z|^2, which makes codes small rather than sparse.
    - `target_rate` r: z = sigmoid(f(x)) under a flat prior, and the objective's penalty

          strength * sum_j KL(Bernoulli(r) to Bernoulli(m_j)),  m_j the mean of z_j over the batch,

      for each example. It is a statistic of the batch, so that batches should not be small.
    - `top_k`: z keeps the k largest of f(x), the others are zero, under a flat prior. Nothing is penalized.

    The decoder's columns are bounded by one, or the penalties could be escaped: codes shrink, or move a little about
    their rate, while the decoder grows.

    It is deterministic, so it has no log-likelihood, and nothing to sample from: the prior stands for a penalty, and
    its draws, of both signs and each unit by itself, are no codes. Its monitor is log p(x, z) at the codes.

    With a linear decoder, training starts from a dictionary of random unit vectors and an encoder that is its
    transpose, centred by `prepare`: from independent weights most units of the code would die at once. `activity` tells
    of dead units.

    Args:
        data_shape: of one example.
        latent_dim: length of the code; more than D is fine (overcomplete).
        hidden: widths of the encoder's hidden layers; none by default, so the decoder is linear, a dictionary.
        strength: of the penalty: in nats per unit of |z|, or of |z|^2; beside `target_rate`, each example pays so many
            nats for a nat of the divergence. By default 0.1, and 1 beside `target_rate`; top_k has none.
        likelihood: "normal" (of scale 1; {"name": "normal", "scale": 0.2} for another) or "bernoulli".
        prior: "laplace" or "normal"; by default the first, where neither `target_rate` nor `top_k` is given.
        target_rate: the mean that each unit is to have, in (0, 1), such as 0.05.
        top_k: how many units of an example stay.
        encoder: your own module, (N, D) -> (N, latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape); bounding it is then yours.
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument; also for two means of sparsity at once.

    Source:
        Olshausen and Field 1996 for the prior; Ng 2011, CS294A lecture notes, for the network and the target rate;
        Makhzani and Frey 2014 (arXiv 1312.5663) for top_k.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> sparse = SparseAutoencoder(9, latent_dim=18, top_k=3)
        >>> run = sparse.fit(x, epochs=5, seed=0)
        >>> sparse.embed(x).shape
        torch.Size([64, 18])
        >>> round(sparse.activity(x).active_share * 18, 2)
        3.0
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 128,
        hidden: Sequence[int] | int = (),
        strength: float | None = None,
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        prior: str | dict[str, Any] | None = None,
        target_rate: float | None = None,
        top_k: int | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "relu",
    ) -> None:
        _check_means(prior=prior, target_rate=target_rate, top_k=top_k)
        if top_k is not None and strength is not None:
            raise ArgumentError("strength", "None beside top_k, which penalizes nothing", strength)
        if target_rate is not None:
            checks.real("target_rate", target_rate, low=0.0, high=1.0, open_low=True)
            if target_rate == 1:
                raise ArgumentError("target_rate", "a number below 1", target_rate)
        default = 0.1 if target_rate is None else 1.0
        rate = checks.real("strength", default if strength is None else strength, low=0.0, open_low=True)
        name = None if target_rate or top_k else _prior_name(prior)
        of_prior = {"laplace": {"rate": rate}, "normal": {"scale": (2 * rate) ** -0.5}}
        nonlinearity = "sigmoid" if target_rate else "linear" if top_k else "relu"
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior={"name": name, **of_prior[name]} if name else "flat",
            guide={"name": "delta", "nonlinearity": nonlinearity, "top_k": top_k},
            network="mlp",
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self.strength, self.target_rate, self.top_k = 0.0 if top_k else rate, target_rate, top_k
        self._prior_name = name
        self._transposed = not self.hidden and encoder is None and decoder is None
        if self._transposed:
            self._start_transposed()
        layers: Any = self.decoder
        for place, layer in enumerate(layers if decoder is None else ()):
            if isinstance(layer, nn.Linear):
                layers[place] = BoundedLinear(layer)

    def model(self, x: Tensor | None = None, y: Tensor | None = None, **options: Any) -> Tensor:
        """p(x, z) of examples; without them there is nothing to draw codes from, as `sample` says too."""
        if x is None and self.prior.proper:  # a flat one says so itself
            raise NoLikelihoodError(
                "the prior of a sparse autoencoder stands for a penalty: its draws are no codes. Decode codes of data "
                "instead (model.decode(model.embed(x))), or train a model with a prior to draw from, such as pb.VAE"
            )
        return super().model(x, y, **options)

    def prepare(self, data: Any) -> Self:
        """Start the output bias at the data's mean, and the encoder's where it looks at what differs from it."""
        super().prepare(data)
        encoder: Any = self.encoder
        if self._transposed and not bool(encoder[0].bias.any()):
            with torch.no_grad():
                encoder[0].bias.copy_(-encoder[0].weight @ self._whole(data).mean())
                if self.target_rate is not None:
                    encoder[0].bias += math.log(self.target_rate / (1 - self.target_rate))
        return self

    def objective(self) -> ELBO:
        """The ELBO, with the penalty of the target rate if there is one."""
        return ELBO() if self.target_rate is None else ELBO(penalties=self._divergence)

    def activity(self, x: Data) -> Activity:
        """How often each unit of the code is active over the examples; which units are dead."""
        code = self.embed(x)
        active = code > 0.5 if self.target_rate is not None else code != 0
        return Activity(active.to(code).mean(0), code.mean(0), code.amax(0) - code.amin(0))

    def _divergence(self, batch: Any, guide_trace: Any) -> Tensor:
        """strength * sum_j KL(Bernoulli(target_rate) to Bernoulli(m_j)), m_j the mean of unit j over the batch."""
        code, rate = guide_trace.nodes["z"]["value"], self.target_rate or 0.0
        smallest = torch.finfo(code.dtype).eps
        mean = code.flatten(0, -2).mean(0).clamp(smallest, 1 - smallest)
        entropy = rate * math.log(rate) + (1 - rate) * math.log1p(-rate)
        return self.strength * (entropy - rate * mean.log() - (1 - rate) * torch.log1p(-mean)).sum()

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
        return {
            **self.shared_config,
            "strength": None if self.top_k else self.strength,
            "prior": self._prior_name,
            "target_rate": self.target_rate,
            "top_k": self.top_k,
        }


def _prior_name(prior: Any) -> str:
    """The name in a prior's name or configuration; its scale is the model's strength."""
    known = prior.keys() if isinstance(prior, dict) else ()
    if set(known) - {"name"}:
        raise ArgumentError("prior", "a name without settings, which strength= gives", prior)
    name = prior.get("name") if known else prior
    return checks.choice("prior", "laplace" if name is None else name, ("laplace", "normal"))


def _check_means(**given: Any) -> None:
    """Refuse more than one means of sparsity."""
    first, *others = [name for name, value in given.items() if value is not None] or [""]
    if others:
        raise ArgumentError(others[0], f"None beside {first}", given[others[0]])
