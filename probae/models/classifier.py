"""A classifier as a Pyro pair: labels given examples, on an encoder that was pretrained or is new."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, final

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from probae import checks
from probae.data import Dataset
from probae.distributions.guides.delta import Delta
from probae.distributions.named import make
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.evaluation.estimate import Estimate, exact_estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.models.base import Data, Model, examples_of, protocol_of
from probae.models.labels import check_labels
from probae.models.making import own_module, widths, with_dropout
from probae.models.rows import labelled, outputs_of, pair_of
from probae.networks import NETWORKS, Network

if TYPE_CHECKING:
    from probae.models.latent import LatentModel


@final
class Classifier(Model):
    """p(y given x) = Categorical(softmax(V f(x) + c)): labels y from codes f(x), with an empty guide.

    The ELBO of this pair is log p(y given x) itself, minus the cross-entropy. Mostly one is made of a trained model,
    `model.classifier(10)`, whose encoder it copies: unsupervised pretraining, supervised fine-tuning. Examples of an
    unknown label, y = -1, say nothing of p(y given x): `fit` leaves them out.

    It takes neither `mask` nor `lengths`: what is not observed has to be zero, as a data set pads its sequences.

    It is no model of x, so there is nothing to sample. Its monitor is log p(y given x), or the accuracy.

    Args:
        data_shape: of one example, an int or a tuple.
        num_labels: number of classes.
        hidden: widths of the hidden layers, that of the code f(x) last; () for softmax regression.
        nonlinearity: of the code: "linear", "relu", "sigmoid", ...; by default that of the hidden layers.
        network: "mlp", "conv" for images, or a configuration.
        encoder: your own module, (N, D) -> (N, hidden[-1]).
        activation: of the hidden layers.
        dropout: the rate at which hidden units of an MLP are silenced in training, the code's included.
        top_k: how many of the code's values stay, the largest; by default all.

    Raises:
        ArgumentError: names the argument.

    Source:
        Hinton and Salakhutdinov 2006; Erhan et al. 2010, "Why does unsupervised pre-training help deep learning?".

    Example:
        >>> import probae as pb
        >>> _ = torch.manual_seed(0)
        >>> digits = pb.data.load("digits", binarize="none")
        >>> autoencoder = pb.Autoencoder(64, 32, hidden=64)
        >>> runs = autoencoder.pretrain(digits.train, epochs=2, seed=0)
        >>> classifier = autoencoder.classifier(10)
        >>> run = classifier.fit(digits.train, epochs=30, seed=0)
        >>> classifier.error_rate(digits.test) < 0.1
        True
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        num_labels: int,
        hidden: Sequence[int] | int = (256,),
        *,
        nonlinearity: str | None = None,
        network: str | dict[str, Any] | Network = "mlp",
        encoder: nn.Module | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
        top_k: int | None = None,
    ) -> None:
        super().__init__(data_shape)
        self.num_labels = checks.positive_int("num_labels", num_labels, minimum=2)
        self.hidden, self.activation = widths(hidden), activation
        if dropout != 0:
            network = with_dropout(network, dropout, list(self.hidden), own=False)
        self.network = make("network", network, Network, NETWORKS)
        self.own_modules = ("encoder",) if own_module("encoder", encoder) else ()
        if not self.hidden and (encoder is not None or self.network.config["name"] != "mlp"):
            raise ArgumentError("hidden", "the width of the code, beside an encoder that is no MLP", "none")
        width = self.hidden[-1] if self.hidden else self.num_visible
        self.code = Delta(width, nonlinearity or (activation if self.hidden else "linear"), top_k)
        self.encoder = self._encoder(width) if encoder is None else encoder
        self.dropout = nn.Dropout(getattr(self.network, "dropout", 0.0))
        self.head = nn.Linear(width, self.num_labels)

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(y given x), or, without labels, draws from it. Returns y, (N,); labels of -1 count for nothing."""
        self.refuse(mask=mask, lengths=lengths)
        if x is None:
            self._refuse_to_generate()
        self.register()
        x = self.rows(x)
        with self.plate(len(x)):
            labels = dist.Categorical(logits=self._logits(x))
            if y is None:
                return pyro.sample("y", labels)
            y = self._labels("y", y, len(x)) if is_validation_enabled() else y
            pyro.sample("y", labels.mask(y >= 0), obs=y.clamp(min=0).long())
            return y

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> None:  # fmt: skip
        """Empty: nothing is latent."""
        self.refuse(mask=mask, lengths=lengths)

    # What it declares.

    def arguments(self, argument: str, data: Any) -> Any:
        """The examples whose labels are known, with these, checked."""
        x, y = pair_of(data)
        if not isinstance(x, (Dataset, Tensor, np.ndarray)):
            return data  # a stream of batches
        if isinstance(data, Mapping):
            self.refuse(**{name: data.get(name) for name in ("mask", "lengths")})
        y = self._labels(argument, y, len(self.examples(argument, x)))
        known = y >= 0
        if not bool(known.any()):
            raise DataError(argument, "examples with labels", "none that is known: all are -1")
        x, y = labelled(x, y), y[known]
        return (x if len(y) == len(x) else x[known], y)

    def monitor(self, name: str = "log_likelihood") -> Monitor:
        """The mean log p(y given x) in nats, or the share of right labels.

        Args:
            name: "log_likelihood" or "accuracy".
        """
        exact = checks.choice("name", name, ("accuracy", "log_likelihood")) == "log_likelihood"

        def score(batch: Batch) -> Tensor:
            y = self._given_labels(batch).long()
            log_probs = self._logits(examples_of(batch)).log_softmax(-1)
            chosen = log_probs.gather(-1, y.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            right = (log_probs.argmax(-1) == y).to(chosen)
            return (torch.where(y >= 0, chosen, 0.0) if exact else right).mean()

        return Monitor.of_scores(name, score)

    # Its verbs.

    def classify(self, x: Data) -> dist.Categorical:
        """p(y given x) for examples (N, D): a distribution of batch shape (N,); `.probs` is (N, num_labels)."""
        with self.evaluating():
            return dist.Categorical(logits=self._logits(self.examples("x", x)))

    def predict(self, x: Data) -> Tensor:
        """The most probable label of each example: (N,)."""
        return self.classify(x).logits.argmax(-1)

    def error_rate(self, data: Any, y: Any = None) -> float:
        """The share of examples, of those whose label is known, for which `predict` says another one.

        Args:
            data: a data set with labels, a pair (x, y), or examples alone.
            y: their labels, where `data` has none.
        """
        x, y = self._judged(data, y)
        return (self.predict(x) != y).to(torch.float64).mean().item()

    def embed(self, x: Data) -> Tensor:
        """The code f(x) of each example, (N, hidden[-1])."""
        with self.evaluating():
            return self._code(self.examples("x", x))

    def log_likelihood(self, data: Any, method: str = "exact", *, y: Any = None, **options: Any) -> Estimate:
        """The mean log p(y given x) of the known labels, exactly, in nats per example.

        Args:
            data: a data set with labels, a pair (x, y), or examples alone.
            method: "exact".
            y: their labels, where `data` has none.
            options: num_samples, seed, ... of `pb.log_likelihood`; "exact" needs none.
        """
        checks.choice("method", method, ("exact",))
        checks.options(options, log_likelihood, without=("model", "guide", "data", "method", "protocol"))
        x, labels = self._judged(data, y)
        per_example = self.classify(x).log_prob(labels).double()
        protocol = replace(protocol_of(pair_of(data)[0]), of="y", given="x")
        return exact_estimate(per_example, "a classifier has no latent variables", protocol)

    def anomaly_score(self, x: Data, **options: Any) -> Tensor:
        """Refused: p(y given x) knows nothing of how strange an x is."""
        self._refuse_to_generate()

    def sample(self, num_examples: int = 1, **options: Any) -> Tensor:
        """Refused: there is no distribution of x to draw from."""
        self._refuse_to_generate()

    @property
    def config(self) -> dict[str, Any]:
        return {
            "data_shape": list(self.data_shape), "num_labels": self.num_labels, "hidden": list(self.hidden),
            "nonlinearity": self.code.nonlinearity, "network": self.network.config, "activation": self.activation,
            "top_k": self.code.top_k,
        }  # fmt: skip

    # Details.

    def _encoder(self, width: int) -> nn.Module:
        if not self.hidden:
            return nn.Identity()
        return self.network.encoder(self.data_shape, width, hidden=self.hidden[:-1], activation=self.activation)

    def _code(self, x: Tensor) -> Tensor:
        return self.code.code(outputs_of("encoder", self.encoder, x, self.code.num_outputs))

    def _logits(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self._code(x)))

    def _labels(self, argument: str, y: Any, size: int) -> Tensor:
        if y is None:
            raise DataError(argument, "examples with labels (-1 where unknown)", "none with them")
        return check_labels(argument, y, size, self.num_labels, unknown=True).to(self.device)

    def _given_labels(self, batch: Batch) -> Tensor:
        y = batch.args[1] if len(batch.args) > 1 else batch.kwargs.get("y")
        return self._labels("valid", y, batch.num_examples) if y is None else y

    def _judged(self, data: Any, y: Any) -> tuple[Any, Tensor]:
        """Examples and labels, those left out that are unknown."""
        return self.arguments("data", data if y is None else (pair_of(data)[0], y))

    def _refuse_to_generate(self) -> NoReturn:
        raise NoLikelihoodError("a classifier is p(y given x), without a prior of x to draw it from or judge it by")


def classifier_on(model: LatentModel, num_labels: int, dropout: float) -> Classifier:
    """See `LatentModel.classifier`."""
    top_k = model.family.config.get("top_k")
    nonlinearity = model.family.config["nonlinearity"] if top_k else model.family.pointwise
    if nonlinearity is None:
        raise ArgumentError("guide", "one that makes codes by a nonlinearity", model.family.config)
    if model.labels is not None:
        raise ArgumentError("num_labels", "a model whose encoder sees no labels", model.labels.num_labels)
    common: dict[str, Any] = {"nonlinearity": nonlinearity, "activation": model.activation, "dropout": dropout}
    common["top_k"] = top_k
    if "encoder" in model.own_modules:
        if model.family.num_outputs != model.latent_dim:
            raise ArgumentError("encoder", "a module of the library's, or one that says the code alone", "your own")
        own = copy.deepcopy(model.encoder)
        made = Classifier(model.data_shape, num_labels, model.latent_dim, encoder=own, **common)
        return made.to(model.device, model.dtype)
    network = "mlp" if model.network.config["name"] == "mlp" else model.network
    made = Classifier(model.data_shape, num_labels, (*model.hidden, model.latent_dim), network=network, **common)
    _copy(model.encoder, made.encoder)
    return made.to(model.device, model.dtype)


@torch.no_grad()
def _copy(source: nn.Module, target: nn.Module) -> None:
    """Take an encoder's parameters; of its last layer, those for the first outputs."""
    for new, old in zip(target.parameters(), source.parameters(), strict=True):
        if old[: len(new)].shape != new.shape:
            wanted = "one of whose layers the last alone depends on the number of outputs"
            raise ArgumentError("network", wanted, type(source).__name__)
        new.copy_(old[: len(new)])
