"""Any latent model as a transformer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Self, final

import numpy as np
import pyro
import torch
from pyro import poutine
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from probae import checks
from probae.engine.fit import fit
from probae.engine.randomness import stream
from probae.errors import ArgumentError, NoLikelihoodError
from probae.inference.traces import sample_sites
from probae.models.adversarial import AdversarialAutoencoder
from probae.models.autoencoder import Autoencoder
from probae.models.contractive import ContractiveAutoencoder
from probae.models.denoising import DenoisingAutoencoder
from probae.models.latent import LatentModel
from probae.models.ppca import ProbabilisticPCA
from probae.models.sparse import SparseAutoencoder
from probae.models.vae import VAE

__all__ = ["AutoencoderTransformer"]

MODELS: dict[str, type[LatentModel]] = {
    "adversarial": AdversarialAutoencoder,
    "autoencoder": Autoencoder,
    "contractive": ContractiveAutoencoder,
    "denoising": DenoisingAutoencoder,
    "ppca": ProbabilisticPCA,
    "sparse": SparseAutoencoder,
    "vae": VAE,
}
"""The models that a transformer can be asked for by a short name."""

_DTYPES: Any = [np.float64, np.float32]  # as they come; all else becomes the first
_WEIGHTS = 2**14  # importance weights at once
_SCORES = {"exact": "log_likelihood", "lower": "lower_bound"}


@final
class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A latent model as a scikit-learn transformer: `transform` embeds, `inverse_transform` decodes.

    It trains in the precision of the data, float64 or float32; the second is faster. Features should be of order one,
    as for most networks: `make_pipeline(StandardScaler(), AutoencoderTransformer())`. The same integer `random_state`
    gives the same weights and the same training, up to the rounding of a compiled step in long runs.

    `score_samples` is what the model has, and `score_name_` says what that is:

    - "log_likelihood": log p(x), exactly;
    - "lower_bound": log (1/K) sum_k p(x, z_k) / q(z_k given x) with K = `num_samples`, whose expectation is a lower
      bound of log p(x). Each example gets the same noise, so that its score does not hang on the others'; the scores'
      errors are therefore alike, and `score` draws anew for each;
    - "log_joint": log p(x, z) at the code z of a deterministic model, its reconstruction and its prior, which is no
      likelihood: it orders the examples of one model, and says nothing between models with different priors.

    Args:
        model: "autoencoder", "adversarial", "contractive", "denoising", "ppca", "sparse" or "vae"; or a model of
            probae's without labels, of which a copy is trained, starting from its weights.
        latent_dim: length of the code; the model's own default where it is None.
        hidden: widths of the encoder's hidden layers; likewise.
        likelihood: of the features: "normal" by default, "bernoulli" for values 0 and 1, ...
        options: further arguments of the model's constructor, such as {"strength": 0.5} of a sparse one.
        epochs: passes over the data; by default 100, or the model's own.
        batch_size: examples a step; by default 128, or the model's own.
        learning_rate: of Adam; by default 1e-3, or the model's own.
        fit_options: further settings of `pb.fit`, such as {"schedule": "cosine", "compile": "eager"}.
        num_samples: K, for `score_samples` and `score` of models whose likelihood is estimated.
        random_state: an integer, a `numpy.random.RandomState`, or None for NumPy's own.
        device: where to train and to compute; by default the CPU, or where a given model is.
        verbose: whether to show a progress bar.

    Attributes:
        model_: the trained model, with all its verbs.
        history_: of its training, one list a column.
        score_name_: "log_likelihood", "lower_bound" or "log_joint"; see above.
        n_features_in_, feature_names_in_: of the training data, as everywhere in scikit-learn.

    Raises:
        ArgumentError: a ValueError, from `fit`; names the argument.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> x, y = load_digits(return_X_y=True)
        >>> codes = AutoencoderTransformer(latent_dim=16, hidden=64, epochs=20, random_state=0)
        >>> classifier = make_pipeline(codes, LogisticRegression()).fit(x[:1000] / 16, y[:1000])
        >>> classifier.score(x[1000:] / 16, y[1000:]) > 0.8
        True
    """

    model_: LatentModel
    history_: dict[str, list[Any]]
    score_name_: str
    n_features_in_: int

    def __init__(
        self,
        model: str | LatentModel = "autoencoder",
        latent_dim: int | None = None,
        hidden: Sequence[int] | int | None = None,
        likelihood: Any = None,
        *,
        options: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        fit_options: Mapping[str, Any] | None = None,
        num_samples: int = 200,
        random_state: Any = None,
        device: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.options = options
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.fit_options = fit_options
        self.num_samples = num_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new model on the rows of X, (n_samples, n_features); y is not used."""
        checks.positive_int("num_samples", self.num_samples)
        X = validate_data(self, X, dtype=_DTYPES)
        first, second = (int(seed) for seed in check_random_state(self.random_state).randint(2**31 - 1, size=2))
        with stream(first, torch.device("cpu")):
            model = self._untrained(X.shape[1])
        x = torch.tensor(X)
        run = model.to(x.dtype).fit(x, seed=second, **self._settings(model))
        self.model_, self.history_ = model, dict(run.history)
        self.score_name_ = self._score_name(x)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The codes, (n_samples, latent_dim), in the precision of X."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        return _array(self.model_.embed(torch.tensor(X)), X.dtype)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The mean of p(x given z) for codes z, (n_samples, latent_dim): (n_samples, n_features)."""
        check_is_fitted(self, "model_")
        X = check_array(X, dtype=_DTYPES)
        if X.shape[1] != self._n_features_out:
            raise ValueError(f"X has {X.shape[1]} features, but codes of this model have {self._n_features_out}")
        return _array(self.model_.decode(torch.tensor(X)).mean, X.dtype)

    def score_samples(self, X: Any) -> np.ndarray:
        """How probable each row is, (n_samples,), in nats, higher is better; `score_name_` says in which sense."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        x, model = torch.tensor(X), self.model_
        if self.score_name_ == "log_joint":
            return _array(_log_joint(model, x), X.dtype)
        if self.score_name_ == "lower_bound":
            return _array(_lower_bounds(model, x, self.num_samples), X.dtype)
        return _array(model.log_likelihood(x).per_example, X.dtype)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean over the rows of what `score_samples` gives, estimated with noise of its own for each row."""
        check_is_fitted(self, "model_")
        if self.score_name_ != "lower_bound":
            return float(self.score_samples(X).mean())
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        return self.model_.log_likelihood(torch.tensor(X), num_samples=self.num_samples, progress=False).value

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.model_.latent_dim

    def _untrained(self, num_features: int) -> LatentModel:
        """A new model of the name, or a copy of the one that was given."""
        given = {"latent_dim": self.latent_dim, "hidden": self.hidden, "likelihood": self.likelihood}
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(self.model, LatentModel):
            _check_template(self.model, num_features, [*given, *(["options"] if self.options else [])])
            return deepcopy(self.model)
        kind = MODELS[checks.choice("model", self.model, MODELS)]
        more = dict(self.options or {})
        checks.options(given, kind)
        checks.options(more, kind, without=("data_shape", "latent_dim", "hidden", "likelihood"))
        normal = {"likelihood": "normal"} if "likelihood" in inspect.signature(kind).parameters else {}
        try:
            return kind(num_features, **{**normal, **given, **more})
        except ArgumentError as error:
            raise ArgumentError(f"{error}, with data of n_features={num_features}") from error

    def _settings(self, model: LatentModel) -> dict[str, Any]:
        """What the model's `fit` is told."""
        own = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "device")}
        more = dict(self.fit_options or {})
        checks.options(more, fit, without=("model", "guide", "data", "seed", "progress", *own))
        given = {name: value for name, value in own.items() if value is not None}
        epochs = {} if "epochs" in model.fit_defaults else {"epochs": 100}
        return {**epochs, **given, **more, "progress": bool(self.verbose)}

    def _score_name(self, x: Tensor) -> str:
        try:
            return _SCORES[self.model_.log_likelihood(x[:1], num_samples=2, progress=False).direction]
        except NoLikelihoodError:
            return "log_joint"


def _check_template(model: LatentModel, num_features: int, given: list[str]) -> None:
    """Refuse what would be ignored beside a model, and a model that cannot be trained on bare rows."""
    if given:
        raise ArgumentError(given[0], "None beside a model, which has its own", "another")
    if model.labels is not None:
        raise ArgumentError("model", "one without labels", f"one of {model.labels.num_labels} labels")
    if model.num_visible != num_features:
        raise ArgumentError("model", f"one of data of n_features={num_features}", f"one of {model.num_visible}")


@torch.no_grad()
def _log_joint(model: LatentModel, x: Tensor) -> Tensor:
    """log p(x, z) at the codes: (N,)."""
    codes = model.embed(x)
    return model.decode(codes).log_prob(model.examples("X", x)) + model.prior.distribution().log_prob(codes)


def _lower_bounds(model: LatentModel, x: Tensor, num_samples: int) -> Tensor:
    """log (1/K) sum_k p(x, z_k) / q(z_k given x) for each row, with the same noise for each: (N,)."""

    def bound(row: Tensor) -> Tensor:
        with pyro.plate("particles", num_samples, dim=-2):
            guide = poutine.trace(model.guide).get_trace(row[None])
            joint = poutine.trace(poutine.replay(model.model, trace=guide)).get_trace(row[None])
        weight: Any = 0.0
        for trace, sign in ((joint, 1.0), (guide, -1.0)):
            trace.compute_log_prob()
            for _, site in sample_sites(trace):
                weight = weight + sign * site["log_prob"]
        return weight[:, 0].logsumexp(0) - math.log(num_samples)

    bounds = []
    with model.evaluating(), pyro.validation_enabled(False):
        for rows in model.examples("X", x).split(max(1, _WEIGHTS // num_samples)):
            bounds.append(_with_the_same_noise(bound, rows))
    return torch.cat(bounds)


def _with_the_same_noise(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """The function of each row, (N,); one by one where a module of the user's is not made for `torch.func.vmap`."""
    try:
        with stream(0, rows.device):
            return torch.func.vmap(function, randomness="same")(rows)
    except (ArgumentError, RuntimeError):
        values = []
        for row in rows:
            with stream(0, rows.device):
                values.append(function(row))
        return torch.stack(values)


def _array(x: Tensor | None, dtype: Any) -> np.ndarray:
    return np.asarray(torch.as_tensor(x).detach().cpu(), dtype=dtype)
