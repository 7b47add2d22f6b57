"""The denoising autoencoder: clean examples from spoiled ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self, final

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from probae import checks
from probae.distributions.corruptions import CORRUPTIONS, Corruption, Drawn, Gaussian, Masking
from probae.distributions.likelihoods import Likelihood
from probae.distributions.named import make
from probae.errors import ArgumentError, NotPreparedError
from probae.inference.elbo import ELBO
from probae.models.base import Data
from probae.models.latent import LatentModel
from probae.models.observed import Observed
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
            a `Corruption` of your own, or a function from x to a Pyro distribution, such as
            `lambda x: dist.Laplace(x, 0.1).to_event(1)`, with which the model cannot be saved.
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
    largest: Tensor

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 128,
        hidden: Sequence[int] | int = (256,),
        corruption: str | dict[str, Any] | Corruption | Callable[[Tensor], TorchDistribution] = "masking",
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
        if callable(corruption) and not isinstance(corruption, Corruption | type):
            corruption = Drawn(corruption)
        self.corruption = make("corruption", corruption, Corruption, CORRUPTIONS)
        self.emphasis = _weights(emphasis)
        if self.emphasis != (1.0, 1.0):
            self._check_emphasis()
        self.walkback = checks.positive_int("walkback", walkback, minimum=0)
        self.register_buffer("mean", torch.full((self.num_visible,), torch.nan))
        self.register_buffer("largest", torch.zeros(()))

    def prepare(self, data: Any) -> Self:
        """Start the output bias at the data's mean, which is kept, for chains start around it; and the largest size."""
        super().prepare(data)
        seen = self._whole(data)
        self.mean.copy_(seen.mean())
        self.largest.copy_(seen.x.abs().max())
        return self

    def objective(self) -> ELBO:
        """The ELBO; where dimensions weigh differently, with the difference as a penalty."""
        return ELBO() if self.emphasis == (1.0, 1.0) else ELBO(penalties=self._emphasized)

    def denoise(self, x: Data, *, mask: Any = None, lengths: Any = None) -> Tensor:
        """The mean of p(x given f(x~)) for spoiled examples x~: (N, D). They may be outside the data's support.

        The other arguments as in `encode`.
        """
        with self.evaluating():
            return self._reconstructed(self._any_numbers("x", x, mask, lengths).x)

    def score(self, x: Data, *, mask: Any = None, lengths: Any = None) -> Tensor:
        """The gradient of the log-density of the data, blurred by noise of variance s^2: (r(x) - x) / s^2, (N, D).

        Exact for the best reconstruction r, the mean of x given x~: Tweedie's formula (Robbins 1956). Zero where
        nothing is observed; the other arguments as in `encode`.

        Raises:
            ArgumentError: if the corruption is not `Gaussian`, also for one of your own that draws Normal noise.
        """
        scale = self._noise_scale()
        with self.evaluating():
            seen = self._any_numbers("x", x, mask, lengths)
            return seen.blank(self._reconstructed(seen.x) - seen.x) / scale**2

    def sample(
        self, num_examples: int | None = None, *, start: Data | None = None, steps: int = 100, method: str = "gibbs",
        mean: bool = False,
    ) -> Tensor:  # fmt: skip
        """Run Markov chains, one for each example, and return where they are.

        A chain is only as tame as what was learned. Beside a linear mean nothing bounds a reconstruction far from the
        data, and at the defaults many chains run away from digits. Chains that are a hundred times as far from zero as
        the training data and their own first step are not returned: learn with `walkback`, or bound the mean by
        likelihood={"name": "normal", "nonlinearity": "sigmoid"}. Those that stay are not thereby good.

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
            ArgumentError: names the argument; `likelihood`, where chains run away.
            NotPreparedError: without `start`, if `prepare` has not seen data.

        Source:
            Bengio, Yao, Alain and Vincent (2013), "Generalized denoising auto-encoders as generative models".
        """
        steps, is_gibbs = checks.positive_int("steps", steps), checks.choice("method", method, CHAINS) == "gibbs"
        scale = 0.0 if is_gibbs else self._noise_scale()
        with self.evaluating():
            x, far = self._start(num_examples, start), torch.inf
            for step in range(1, steps + 1):
                outputs = self._outputs(self._spoiled(x).sample() if is_gibbs else x)
                if mean and step == steps:
                    moved = self.likelihood.mean(outputs)
                elif is_gibbs:
                    moved = self.likelihood.distribution(outputs).sample()
                else:
                    moved = x + 0.5 * (self.likelihood.mean(outputs) - x) + scale * torch.randn_like(x)
                far = self._far(x, moved) if step == 1 else far
                _check_near(moved, far, step)
                x = moved
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

    def _seen(self, seen: Observed) -> Tensor:
        x = self._walked(seen) if self.walkback and self.training else seen.x
        with poutine.mask(mask=False):
            return seen.blank(pyro.sample("x_corrupted", self._spoiled(x), infer={"is_auxiliary": True}))

    @torch.no_grad()
    def _walked(self, seen: Observed) -> Tensor:
        """Where the model's own chain is after 0 to `walkback` steps from x, as many for each example as are drawn."""
        x, steps = seen.x, torch.randint(self.walkback + 1, (len(seen.x), 1), device=seen.x.device)
        for step in range(self.walkback):
            outputs = self._outputs(seen.blank(self._spoiled(x).sample()))
            x = torch.where(step < steps, seen.blank(self.likelihood.distribution(outputs).sample()), x)
        return x

    @property
    def _fillings(self) -> int | None:
        """What masking taught it to fill in are zeros, which its own reconstruction is not."""
        return 1 if isinstance(self.corruption, Masking) else None

    def _far(self, *values: Tensor) -> float:
        """What is beyond all bounds: a hundred times the largest of the training data, if known, and of these."""
        return 100 * max(x.abs().max().item() for x in (self.largest, *values)) or math.inf

    def _spoiled(self, x: Tensor) -> TorchDistribution:
        wanted = f"a Pyro distribution of event shape ({self.num_visible},)"
        try:
            spoiled = self.corruption.distribution(x)
        except ValueError as error:  # of a distribution that checks its parameters
            raise ArgumentError("corruption", wanted, f"parameters that it cannot have: {error}") from error
        if not isinstance(spoiled, TorchDistributionMixin):
            raise ArgumentError("corruption", wanted, type(spoiled).__name__)
        if spoiled.event_shape != x.shape[-1:]:
            raise ArgumentError("corruption", wanted, f"event shape {tuple(spoiled.event_shape)}")
        return spoiled

    def _emphasized(self, batch: Any, guide_trace: Any) -> Tensor:
        """What the weights change of -log p(x given z), for each example."""
        given = self._observed_in(batch)
        seen, z = (guide_trace.nodes[name]["value"] for name in ("x_corrupted", "z"))
        each: Any = self.likelihood.distribution(self._decode(z))
        weight = torch.where(seen != given.x, *self.emphasis)
        return given.blank((1 - weight) * each.base_dist.log_prob(given.x)).sum(-1)

    def _any_numbers(self, argument: str, x: Data, mask: Any = None, lengths: Any = None) -> Observed:
        """Examples that need not be in the likelihood's support."""
        seen = self._numbers(argument, x, mask, lengths)
        return Observed(seen.x.to(self.device, self.dtype), None if seen.mask is None else seen.mask.to(self.device))

    def _start(self, num_examples: int | None, start: Data | None) -> Tensor:
        count = None if num_examples is None else checks.positive_int("num_examples", num_examples)
        if start is not None:
            x = self._any_numbers("start", start).x
            if count not in (None, len(x)):
                raise ArgumentError("num_examples", f"{len(x)}, the length of start", count)
            return x
        if not bool(self.mean.isfinite().all()):
            raise NotPreparedError("chains have no prior to start from: call model.prepare(data), or give start=")
        return self.likelihood.distribution(self.likelihood.outputs_for(self.mean).expand(count or 1, -1)).sample()

    def _noise_scale(self) -> float:
        if not isinstance(self.corruption, Gaussian):
            hint = "Of another corruption the scale of its noise is not known"
            raise ArgumentError("corruption", "'gaussian' for a score", repr(self.corruption.config["name"]), hint)
        return self.corruption.scale

    def _check_emphasis(self) -> None:
        if isinstance(self.corruption, Gaussian):
            raise ArgumentError("emphasis", "(1, 1) beside noise that changes every dimension", self.emphasis)
        each = self.likelihood.distribution(torch.zeros(1, self.likelihood.num_outputs))
        if not isinstance(each, dist.Independent) or each.base_dist.event_shape:
            raise ArgumentError("emphasis", "(1, 1) where dimensions have no likelihood of their own", self.emphasis)


def _check_near(x: Tensor, far: float, step: int) -> None:
    largest = x.abs().max().item()
    if not largest <= far:  # NaN is not
        found = f"values of {largest:.2g} after {step} steps"
        hint = "Learn with walkback=, or take likelihood={'name': 'normal', 'nonlinearity': 'sigmoid'}"
        raise ArgumentError("likelihood", "chains that stay near the data", found, hint)


def _weights(emphasis: Any) -> tuple[float, float]:
    if not isinstance(emphasis, (tuple, list)) or len(emphasis) != 2:
        raise ArgumentError("emphasis", "two weights: of changed dimensions, and of the others", repr(emphasis))
    changed, kept = (checks.real("emphasis", weight, low=0.0) for weight in emphasis)
    if changed == kept == 0.0:
        raise ArgumentError("emphasis", "a weight above 0", repr(emphasis))
    return changed, kept
