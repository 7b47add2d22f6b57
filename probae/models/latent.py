"""Models with a latent vector: an encoder, a decoder, and what stands in the four places of the ELBO."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from probae import checks
from probae.data import Dataset
from probae.distributions.guides import GuideFamily
from probae.distributions.likelihoods import LIKELIHOODS, Likelihood
from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Prior
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError, DataError
from probae.evaluation.estimate import Estimate
from probae.models.base import Data, Model, examples_of, protocol_of
from probae.models.labels import Labels
from probae.models.layers import UpperLayers
from probae.models.making import check_size, families, own_module, widths
from probae.models.rows import joined, labelled, outputs_of, pair_of
from probae.networks import NETWORKS, Network
from probae.networks.mlp import mlp


class LatentModel(Model, ABC):
    """p(z) p(x given z) with a guide q(z given x): the shape of every autoencoder here.

    Final classes fix what stands in the four places and add the verbs that only they have.

    Args:
        data_shape: of one example.
        latent_dim: length of the latent vector z.
        upper_dims: of the stochastic layers above it, none for a single layer.
        hidden: widths of the hidden layers of the encoder; the decoder mirrors them.
        likelihood, prior, guide, network: names, configurations or objects.
        labels: how many class labels there are, and whether they are "condition" or "latent"; None without labels.
        encoder: a module of one's own, (N, D) -> (N, guide.num_outputs), the one-hot label behind the D values.
        decoder: likewise, (N, latent_dim) -> (N, num_outputs); N counts particles and examples alike.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        *,
        latent_dim: int,
        upper_dims: tuple[int, ...] = (),
        hidden: Sequence[int] | int,
        likelihood: str | dict[str, Any] | Likelihood,
        prior: str | dict[str, Any] | Prior,
        guide: str | dict[str, Any] | GuideFamily,
        network: str | dict[str, Any] | Network,
        labels: tuple[int, str] | None = None,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        activation: str,
    ) -> None:
        super().__init__(data_shape)
        dims = (checks.positive_int("latent_dim", latent_dim), *upper_dims)
        self.latent_dim, self.latent_dims = dims[0], dims
        self.hidden, self.activation = widths(hidden), activation
        self.likelihood = make("likelihood", likelihood, Likelihood, LIKELIHOODS, self.num_visible)
        self.prior = make("prior", prior, Prior, PRIORS, dims[-1])
        self.prior.attach(self.num_visible)
        layers = families(guide, dims)
        self.family, self.network = layers[0], make("network", network, Network, NETWORKS)
        check_size("likelihood", "dimensions", self.likelihood.num_visible, self.num_visible)
        check_size("prior", "latent variables", self.prior.latent_dim, dims[-1])
        own = {"encoder": encoder, "decoder": decoder}
        self.own_modules = tuple(name for name, module in own.items() if own_module(name, module))
        self.labels = None if labels is None else Labels(labels[0], self._classifier(*labels))
        context = 0 if self.labels is None else self.labels.num_labels
        self.encoder = self._encoder(self.family.num_outputs, context) if encoder is None else encoder
        self.decoder = self._decoder(dims[0] + context) if decoder is None else decoder
        self.upper = UpperLayers(dims, layers, self._between) if upper_dims else None
        if (bias := self._output_bias()) is not None:
            nn.init.zeros_(bias)  # `prepare` knows by it that nothing was trained

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(x, z): z from the prior, x from the likelihood given the decoder's outputs. Returns x, (N, D).

        With labels, p(x, z given y) where they are a condition, p(x, y, z) where they are latent.
        """
        self.refuse(mask=mask, lengths=lengths)
        self.register()
        observed = None if x is None else self.rows(x)
        size = num_examples if observed is None else len(observed)
        with self.plate(size):
            label = None if self.labels is None else self.labels.generate(y, size, observed=x is not None)
            prior = self.prior.distribution(self._posterior)
            z = pyro.sample("z", prior) if self.upper is None else self.upper.generate(prior)
            return pyro.sample("x", self.likelihood.distribution(self._decode(z, label)), obs=observed)

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """q(z given x): z from the guide family with the encoder's outputs. Returns z, (N, latent_dim).

        With labels, q(z given x, y), after q(y given x) where they are latent.
        """
        if x is None:
            raise ArgumentError("x", "examples to encode", None)
        self.refuse(mask=mask, lengths=lengths)
        self.register()
        x = self.rows(x)
        with self.plate(len(x)):
            label = None if self.labels is None else self.labels.infer(x, y)
            posterior = self.family.distribution(self._encode(self._seen(x), label))
            return pyro.sample("z", posterior) if self.upper is None else self.upper.infer(posterior)

    # What it declares.

    def check(self, argument: str, x: Tensor) -> None:
        self.likelihood.check(argument, x)

    def arguments(self, argument: str, data: Any) -> Any:
        """The data; with labels, the pair of the examples and theirs, both checked."""
        if self.labels is None:
            return data
        x, y = pair_of(data)
        if not isinstance(x, (Dataset, Tensor, np.ndarray)):
            return data  # a stream of batches
        if y is None:
            wanted = "examples with labels" + (" (-1 where unknown)" if self.labels.latent else "")
            raise DataError(argument, f"{wanted}, since the model has num_labels", "none with them")
        y = self.labels.check(argument, y, len(self.examples(argument, x)))
        if isinstance(data, Mapping):
            return {**data, "x": labelled(x, y), "y": y}
        more = data.tensors if isinstance(data, TensorDataset) else data if isinstance(data, tuple) else ()
        return (labelled(x, y), y, *more[2:])

    def prepare(self, data: Data) -> Self:
        """Set what training starts from, where nothing was trained yet.

        The decoder's output bias at the data's mean (a decoder of your own is left alone), a learned scale at its
        spread, what the prior wants to know of it, and the rates of labels (those of a data set, or of a pair).
        """
        examples, y = pair_of(data)
        x, bias = self.examples("data", examples), self._output_bias()
        if bias is not None and not bool(bias.any()):
            with torch.no_grad():
                bias.copy_(self.likelihood.outputs_for(x.mean(0)))
        self.likelihood.prepare(x)
        self.prior.prepare(x)
        if self.labels is not None and y is not None:
            self.labels.prepare(self.labels.check("data", y, len(x)))
        return self

    def monitor(self) -> Monitor:
        """The plain ELBO; for a deterministic model, which has none, the log p(x, z) at its codes that MAP maximizes.

        Reconstructions alone would choose the epoch that heeded the prior least.
        """
        if self.family.has_density:
            return super().monitor()

        def score(batch: Batch) -> Tensor:
            x = examples_of(batch)
            code = self.family.code(self._encode(self._seen(x)))
            likelihood = self.likelihood.distribution(self._decode(code)).log_prob(x)
            return (likelihood + self.prior.distribution().log_prob(code)).mean()

        return Monitor.of_scores("log_joint", score)

    # Its verbs.

    def encode(self, x: Data, y: Any = None) -> dist.TorchDistribution:
        """q(z given x) for examples (N, D): a distribution of batch shape (N,), event shape (latent_dim,).

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            y: labels (N,), or one for all, of a model with labels. By default those of a data set, where labels are a
                condition; the most probable ones, where they are latent (also for -1).
        """
        with self.evaluating():
            rows = self.examples("x", x)
            return self.family.distribution(self._encode(rows, self._label(rows, self._given(x, y))))

    def decode(self, z: Tensor, y: Any = None) -> dist.TorchDistribution:
        """p(x given z) for latent vectors (..., latent_dim): a distribution of event shape (D,).

        Args:
            z: latent vectors.
            y: of a model with labels: one for all, or as many as z has rows.
        """
        if not isinstance(z, Tensor) or z.dim() == 0 or z.shape[-1] != self.latent_dim:
            got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise ArgumentError("z", f"a tensor (..., {self.latent_dim})", got)
        checks.finite("z", z)
        with self.evaluating():
            label = None
            self._refuse_labels(y)
            if self.labels is not None:
                flat = y.flatten() if isinstance(y, Tensor) and y.shape == z.shape[:-1] else y
                given = self.labels.check("y", flat, z.shape[:-1].numel())
                label = self.labels.one_hot(self.labels.filled(given)).reshape(*z.shape[:-1], -1)
            return self.likelihood.distribution(self._decode(z.to(self.device, self.dtype), label))

    def embed(self, x: Data, y: Any = None) -> Tensor:
        """The code of each example, (N, latent_dim): the mean of q(z given x), or what stands for it (`family.code`).

        Of several stochastic layers, that of the one nearest to the data. Labels as in `encode`.
        """
        with self.evaluating():
            rows = self.examples("x", x)
            return self.family.code(self._encode(rows, self._label(rows, self._given(x, y))))

    def reconstruct(self, x: Data, y: Any = None) -> Tensor:
        """The mean of p(x given the code), for each example: (N, D). Labels as in `encode`."""
        with self.evaluating():
            rows = self.examples("x", x)
            label = self._label(rows, self._given(x, y))
            return self.likelihood.mean(self._decode(self.family.code(self._encode(rows, label)), label))

    def sample(self, num_examples: int = 1, y: Any = None, *, mean: bool = False) -> Tensor:
        """Draw z from the prior, then x from the likelihood.

        Args:
            num_examples: how many.
            y: of a model with labels: one for all, or one each; by default drawn at their rates in the training data.
            mean: return the mean of p(x given z) instead of a draw, as pictures usually show.

        Returns:
            (num_examples, D).
        """
        count = checks.positive_int("num_examples", num_examples)
        self._refuse_labels(y)
        labels = None if self.labels is None or y is None else self.labels.check("y", y, count)
        with self.evaluating():
            site: Any = poutine.trace(self.model).get_trace(None, labels, num_examples=count).nodes["x"]
            return site["fn"].mean if mean else site["value"]

    def log_likelihood(self, data: Data, method: str = "importance", *, y: Any = None, **options: Any) -> Estimate:
        """Estimate the mean log p(x) by importance sampling from the guide; see `pb.log_likelihood`.

        Where labels are a condition, that of log p(x given y), and the protocol says so; where they are latent, that of
        log p(x), whether the data has labels or not: they are drawn from the guide like the other latent variables.

        Args:
            data: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            method: "importance".
            y: labels, where they are a condition; by default those of the data set.
            options: num_samples, seed, ... of `pb.log_likelihood`.

        Raises:
            NoLikelihoodError: for a deterministic guide, which has no density, or a flat prior.
        """
        from probae.evaluation.log_likelihood import log_likelihood

        checks.options(options, log_likelihood, without=("model", "guide", "data", "method", "protocol"))
        x, protocol = self.examples("data", data), protocol_of(data)
        given = self._given(data, y)
        examples: Any = x
        if self.labels is not None and self.labels.latent:
            self.refuse(y=y)
        elif self.labels is not None:
            examples = (x, self.labels.check("y", given, len(x)))
            protocol = replace(protocol, given="y")
        with self.evaluating():
            return log_likelihood(self.model, self.guide, examples, method=method, protocol=protocol, **options)

    # How the parts act together.

    def _seen(self, x: Tensor) -> Tensor:
        """What the guide's encoder sees of the examples."""
        return x

    def _examples_of(self, batch: Any) -> Tensor:
        """The examples, (N, D), in what a penalty sees of a call."""
        return self.rows(batch[0] if isinstance(batch, tuple) else batch["x"] if isinstance(batch, Mapping) else batch)

    def _encode(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return outputs_of("encoder", self.encoder, joined(x, label), self.family.num_outputs)

    def _decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return outputs_of("decoder", self.decoder, joined(z, label), self.likelihood.num_outputs)

    def _posterior(self, x: Tensor) -> dist.TorchDistribution:
        return self.family.distribution(self._encode(x))

    def _given(self, x: Any, y: Any) -> Tensor | None:
        """The labels that came with examples, checked: those given, or a data set's where they are a condition."""
        self._refuse_labels(y)
        if self.labels is None:
            return None
        if y is None and isinstance(x, Dataset) and not self.labels.latent:
            y = x.labels
        return None if y is None else self.labels.check("y", y, len(x))

    def _refuse_labels(self, y: Any) -> None:
        if self.labels is None and y is not None:
            raise ArgumentError("y", "None, since the model has no labels (num_labels=)", type(y).__name__)

    def _label(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        return None if self.labels is None else self.labels.one_hot(self.labels.guess(x, y))

    def _output_bias(self) -> nn.Parameter | None:
        if "decoder" in self.own_modules:
            return None
        return self.decoder[-1].bias  # type: ignore[index, return-value, union-attr]

    # How they are made.

    def _encoder(self, num_outputs: int, context: int = 0) -> nn.Module:
        shape, hidden = self.data_shape, self.hidden
        return self.network.encoder(shape, num_outputs, hidden=hidden, activation=self.activation, context=context)

    def _decoder(self, num_inputs: int) -> nn.Module:
        shape, outputs = self.data_shape, self.likelihood.num_outputs
        return self.network.decoder(num_inputs, shape, outputs, hidden=self.hidden, activation=self.activation)

    def _classifier(self, num_labels: int, role: str) -> nn.Module | None:
        if checks.choice("labels", role, ("condition", "latent")) == "condition":
            return None
        return self._encoder(checks.positive_int("num_labels", num_labels, minimum=2))

    def _between(self, inputs: int, outputs: int) -> nn.Module:
        return mlp([inputs, *self.hidden, outputs], self.activation)

    @property
    def shared_config(self) -> dict[str, Any]:
        """The arguments that all latent models have in common."""
        return {
            "data_shape": list(self.data_shape),
            "latent_dim": self.latent_dim,
            "hidden": list(self.hidden),
            "likelihood": self.likelihood.config,
            "activation": self.activation,
        }
