"""The denoising autoencoder: clean examples from spoiled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from probae import checks
from probae.data import Dataset
from probae.distributions.corruptions import CORRUPTIONS, Corruption, Gaussian
from probae.distributions.likelihoods import Likelihood
from probae.distributions.named import make
from probae.errors import ArgumentError, NotPreparedError
from probae.inference.elbo import ELBO
from probae.models.base import Data
from probae.models.latent import LatentModel
from probae.networks import Network

CHAINS = ("gibbs", "langevin")


@final
class DenoisingAutoencoder(LatentModel):
    """An autoencoder that sees a spoiled example x~ and is to tell the clean one: z = f(x~), x from p(x given z).

    The corruption C(x~ given x) is an auxiliary site of the guide, "x_corrupted", masked out of the bound: with a flat
    prior and a Delta guide the ELBO is log p(x given f(x~)) for an x~ drawn anew at each step.

    With Gaussian corruption of variance s^2, the best reconstruction r knows the score of the data blurred by that
    noise: the gradient of its log-density is (r(x) - x) / s^2 (`score`). Drawing x~ and x in turn is a Markov chain,
    with which `sample` draws from what was learned.

    It is deterministic given x~ and has no prior, so it has no log-likelihood; its monitor is log p(x given f(x~)).

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the code; more than D is fine, since copying the input does not help.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        corruption: "masking", "gaussian", "salt_and_pepper"; a configuration such as {"name": "masking", "rate": 0.5};
            or a `Corruption` of your own.
        likelihood: "normal" (of scale 1) or "bernoulli", ...; a configuration, or a `Likelihood`.
        emphasis: weights in the loss of the dimensions that were changed and of those that were not; (1, 1) weighs all
            alike, (1, 0) asks for nothing but what was spoiled.
        walkback: in training, spoil not x itself but where the model's own chain is after k steps from it, k drawn for
            each example from 0 to this: what the chain makes up, far from the data, is taught to lead back. What is
            learned is then no longer the best reconstruction, so that `score` is biased; beside a likelihood of learned
            scale the chain may run away.
        nonlinearity: of the code: "linear", "relu" or "sigmoid".
        network: "mlp", "conv" for images, "recurrent" for sequences, or a configuration.
        encoder: your own module, (N, D) -> (N, latent_dim).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape).
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument.

    Source:
        Vincent, Larochelle, Lajoie, Bengio and Manzagol (2010), "Stacked denoising autoencoders"; Alain and Bengio
        (2014) for the score; Bengio, Yao, Alain and Vincent (2013) for the chain and for walkback.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> denoising = DenoisingAutoencoder(9, 16, corruption={"name": "gaussian", "scale": 0.1})
        >>> run = denoising.fit(x, epochs=5, seed=0)
        >>> denoising.denoise(x + 0.1 * torch.randn(64, 9)).shape, denoising.score(x).shape
        (torch.Size([64, 9]), torch.Size([64, 9]))
    """

    mean: Tensor

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 128,
        hidden: Sequence[int] | int = (256,),
        corruption: str | dict[str, Any] | Corruption = "masking",
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        emphasis: tuple[float, float] = (1.0, 1.0),
        walkback: int = 0,
        nonlinearity: str = "linear",
        network: str | dict[str, Any] | Network = "mlp",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "relu",
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
        self.corruption = make("corruption", corruption, Corruption, CORRUPTIONS)
        self.emphasis = _weights(emphasis)
        if self.emphasis != (1.0, 1.0):
            self._check_emphasis()
        self.walkback = checks.positive_int("walkback", walkback, minimum=0)
        self.register_buffer("mean", torch.full((self.num_visible,), torch.nan))

    def prepare(self, data: Any) -> Self:
        """Start the output bias at the data's mean, which is kept: chains start around it."""
        super().prepare(data)
        self.mean.copy_(self._whole(data).mean())
        return self

    def objective(self) -> ELBO:
        """The ELBO; where dimensions weigh differently, with the difference as a penalty."""
        return ELBO() if self.emphasis == (1.0, 1.0) else ELBO(penalties=self._emphasized)

    def denoise(self, x: Data) -> Tensor:
        """The mean of p(x given f(x~)) for spoiled examples x~: (N, D). They may be outside the data's support."""
        with self.evaluating():
            return self.likelihood.mean(self._outputs(self._any_numbers("x", x)))

    def score(self, x: Data) -> Tensor:
        """The gradient of the log-density of the data, blurred by noise of variance s^2: (r(x) - x) / s^2, (N, D).

        Exact for the best reconstruction r, the mean of x given x~: Tweedie's formula (Robbins 1956).

        Raises:
            ArgumentError: if the corruption is not Gaussian.
        """
        scale = self._noise_scale()
        with self.evaluating():
            x = self._any_numbers("x", x)
            return (self.likelihood.mean(self._outputs(x)) - x) / scale**2

    def sample(
        self, num_examples: int | None = None, *, start: Data | None = None, steps: int = 100, method: str = "gibbs",
        mean: bool = False,
    ) -> Tensor:  # fmt: skip
        """Run Markov chains, one for each example, and return where they are.

        Args:
            num_examples: how many chains; 1 by default, or one for each row of `start`.
            start: (num_examples, D), such as data; by default draws from the likelihood around the data's mean.
            steps: of each chain.
            method: "gibbs" draws x~ from the corruption and x from p(x given f(x~)) in turn; "langevin" follows the
                score, x + s^2 / 2 score(x) + s noise, and needs Gaussian corruption.
            mean: return the mean of p(x given f(x~)) in the last step instead of a draw.

        Returns:
            (num_examples, D).

        Raises:
            ArgumentError: names the argument.
            NotPreparedError: without `start`, if `prepare` has not seen data.

        Source:
            Bengio, Yao, Alain and Vincent (2013), "Generalized denoising auto-encoders as generative models".
        """
        steps, is_gibbs = checks.positive_int("steps", steps), checks.choice("method", method, CHAINS) == "gibbs"
        scale = 0.0 if is_gibbs else self._noise_scale()
        with self.evaluating():
            x = self._start(num_examples, start)
            for step in range(steps):
                outputs = self._outputs(self._spoiled(x).sample() if is_gibbs else x)
                if mean and step == steps - 1:
                    return self.likelihood.mean(outputs)
                if is_gibbs:
                    x = self.likelihood.distribution(outputs).sample()
                else:
                    x = x + 0.5 * (self.likelihood.mean(outputs) - x) + scale * torch.randn_like(x)
            return x

    @property
    def config(self) -> dict[str, Any]:
        return {
            **self.shared_config,
            "corruption": self.corruption.config,
            "emphasis": list(self.emphasis),
            "walkback": self.walkback,
            "nonlinearity": self.family.config["nonlinearity"],
            "network": self.network.config,
        }

    def _seen(self, x: Tensor) -> Tensor:
        x = self._walked(x) if self.walkback and self.training else x
        with poutine.mask(mask=False):
            return pyro.sample("x_corrupted", self._spoiled(x), infer={"is_auxiliary": True})

    @torch.no_grad()
    def _walked(self, x: Tensor) -> Tensor:
        """Where the model's own chain is after 0 to `walkback` steps from x, as many for each example as are drawn."""
        steps = torch.randint(self.walkback + 1, (len(x), 1), device=x.device)
        for step in range(self.walkback):
            moved = self.likelihood.distribution(self._outputs(self._spoiled(x).sample())).sample()
            x = torch.where(step < steps, moved, x)
        return x

    def _spoiled(self, x: Tensor) -> TorchDistribution:
        spoiled = self.corruption.distribution(x)
        if spoiled.event_shape != x.shape[-1:]:
            got = f"event shape {tuple(spoiled.event_shape)}"
            raise ArgumentError("corruption", f"a distribution of event shape ({self.num_visible},)", got)
        return spoiled

    def _emphasized(self, batch: Any, guide_trace: Any) -> Tensor:
        """What the weights change of -log p(x given z), for each example."""
        given = self._observed_in(batch)
        seen, z = (guide_trace.nodes[name]["value"] for name in ("x_corrupted", "z"))
        each: Any = self.likelihood.distribution(self._decode(z))
        weight = torch.where(seen != given.x, *self.emphasis)
        return given.blank((1 - weight) * each.base_dist.log_prob(given.x)).sum(-1)

    def _outputs(self, x: Tensor) -> Tensor:
        return self._decode(self.family.code(self._encode(x)))

    def _any_numbers(self, argument: str, x: Data) -> Tensor:
        """Examples that need not be in the likelihood's support."""
        tensor: Any = x.tensor if isinstance(x, Dataset) else torch.tensor(x) if isinstance(x, np.ndarray) else x
        return checks.examples(argument, tensor, self.data_shape).to(self.device, self.dtype)

    def _start(self, num_examples: int | None, start: Data | None) -> Tensor:
        count = None if num_examples is None else checks.positive_int("num_examples", num_examples)
        if start is not None:
            x = self._any_numbers("start", start)
            if count not in (None, len(x)):
                raise ArgumentError("num_examples", f"{len(x)}, the length of start", count)
            return x
        if not bool(self.mean.isfinite().all()):
            raise NotPreparedError("chains have no prior to start from: call model.prepare(data), or give start=")
        return self.likelihood.distribution(self.likelihood.outputs_for(self.mean).expand(count or 1, -1)).sample()

    def _noise_scale(self) -> float:
        if not isinstance(self.corruption, Gaussian):
            raise ArgumentError("corruption", "'gaussian' for a score", self.corruption.config["name"])
        return self.corruption.scale

    def _check_emphasis(self) -> None:
        if isinstance(self.corruption, Gaussian):
            raise ArgumentError("emphasis", "(1, 1) beside noise that changes every dimension", self.emphasis)
        each = self.likelihood.distribution(torch.zeros(1, self.likelihood.num_outputs))
        if not isinstance(each, dist.Independent) or each.base_dist.event_shape:
            raise ArgumentError("emphasis", "(1, 1) where dimensions have no likelihood of their own", self.emphasis)


def _weights(emphasis: Any) -> tuple[float, float]:
    if not isinstance(emphasis, (tuple, list)) or len(emphasis) != 2:
        raise ArgumentError("emphasis", "two weights: of changed dimensions, and of the others", repr(emphasis))
    changed, kept = (checks.real("emphasis", weight, low=0.0) for weight in emphasis)
    if changed == kept == 0.0:
        raise ArgumentError("emphasis", "a weight above 0", repr(emphasis))
    return changed, kept
