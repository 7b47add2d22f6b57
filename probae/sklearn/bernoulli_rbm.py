"""The restricted Boltzmann machine of bits, with the face of scikit-learn's own."""

from __future__ import annotations

import warnings
from typing import Any, Self, final

import numpy as np
import pyro
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from probae import checks
from probae.distributions.rbm import RestrictedBoltzmann
from probae.engine.callbacks import Callback
from probae.engine.fit import fit
from probae.engine.monitor import Monitor
from probae.engine.randomness import stream
from probae.evaluation.pseudo_likelihood import conditional_log_probs, pseudo_scores
from probae.inference.negative_phases import PCD
from probae.models.base import examples_of
from probae.models.rbm import RBM

_DTYPES: Any = [np.float64, np.float32]  # as they come; all else becomes the first
_CELLS = 2**16  # hidden inputs at once in the scores, as many as stay in a processor's cache


@final
class BernoulliRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A restricted Boltzmann machine of bits, in the place of `sklearn.neural_network.BernoulliRBM`.

    Arguments, attributes and methods are those of scikit-learn's, so that one import is all that changes; the engine
    that trains is `pb.fit`, by persistent contrastive divergence with one Gibbs step and `batch_size` chains.

    Features are bits, or rates in [0, 1], which are used as they are, as scikit-learn uses them: the positive phase is
    that of -F(r) at the rates r. -F is convex, so that by Jensen's inequality

        -F(r) - log Z  <=  E[log p(v)],  v independent bits of the rates r:

    training raises a lower bound of the mean log-likelihood of such bits, without the noise of drawing them, and
    hidden units see in training what `transform` shows them. To train on bits drawn anew in each batch instead, give a
    data set with `binarize="dynamic"` to `pb.RBM`. Values outside [0, 1] are taken with a warning.

    What differs from scikit-learn's: batches are shuffled; visible biases and chains start at the data's mean, not at
    zero; and `score_samples` is the pseudo-likelihood itself, not a random estimate of it, so that it takes as much
    longer as there are features.

    Args:
        n_components: number of hidden units.
        learning_rate: of plain gradient steps on the mean over a batch.
        batch_size: examples a step, and number of chains.
        n_iter: passes over the data.
        verbose: whether to print the pseudo-likelihood (of one random bit an example) after each pass.
        random_state: an integer, a `numpy.random.RandomState`, or None for NumPy's own.

    Attributes:
        components_: (n_components, n_features) the weights. intercept_hidden_: (n_components,).
        intercept_visible_: (n_features,).
        h_samples_: (batch_size, n_components) hidden units given where the chains are.
        rbm_: the machine itself, a `pb.RBM` that holds these, with all its verbs: `rbm_.log_likelihood(bits)`, ...
        n_features_in_, feature_names_in_: of the training data, as everywhere in scikit-learn.

    Raises:
        ArgumentError: a ValueError, from `fit`; names the argument.

    Source: Tieleman (2008), "Training restricted Boltzmann machines using approximations to the likelihood gradient".

    Example:
        >>> from sklearn.datasets import load_digits
        >>> x = load_digits().data / 16
        >>> rbm = BernoulliRBM(n_components=32, n_iter=3, random_state=0).fit(x)
        >>> rbm.transform(x).shape
        (1797, 32)
    """

    rbm_: RBM
    random_state_: np.random.RandomState
    h_samples_: np.ndarray
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state

    # Training.

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new machine on the rows of X, (n_samples, n_features), dense or sparse; y is not used."""
        epochs = checks.positive_int("n_iter", self.n_iter, minimum=0)
        X = self._validated(X, reset=True)
        self.random_state_ = check_random_state(self.random_state)
        self.rbm_ = self._untrained(X)
        if epochs:
            size = checks.positive_int("batch_size", self.batch_size)
            self._train(X, epochs=epochs, batch_size=size, **(self._reporting(X) if self.verbose else {}))
        return self._finished()

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Make one step on all rows of X, (n_samples, n_features), in float64; y is not used."""
        first = not hasattr(self, "rbm_")
        X = self._validated(X, reset=first, dtype=np.float64)
        if first:
            self.random_state_ = check_random_state(self.random_state)
            self.rbm_ = self._untrained(X)
        self.rbm_.double()
        self._train(X, epochs=1, batch_size=len(X), compile="eager")
        return self._finished()

    # What it knows.

    def transform(self, X: Any) -> np.ndarray:
        """The rates of the hidden units, p(h_j = 1 given x): (n_samples, n_components), in the precision of X."""
        x, dtype = self._rows(X)
        with self.rbm_.evaluating():
            return _array(self.rbm_.distribution().hidden_mean(x), dtype)

    def gibbs(self, v: Any) -> np.ndarray:
        """One Gibbs step, v to h to v, from visible values (n_samples, n_features): bits of the same shape, as bool."""
        x, _ = self._rows(v)
        with self.rbm_.evaluating(), stream(self._seed(), x.device):
            return _array(self.rbm_.distribution().gibbs(x), bool)

    def score_samples(self, X: Any) -> np.ndarray:
        """The log of the pseudo-likelihood, sum_i log p(x_i given all others), of bits: (n_samples,), in nats.

        It is exact; scikit-learn's is an unbiased estimate of it, by one random i for each row.
        """
        x, dtype = self._rows(X)
        with self.rbm_.evaluating():
            machine, size = self.rbm_.distribution(), max(1, _CELLS // self.rbm_.num_hidden)
            scores = [conditional_log_probs(machine, rows).sum(1) for rows in x.split(size)]
        return _array(torch.cat(scores), dtype)

    @property
    def components_(self) -> np.ndarray:
        """(n_components, n_features): the weights, as a view of `rbm_`'s."""
        return self._parameter("weight").T

    @property
    def intercept_hidden_(self) -> np.ndarray:
        """(n_components,): the hidden biases, as a view of `rbm_`'s."""
        return self._parameter("hidden_bias")

    @property
    def intercept_visible_(self) -> np.ndarray:
        """(n_features,): the visible biases, as a view of `rbm_`'s."""
        return self._parameter("visible_bias")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.rbm_.num_hidden

    # Details.

    def _validated(self, X: Any, *, reset: bool, dtype: Any = _DTYPES) -> np.ndarray:
        X = validate_data(self, X, dtype=dtype, reset=reset, accept_sparse="csr")
        return X.toarray() if issparse(X) else X

    def _rows(self, X: Any) -> tuple[Tensor, Any]:
        """Rows in the precision of the machine, and the dtype that they came in."""
        check_is_fitted(self, "rbm_")
        X = self._validated(X, reset=False)
        return torch.tensor(X).to(self.rbm_.dtype), X.dtype

    def _untrained(self, X: np.ndarray) -> RBM:
        """A new machine, which starts from the weights of scikit-learn's and the means of X."""
        hidden, size = (checks.positive_int(name, getattr(self, name)) for name in ("n_components", "batch_size"))
        self._rate()  # so that nothing is fitted by settings that are wrong
        x = torch.tensor(X)
        weight = torch.tensor(self.random_state_.normal(0, 0.01, (hidden, X.shape[1])).T)
        with stream(self._seed(), x.device):
            rbm = RBM(X.shape[1], hidden, negative_phase=PCD(num_chains=size)).to(x.dtype)
            rbm.weight.data.copy_(weight)
            return rbm.prepare(torch.bernoulli(x.clamp(0, 1)))

    def _train(self, X: np.ndarray, **settings: Any) -> None:
        if X.min() < 0 or X.max() > 1:
            warnings.warn(
                f"X: values from {X.min():.3g} to {X.max():.3g}, where bits have rates in [0, 1]; scale them",
                stacklevel=3,
            )
        rate, rbm = self._rate(), self.rbm_.train()

        def model(x: Tensor) -> None:
            rbm.register()
            machine = RestrictedBoltzmann(
                rbm.weight, rbm.visible_bias, rbm.hidden_bias, negative_phase=rbm.negative_phase,
                training=rbm.training, validate_args=False,  # rates are no bits
            )  # fmt: skip
            with rbm.plate(len(x)):
                pyro.sample("x", machine, obs=x)

        def guide(x: Tensor) -> None:
            """Empty: p(h given v) is exact and summed out."""

        x = torch.tensor(X)
        fit(model, guide, x, optimizer="sgd", learning_rate=rate, seed=self._seed(), progress=False, **settings)
        rbm.eval()

    def _reporting(self, X: np.ndarray) -> dict[str, Any]:
        """What prints the pseudo-likelihood after each epoch."""

        def score(batch: Any) -> Tensor:
            return pseudo_scores(self.rbm_.distribution(), examples_of(batch)).mean()

        monitor = Monitor.of_scores("pseudo_likelihood", score, selects=False)
        return {"valid": torch.tensor(X), "monitor": monitor, "callbacks": _Report(type(self).__name__)}

    def _finished(self) -> Self:
        machine, chains = self.rbm_.distribution(), self.rbm_.negative_phase.chains
        with self.rbm_.evaluating(), stream(self._seed(), self.rbm_.device):
            self.h_samples_ = machine.hidden.sample(machine.hidden_input(chains)).numpy()  # type: ignore[arg-type]
        return self

    def _parameter(self, name: str) -> np.ndarray:
        return getattr(self.rbm_, name).detach().numpy()

    def _rate(self) -> float:
        return checks.real("learning_rate", self.learning_rate, low=0.0, open_low=True)

    def _seed(self) -> int:
        return int(self.random_state_.randint(2**31 - 1))


class _Report(Callback):
    """Prints a line an epoch, as scikit-learn does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_epoch_end(self, training: Any) -> None:
        history = training.history
        epoch, score, seconds = (history[name][-1] for name in ("epoch", "valid_pseudo_likelihood", "seconds"))
        line = f"[{self.name}] Iteration {epoch}, pseudo-likelihood = {score:.2f}, time = {seconds:.2f}s"
        print(line)  # noqa: T201


def _array(x: Tensor, dtype: Any) -> np.ndarray:
    return np.asarray(x.numpy(), dtype=dtype)
