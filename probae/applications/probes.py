"""What codes know of labels: a linear classifier on them, beside the same on the examples themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probae import checks
from probae.applications.embedding import Embeds, codes_of, labels_of, pixels_of
from probae.data import Dataset
from probae.errors import DataError


@dataclass(frozen=True, repr=False, eq=False)
class Probe:
    """Test accuracies of a logistic regression on codes and on raw values.

    Attributes:
        accuracy: on the codes, the share of test examples that are classified rightly.
        stderr: its standard error, from sampling the test examples.
        raw_accuracy, raw_stderr: the same on the values of the examples themselves.
        gain: how much more accurate the codes are; the two are compared on the same examples.
        gain_stderr: its standard error, paired.
        predicted: (N,) the labels predicted from the codes.
        num_train: how many examples were trained on, those of unknown label left out.
    """

    accuracy: float
    stderr: float
    raw_accuracy: float
    raw_stderr: float
    gain: float
    gain_stderr: float
    predicted: Tensor
    num_train: int

    def __repr__(self) -> str:
        cells = [f"codes {self.accuracy:.1%} ± {self.stderr:.1%}", f"raw values {self.raw_accuracy:.1%}"]
        return " | ".join([*cells, f"gain {self.gain:+.1%} ± {self.gain_stderr:.1%}"])

    def __float__(self) -> float:
        return self.accuracy


def linear_probe(model: Embeds, train: Any, test: Any, *, strength: float = 1.0) -> Probe:
    """How well a linear classifier reads labels off a model's codes, and how well off the examples themselves.

    Multinomial logistic regression, each input standardized on the training examples, with an L2 penalty of
    strength / 2 |w|^2 beside the sum of the log-likelihoods. It is a convex problem, so that there is no seed.

    Args:
        model: any that can `embed` without being told labels.
        train: what to fit it on: a data set with labels, or a pair (x, y). Unknown labels (-1) are left out.
        test: what to judge it on, likewise.
        strength: of the penalty.

    Raises:
        DataError: names `train` or `test`; without labels, or with a single class to train on.
        ArgumentError: names `model`, also for one whose encoder reads labels.

    Source:
        Alain and Bengio 2017 (arXiv 1610.01644).

    Example:
        >>> import probae as pb
        >>> digits = pb.data.load("digits", binarize="none")
        >>> ppca = pb.ProbabilisticPCA(64, latent_dim=16).fit_closed_form(digits.train)
        >>> probe = linear_probe(ppca, digits.train, digits.test)
        >>> probe.accuracy > 0.85, probe.raw_accuracy > 0.9
        (True, True)
    """
    penalty = checks.real("strength", strength, low=0.0, open_low=True)
    (known, y), (judged, truth) = _labelled("train", train), _labelled("test", test)
    if len(y.unique()) < 2:
        raise DataError("train", "examples of at least two classes", f"{len(y.unique())} class")
    pixels = pixels_of("train", known), pixels_of("test", judged)
    predicted = _predicted(codes_of(model, known), y, codes_of(model, judged), penalty)
    right = (predicted == truth).double()
    raw = (_predicted(pixels[0], y, pixels[1], penalty) == truth).double()
    pairs = [_mean(scores) for scores in (right, raw, right - raw)]
    return Probe(*pairs[0], *pairs[1], *pairs[2], predicted, len(y))


def _labelled(argument: str, data: Any) -> tuple[Any, Tensor]:
    """The examples whose labels are known, and these."""
    pair = isinstance(data, tuple)
    x, y = data if pair and len(data) == 2 else (data, None)
    labels = None if pair and y is None else labels_of(argument, x, y)
    if labels is None:
        raise DataError(argument, "a data set with labels, or a pair of examples and labels", "none with them")
    known = labels >= 0
    if not bool(known.any()):
        raise DataError(argument, "examples whose labels are known", "none of them")
    if bool(known.all()):
        return x, labels
    return x[known if isinstance(x, (Dataset, Tensor)) else known.numpy()], labels[known]


def _predicted(x: Tensor, y: Tensor, new: Tensor, penalty: float) -> Tensor:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
    return torch.from_numpy(classifier.fit(x.numpy(), y.numpy()).predict(new.numpy()))


def _mean(scores: Tensor) -> tuple[float, float]:
    error = float(scores.std()) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
    return float(scores.mean()), error
