"""The variational autoencoder: a stochastic decoder, and an encoder that infers its latent vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from pyro.distributions import Categorical
from torch import nn

from probae import checks
from probae.distributions.guides import GuideFamily
from probae.distributions.likelihoods import Likelihood
from probae.distributions.priors import Prior
from probae.errors import ArgumentError
from probae.inference.elbo import ELBO
from probae.inference.objective import Objective, check_penalties
from probae.models.base import Data
from probae.models.latent import LatentModel
from probae.networks import Network


@final
class VAE(LatentModel):
    """A variational autoencoder: p(z) from a prior, p(x given z) from a decoder, q(z given x) from an encoder.

    Trained by the evidence lower bound, judged by importance sampling. Several stochastic layers, `latent_dim=(32, 8)`,
    make p(z2) p(z1 given z2) p(x given z1) with q(z1 given x) q(z2 given z1), all diagonal Normals but the prior and
    the guides asked for. With labels it is p(x given y) ("condition"), or p(y) p(z) p(x given y, z) with q(y given x)
    from a classifier and y summed out ("latent"), which learns from labelled and unlabelled examples together (y = -1
    where a label is unknown) and classifies.

    Args:
        data_shape: of one example, an int or a tuple.
        latent_dim: length of the latent vector; of each stochastic layer, that nearest to the data first, if several.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        likelihood: "bernoulli" for bits; for real values "normal", whose one scale is learned here, since a fixed one
            far above the data's spread leaves nothing to learn; "continuous_bernoulli", "categorical",
            "discretized_logistic"; with settings as {"name": "normal", "learned": "per_dimension"}; or a `Likelihood`.
        prior: "normal", "mixture", "vamp", "flow", a configuration such as {"name": "vamp", "num_components": 100}, or
            a `Prior`. Of the uppermost layer, if there are several.
        guide: "diagonal", "full" (covariance), "flow", a configuration, or a `GuideFamily`.
        network: "mlp", "conv" for images, "recurrent" for sequences, or a configuration such as
            {"name": "conv", "channels": [32, 64]}.
        num_labels: number of classes, for a model with labels.
        labels: "condition" or "latent"; see above.
        encoder: your own module, (N, D) -> (N, guide.num_outputs), which is 2 * latent_dim for "diagonal". With labels
            the one-hot label stands behind the D values, (N, D + num_labels).
        decoder: your own module, (N, latent_dim) -> (N, D) or (N, *data_shape), labels likewise.
        activation: of the hidden layers.

    Raises:
        ArgumentError: names the argument, with near matches for names; also for combinations that make no sense.

    Source:
        Kingma and Welling 2014 (arXiv 1312.6114), section 3; Rezende et al. 2014 (arXiv 1401.4082); labels: Kingma et
        al. 2014 (arXiv 1406.5298), Sohn et al. 2015; VampPrior: Tomczak and Welling 2018 (arXiv 1705.07120).

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
        latent_dim: int | Sequence[int] = 16,
        hidden: Sequence[int] | int = (256, 256),
        likelihood: str | dict[str, Any] | Likelihood = "bernoulli",
        *,
        prior: str | dict[str, Any] | Prior = "normal",
        guide: str | dict[str, Any] | GuideFamily = "diagonal",
        network: str | dict[str, Any] | Network = "mlp",
        num_labels: int | None = None,
        labels: str = "condition",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        activation: str = "tanh",
    ) -> None:
        dims = _dimensions(latent_dim)
        checks.choice("labels", labels, ("condition", "latent"))
        if num_labels is None and labels == "latent":
            raise ArgumentError("num_labels", "the number of classes, beside labels='latent'", None)
        super().__init__(
            data_shape,
            latent_dim=dims[0],
            upper_dims=dims[1:],
            hidden=hidden,
            likelihood={"name": "normal", "learned": True} if likelihood == "normal" else likelihood,
            prior=prior,
            guide=guide,
            network=network,
            labels=None if num_labels is None else (num_labels, labels),
            encoder=encoder,
            decoder=decoder,
            activation=activation,
        )
        self._check_combination()

    def objective(self, classification: float = 0.1, **settings: Any) -> Objective:
        """The evidence lower bound; where labels are latent, with the classifier's cross-entropy as a penalty.

        Another objective, given to `fit`, replaces it whole, and leaves the classifier untrained by known labels: for
        other settings of the bound, `fit(..., objective=vae.objective(beta=0.5))`.

        Args:
            classification: weight of the mean cross-entropy of the labelled examples beside the mean loss of all.
            settings: of `pb.ELBO`.
        """
        weight = checks.real("classification", classification, low=0.0)
        checks.options(settings, ELBO)
        if self.labels is not None and self.labels.latent:
            penalties = check_penalties(settings.get("penalties", ()))
            penalty = self.labels.classification(weight, lambda batch: self._observed_in(batch).x)
            settings["penalties"] = (*penalties, penalty)
        return ELBO(**settings)

    def classify(self, x: Data) -> Categorical:
        """q(y given x) of a model whose labels are latent: a distribution of batch shape (N,); `.probs` is (N, K).

        Raises:
            ArgumentError: for a model without labels, or whose labels are a condition.
        """
        if self.labels is None:
            raise ArgumentError("num_labels", "the number of classes, for a model that classifies", None)
        with self.evaluating():
            return Categorical(logits=self.labels.logits(self.examples("x", x)))

    def _check_combination(self) -> None:
        if not self.family.has_density:
            hint = "pb.Autoencoder and pb.SparseAutoencoder are the deterministic models"
            raise ArgumentError("guide", "a guide with a density", self.family.config["name"], hint)
        if not self.prior.proper:
            raise ArgumentError("prior", "a proper prior", self.prior.config["name"])
        if self.prior.uses_posterior:
            name = f"{self.prior.config['name']!r}, a mixture of the guide's distributions"
            if not self.family.mixes:
                raise ArgumentError("prior", f"one that goes with guide={self.family.config['name']!r}", name)
            if self.upper is not None:
                raise ArgumentError("prior", "one that goes with several layers, whose guide is a chain", name)
            if self.labels is not None:
                raise ArgumentError("prior", "one that goes with labels, on which the guide depends", name)

    @property
    def config(self) -> dict[str, Any]:
        return {
            **self.shared_config,
            "latent_dim": self.latent_dim if self.upper is None else list(self.latent_dims),
            "network": self.network.config,
            "prior": self.prior.config,
            "guide": self.family.config,
            "num_labels": None if self.labels is None else self.labels.num_labels,
            "labels": "latent" if self.labels is not None and self.labels.latent else "condition",
        }


def _dimensions(latent_dim: Any) -> tuple[int, ...]:
    sizes = tuple(latent_dim) if isinstance(latent_dim, (tuple, list)) else (latent_dim,)
    if not sizes:
        raise ArgumentError("latent_dim", "a positive integer, or one for each stochastic layer", repr(latent_dim))
    return tuple(checks.positive_int("latent_dim", size) for size in sizes)
