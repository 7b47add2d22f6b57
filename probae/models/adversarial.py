"""The adversarial autoencoder: codes that all together are distributed like any prior that can be drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.guides import GuideFamily
from probae.distributions.likelihoods import Likelihood
from probae.distributions.priors import Prior
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError
from probae.inference.adversarial import Adversarial
from probae.inference.traces import log_prob, run_pair
from probae.models.latent import LatentModel
from probae.models.making import own_module, widths
from probae.models.rows import pair_of
from probae.networks import Network
from probae.networks.mlp import mlp


@final
class AdversarialAutoencoder(LatentModel):
    """An autoencoder whose codes, taken over all examples, are distributed like the prior:

        minimize over the pair  -E log p(x given z) + strength * KL(q(z) to p(z)),  q(z) = mean over x of q(z given x),

    with the divergence and its gradient from a classifier, the discriminator, that is trained beside it to tell codes
    from draws of the prior (`pb.Adversarial`). What a VAE asks of the code of each example, this asks of all codes
    together: codes may tell as much of x as they like, if only decoded draws of the prior come out like data. So the
    encoder may be deterministic, and the prior any that can be drawn from, its density unknown.

    With labels it is p(x given y, z) with q(z given x, y), and the discriminator sees the label behind the code: the
    codes of each class are distributed like the prior, and say of x what its label does not.

    What is minimized is no bound, and its value tells little. The monitor is the reconstruction, E_q log p(x given z),
    which says nothing of how codes are distributed and would prefer those that heed the prior least: so the last epoch
    is kept. A deterministic encoder has no log-likelihood; of a stochastic one it is estimated by importance sampling,
    as of a VAE.

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the code. More than the data need leave a deterministic encoder nothing to fill the prior
            with.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: "normal" (of scale 1) or "bernoulli", ...; a configuration, or a `Likelihood`. Beside a stochastic
            guide a scale far above the data's spread can leave codes that are noise; {"name": "normal", "learned":
            True} finds its own.
        prior: a fixed one: "normal", "laplace", "kernel" around points of your own, as in
            `pb.distributions.priors.KernelDensity(2, points)`; a configuration, or a `Prior` of your own, whose
            distribution needs no more than `expand` and `sample`.
        guide: "delta" for a deterministic encoder; "diagonal", "full" (covariance), "flow" for a stochastic one; a
            configuration, or a `GuideFamily`.
        strength: of the divergence, in nats.
        discriminator_hidden: widths of the discriminator's hidden layers.
        network: "mlp", "conv" for images, or a configuration.
        num_labels: number of classes, for a model with labels.
        encoder: your own module, (N, D) -> (N, guide.num_outputs), which is latent_dim for "delta". With labels the
            one-hot label stands behind the D values, (N, D + num_labels).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape), labels likewise.
        discriminator: your own module, (N, latent_dim) -> (N,) or (N, 1), labels likewise; without batch normalization.
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument; `prior` also for one that cannot be drawn from, or that is learned, since
            nothing here would teach it.

    Source:
        Makhzani, Shlens, Jaitly, Goodfellow and Frey 2015 (arXiv 1511.05644), sections 2 and 4, there with
        the Jensen-Shannon divergence.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(64, 9)
        >>> adversarial = AdversarialAutoencoder(9, latent_dim=2, hidden=16)
        >>> run = adversarial.fit(x, epochs=5, seed=0)
        >>> adversarial.embed(x).shape, adversarial.sample(3).shape
        (torch.Size([64, 2]), torch.Size([3, 9]))
    """

    fit_defaults: ClassVar[dict[str, Any]] = {"optimizer": partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))}

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        latent_dim: int = 8,
        hidden: Sequence[int] | int = (256, 256),
        likelihood: str | dict[str, Any] | Likelihood = "normal",
        *,
        prior: str | dict[str, Any] | Prior = "normal",
        guide: str | dict[str, Any] | GuideFamily = "delta",
        strength: float = 1.0,
        discriminator_hidden: Sequence[int] | int = (128, 128),
        network: str | dict[str, Any] | Network = "mlp",
        num_labels: int | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        activation: str = "relu",
    ) -> None:
        super().__init__(
            data_shape,
            latent_dim=latent_dim,
            hidden=hidden,
            likelihood=likelihood,
            prior=prior,
            guide=_linear(guide),
            network=network,
            labels=None if num_labels is None else (num_labels, "condition"),
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        _check_prior(self.prior)
        self.strength = checks.real("strength", strength, low=0.0)
        self.discriminator_hidden = widths(discriminator_hidden, "discriminator_hidden")
        if own_module("discriminator", discriminator):
            self.own_modules = (*self.own_modules, "discriminator")
        self.discriminator = self._classifier_of_codes() if discriminator is None else discriminator
        self.objective()  # refuses a discriminator that cannot judge

    def objective(self) -> Adversarial:
        """The adversarial objective, with the model's own discriminator."""
        given = None if self.labels is None else self._label_of
        return Adversarial(self.discriminator, strength=self.strength, given=given)

    def monitor(self) -> Monitor:
        """E_q log p(x given z), with one draw for each example; the last epoch is kept."""

        def score(batch: Batch) -> Tensor:
            trace: Any = run_pair(self.model, self.guide, batch.args, batch.kwargs)[0]
            return log_prob(trace.nodes["x"]).mean()

        return Monitor.of_scores("reconstruction", score, selects=False)

    @property
    def config(self) -> dict[str, Any]:
        return {
            **self.shared_config,
            "prior": self.prior.config,
            "guide": self.family.config,
            "strength": self.strength,
            "discriminator_hidden": list(self.discriminator_hidden),
            "network": self.network.config,
            "num_labels": None if self.labels is None else self.labels.num_labels,
        }

    def _classifier_of_codes(self) -> nn.Module:
        inputs = self.latent_dim + (0 if self.labels is None else self.labels.num_labels)
        return mlp([inputs, *self.discriminator_hidden, 1], self.activation)

    def _label_of(self, batch: Any) -> Tensor:
        """The one-hot labels of a call, (N, K)."""
        labels: Any = self.labels
        return labels.one_hot(pair_of(batch)[1])


def _linear(guide: Any) -> Any:
    """The guide; a Delta's code is linear unless told otherwise, since a prior has values of both signs."""
    settings = {"name": guide} if isinstance(guide, str) else guide
    is_delta = isinstance(settings, Mapping) and settings.get("name") == "delta"
    return {"nonlinearity": "linear", **settings} if is_delta else guide


def _check_prior(prior: Prior) -> None:
    if not prior.proper:
        raise ArgumentError("prior", "a proper prior, which can be drawn from", repr(prior.config["name"]))
    if any(parameter.requires_grad for parameter in prior.parameters()):
        hint = "'kernel' is a mixture that stays as it is, around points of your own"
        raise ArgumentError("prior", "a fixed prior, since codes are shaped after it", repr(prior.config["name"]), hint)
