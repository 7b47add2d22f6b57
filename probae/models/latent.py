"""Models with a latent vector: what every one of them can do."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from probae import checks
from probae.data import Dataset
from probae.engine.run import Run
from probae.errors import ArgumentError
from probae.evaluation.estimate import Estimate
from probae.inference.filling import fill, settle
from probae.models.base import Data, protocol_of
from probae.models.classifier import Classifier, classifier_on
from probae.models.pair import LatentPair
from probae.models.rows import in_parts
from probae.networks.unrolled import Unrolled, layers_of

_ANOMALY_METHODS = ("bound", "exact", "importance", "reconstruction")


class LatentModel(LatentPair, ABC):
    """A pair of a prior p(z), a likelihood p(x given z) and a guide q(z given x), with the verbs of every autoencoder.

    Final classes fix what stands in the four places and add the verbs that only they have. The arguments are those of
    `LatentPair`.
    """

    # Its verbs.

    def encode(self, x: Data, y: Any = None, *, mask: Any = None, lengths: Any = None) -> dist.TorchDistribution:
        """q(z given x) for examples (N, D): a distribution of batch shape (N,), event shape (latent_dim,).

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            y: labels (N,), or one for all, of a model with labels. By default those of a data set, where labels are a
                condition; the most probable ones, where they are latent (also for -1).
            mask: (N, D), (D,) or of the data's shape, True where x is observed. The rest does not matter, even NaN.
            lengths: (N,), of sequences: how many of their steps are observed; by default those of a data set. The
                encoder reads zeros behind them, and cannot tell these from a last step of zeros that is observed.
        """
        with self.evaluating():
            rows = self.observed("x", x, mask, lengths).x
            outputs = in_parts(self._encode, rows, self._label(rows, self._given(x, y)))
            return self.family.distribution(outputs)

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

    def embed(self, x: Data, y: Any = None, *, mask: Any = None, lengths: Any = None) -> Tensor:
        """The code of each example, (N, latent_dim): the mean of q(z given x), or what stands for it (`family.code`).

        Of several stochastic layers, that of the one nearest to the data. The other arguments as in `encode`.
        """
        with self.evaluating():
            rows = self.observed("x", x, mask, lengths).x
            return self.family.code(in_parts(self._encode, rows, self._label(rows, self._given(x, y))))

    def binary_codes(self, x: Data, y: Any = None, **given: Any) -> Tensor:
        """On which side of 1/2 each unit of the code is: (N, latent_dim) bool, for a code of sigmoid units.

        Training drives them to both ends where noise is added to their inputs: `pb.Autoencoder(noise=4.0)`. The other
        arguments are those of `embed`.

        Raises:
            ArgumentError: names `nonlinearity`, for units that are not between 0 and 1.
        """
        if self.family.config.get("nonlinearity") != "sigmoid":
            raise ArgumentError("nonlinearity", "'sigmoid', for codes between 0 and 1", repr(self.family.config))
        return self.embed(x, y, **given) > 0.5

    def reconstruct(self, x: Data, y: Any = None, *, mask: Any = None, lengths: Any = None) -> Tensor:
        """The mean of p(x given the code), for each example: (N, D), also where nothing is observed.

        The other arguments as in `encode`.
        """
        with self.evaluating():
            return self.likelihood.mean(self._outputs_of(self.observed("x", x, mask, lengths).x, x, y))

    def inpaint(
        self, x: Data, mask: Any = None, y: Any = None, *, lengths: Any = None, steps: int = 100, mean: bool = False
    ) -> Tensor:
        """Fill in what is not observed: (N, D), with the observed values as they are.

        A probabilistic model draws it from p(x_missing given x_observed), by a Markov chain for each example that has
        this distribution as its limit (`probae.inference.filling`). A deterministic one has no distribution. It
        reconstructs the example with zeros in place of what is missing, puts that there, and so on, for each example
        until a step is no shorter than the one before (`probae.inference.filling.settle`): a heuristic, which may be
        worse than the data's mean. One that was taught to fill in zeros, by masking corruption, does so once.

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape); what is not observed may be anything, NaN
                too.
            mask: (N, D), (D,) or of the data's shape, True where x is observed.
            y: labels, as in `encode`; where they are latent they are drawn too.
            lengths: as in `encode`; steps behind the end of a sequence are filled in as well.
            steps: of each chain; of a deterministic model at most so many.
            mean: the mean of p(x given z) in the last step instead of a draw, as pictures usually show.
        """
        steps = checks.positive_int("steps", steps)
        with self.evaluating():
            seen = self.observed("x", x, mask, lengths)
            given = self._given(x, y)
            shown: Any = torch.ones_like(seen.x, dtype=torch.bool) if seen.mask is None else seen.mask
            if not self._has_distribution:
                label = self._label(seen.x, given)
                return settle(lambda x: self._reconstructed(x, label), seen.x, shown, steps=self._fillings or steps)
            if self.labels is not None and self.labels.latent:
                self.refuse(y=y)
            labels: dict[str, Any] = {} if given is None else {"y": given}
            with pyro.validation_enabled(False):
                return fill(self.model, self.guide, seen.x, shown, steps=steps, mean=mean, **labels)

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

    def log_likelihood(
        self, data: Data, method: str = "importance", *, y: Any = None, mask: Any = None, lengths: Any = None,
        **options: Any,
    ) -> Estimate:  # fmt: skip
        """Estimate the mean log p(x) by importance sampling from the guide; see `pb.log_likelihood`.

        Where labels are a condition, that of log p(x given y), and the protocol says so; where they are latent, that of
        log p(x), whether the data has labels or not: they are drawn from the guide like the other latent variables.

        Args:
            data: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            method: "importance".
            y: labels, where they are a condition; by default those of the data set.
            mask, lengths: as in `encode`; the estimate is that of the observed values, and the protocol says so.
            options: num_samples, seed, ... of `pb.log_likelihood`.

        Raises:
            NoLikelihoodError: for a deterministic guide, which has no density, or a flat prior.
        """
        from probae.evaluation.log_likelihood import log_likelihood

        checks.options(options, log_likelihood, without=("model", "guide", "data", "method", "protocol"))
        seen, protocol = self.observed("data", data, mask, lengths), protocol_of(data)
        given = self._given(data, y)
        examples = {"x": seen.x}
        if self.labels is not None and self.labels.latent:
            self.refuse(y=y)
        elif self.labels is not None:
            examples["y"] = self.labels.check("y", given, len(seen.x))
            protocol = replace(protocol, given="y")
        if seen.mask is not None:
            examples["mask"] = seen.mask
            protocol = replace(protocol, of="x where observed" if mask is not None else "x up to its length")
        with self.evaluating():
            return log_likelihood(self.model, self.guide, examples, method=method, protocol=protocol, **options)

    def anomaly_score(
        self, x: Data, y: Any = None, *, method: str | None = None, mask: Any = None, lengths: Any = None,
        **options: Any,
    ) -> Tensor:  # fmt: skip
        """How strange each example is, (N,), in nats; higher is stranger.

        - "bound": the negative ELBO, by default where the guide has a density and the prior is proper. It is a Monte
          Carlo estimate, of 32 samples by default, and so differs from seed to seed: by a standard deviation of 0.5
          nats on average, where those of a VAE on digits spread by 14 between examples. `num_samples=` shrinks it;
        - "reconstruction": -log p(x given the code), by default where not. Beside a Normal likelihood it is the squared
          error over 2 scale^2, plus what is the same for all examples;
        - "importance", and what else `log_likelihood` knows: an estimate of -log p(x).

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            y: labels; for "reconstruction" as in `encode`, else as in `log_likelihood`.
            method: one of these.
            mask, lengths: as in `encode`; only what is observed can be strange.
            options: num_samples (by default 32 of "bound"), seed, ... of `log_likelihood`.

        Raises:
            ArgumentError: names the argument.
            NoLikelihoodError: for a bound or an estimate of a deterministic model.
        """
        method = self._anomaly_method if method is None else checks.choice("method", method, _ANOMALY_METHODS)
        seen = self.observed("x", x, mask, lengths)
        if method != "reconstruction":
            given = {"y": y, "mask": mask, "lengths": lengths, **options}
            options = {name: value for name, value in given.items() if value is not None}
            few = {"num_samples": 32, "progress": False} if method == "bound" else {}
            scores: Any = self.log_likelihood(x, method, **{**few, **options}).per_example
            return -scores.to(self.dtype)
        self.refuse(**options)
        with self.evaluating():
            return -self._likelihood(self._outputs_of(seen.x, x, y), seen).log_prob(seen.x)

    def anomaly_map(self, x: Data, y: Any = None, *, mask: Any = None, lengths: Any = None) -> Tensor:
        """How strange each dimension of each example is: -log p(x_d given the code), (N, D), in nats.

        A row's sum is the example's `anomaly_score(method="reconstruction")`; what is not observed is zero. The other
        arguments as in `encode`.

        Raises:
            ArgumentError: names `likelihood`, if it is no product over the dimensions.
        """
        with self.evaluating():
            seen = self.observed("x", x, mask, lengths)
            return -seen.blank(self.likelihood.log_prob_each(self._outputs_of(seen.x, x, y), seen.x))

    def pretrain(
        self, data: Any, by: Any = "autoencoder", *, valid: Any = None, seed: int | None = None, callbacks: Any = (),
        progress: bool | None = None, **settings: Any,
    ) -> list[Run]:  # fmt: skip
        """Train one layer after the other as a shallow model of its own, then take over all their weights.

        The first layer is trained on the data, each other one on the codes of the one below. Afterwards the encoder is
        that of all layers in turn, and the decoder theirs in reverse, so that `fit` fine-tunes the whole. Dropout rests
        meanwhile. Of a stochastic encoder the means are trained.

        Args:
            data: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            by: "autoencoder", "denoising", "contractive" or "rbm" (for sigmoid layers whose inputs are bits or rates);
                a configuration such as {"name": "denoising", "corruption": "gaussian"}; or a function (num_inputs,
                num_outputs, nonlinearity of the codes) -> model without hidden layers. A list names one for each layer.
            valid: likewise; the best epoch of each layer is kept.
            seed, callbacks, progress: as of `fit`.
            settings: of `fit`, for each layer: epochs, batch_size, learning_rate, ...; a list has one for each layer.
                Where they name no optimizer, each layer's model has its own: that of an RBM is SGD, which wants a
                learning rate of about 0.1.

        Returns:
            The run of each layer.

        Raises:
            ArgumentError: names the argument, or what makes layers that cannot be trained apart: `network`, `hidden`,
                `num_labels`, `guide`.

        Source:
            Hinton and Salakhutdinov 2006 for RBMs; Bengio et al. 2007; Vincent et al. 2010 for denoising ones.
        """
        from probae.models.stacked import pretrain

        return pretrain(
            self, data, by, valid=valid, seed=seed, callbacks=callbacks, progress=progress, settings=settings
        )

    def unrolled(self) -> Unrolled:
        """Encoder, up to its code, and decoder as plain layers, which are parts of the model.

        Raises:
            ArgumentError: names `network` (or your `encoder`, `decoder`) if it is no MLP; `guide`, if its codes are not
                made by a nonlinearity.
        """
        own = {name: name if name in self.own_modules else "network" for name in ("encoder", "decoder")}
        encoder, decoder = (layers_of(argument, getattr(self, name)) for name, argument in own.items())
        if self.family.pointwise is None:
            raise ArgumentError("guide", "one that makes codes by a nonlinearity", self.family.config)
        return Unrolled((*encoder[:-1], encoder[-1].ending(self.family.pointwise, self.latent_dim)), decoder)

    def classifier(self, num_labels: int, *, dropout: float = 0.0) -> Classifier:
        """A classifier with a copy of the encoder, up to its code, and a fresh linear layer on it; `fit` tunes both.

        Args:
            num_labels: number of classes.
            dropout: the rate at which hidden units are silenced in training, the code's included. For MLPs.

        Raises:
            ArgumentError: names `guide`, if its codes are not made by a nonlinearity; `num_labels`, if the encoder sees
                labels; `encoder`, for a module of your own that says more than the code.
        """
        return classifier_on(self, num_labels, dropout)

    # Details.

    @property
    def _fillings(self) -> int | None:
        """How often a deterministic model puts its reconstruction in place of what is missing, if that is fixed."""
        return None

    @property
    def _anomaly_method(self) -> str:
        return "bound" if self._has_distribution else "reconstruction"

    @property
    def _has_distribution(self) -> bool:
        """Whether there is a p(x), and a guide that can be sampled and has a density."""
        return self.family.has_density and self.prior.proper

    def _outputs_of(self, rows: Tensor, x: Data, y: Any) -> Tensor:
        """The decoder's outputs at the codes of examples, which `rows` are."""
        return in_parts(self._outputs, rows, self._label(rows, self._given(x, y)))

    def _reconstructed(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.likelihood.mean(in_parts(self._outputs, x, label))

    def _outputs(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self._decode(self.family.code(self._encode(x, label)), label)

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
