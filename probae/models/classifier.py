"""A classifier as a Pyro pair: labels given examples, on an encoder that was pretrained or is new."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, final

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from probae import checks
from probae.distributions.guides.delta import Delta
from probae.distributions.named import make
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError, NoLikelihoodError
from probae.evaluation.estimate import Estimate
from probae.evaluation.log_likelihood import log_likelihood
from probae.models.base import Data
from probae.models.labelling import LabelModel, known_of
from probae.models.making import own_module, widths, with_dropout
from probae.models.rows import outputs_of
from probae.networks import NETWORKS, Network

if TYPE_CHECKING:
    from probae.models.latent import LatentModel


@final
class Classifier(LabelModel):
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
        found = super().arguments(argument, data)
        return found if found is data else known_of(argument, *found)

    def monitor(self, name: str = "log_likelihood") -> Monitor:
        """The mean log p(y given x) in nats, or the share of right labels.

        Args:
            name: "log_likelihood" or "accuracy".
        """
        checks.choice("name", name, ("accuracy", "log_likelihood"))
        return self._label_monitor(name, accuracy=name == "accuracy")

    # Its verbs.

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
        return self._log_likelihood_of_labels(data, y, "a classifier has no latent variables")

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
