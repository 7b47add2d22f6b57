"""Telling normal from strange by `model.anomaly_score`: how well at each threshold, and which threshold to take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError, DataError


@dataclass(frozen=True, repr=False, eq=False)
class ROC:
    """A receiver operating characteristic: what each threshold detects, and how often it raises a false alarm.

    Attributes:
        auroc: the area under the curve: the probability that an anomaly scores higher than a normal example, ties
            counting half. 1/2 is chance.
        stderr: its standard error, from sampling both kinds of examples; NaN with a single one of either.
        false_alarm: (T,) the share of normal examples at or above each threshold, rising from 0 to 1.
        detection: (T,) the share of anomalies at or above it.
        thresholds: (T,) falling, the first infinite.

    Source:
        DeLong, DeLong and Clarke-Pearson 1988 for the error.
    """

    auroc: float
    stderr: float
    false_alarm: Tensor
    detection: Tensor
    thresholds: Tensor

    def __repr__(self) -> str:
        return f"AUROC {self.auroc:.3f} ± {self.stderr:.2g} (data)"

    def __float__(self) -> float:
        return self.auroc


def roc(normal_scores: Tensor | np.ndarray, anomalous_scores: Tensor | np.ndarray) -> ROC:
    """How well scores tell anomalies from normal examples, over all thresholds.

    Args:
        normal_scores: (M,) of normal examples, none of which were trained on.
        anomalous_scores: (N,) of anomalies; higher is stranger.

    Raises:
        DataError: names the argument, for another shape, or NaN.

    Example:
        >>> curve = roc(torch.tensor([0.1, 0.4, 0.35, 0.2]), torch.tensor([0.3, 0.8, 0.9]))
        >>> curve
        AUROC 0.833 ± 0.2 (data)
        >>> curve.detection.tolist()[:3], curve.false_alarm.tolist()[:3]
        ([0.0, 0.33..., 0.66...], [0.0, 0.0, 0.0])
    """
    from sklearn.metrics import roc_curve

    normal, strange = _scores("normal_scores", normal_scores), _scores("anomalous_scores", anomalous_scores)
    kinds = np.repeat([0, 1], [len(normal), len(strange)])
    false_alarm, detection, thresholds = roc_curve(kinds, np.concatenate([normal, strange]))
    above = _shares_below(strange, normal)  # of normal examples below each anomaly
    beyond = 1 - _shares_below(normal, strange)
    error = math.sqrt(_variance(above) / len(above) + _variance(beyond) / len(beyond))
    curves = (torch.from_numpy(np.array(x, dtype=np.float64)) for x in (false_alarm, detection, thresholds))
    return ROC(float(above.mean()), error, *curves)


def threshold(scores: Tensor | np.ndarray, false_alarm: float = 0.01) -> float:
    """The score above which an example is called an anomaly: a new normal one is, with at most this probability.

    The ceil((n + 1) (1 - false_alarm))-th smallest of n scores. For scores in any order that are equally likely, those
    of the n examples and of a new one,

        P(new score > threshold) <= false_alarm,

    exactly, whatever the model, and at least false_alarm - 1 / (n + 1) without ties. The probability is that over both
    the n examples and the new one; for one set of n it varies by about sqrt(false_alarm (1 - false_alarm) / n).

    Args:
        scores: (n,) of normal examples that were not trained on, such as a validation set's.
        false_alarm: the rate, in (0, 1), taken as the decimal number that it is written as.

    Raises:
        DataError: names `scores`; also for too few of them: at least 1 / false_alarm - 1 are needed.
        ArgumentError: for a rate outside (0, 1).

    Source:
        Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Laxhammar and Falkman 2010 for
        anomalies.

    Example:
        >>> threshold(torch.arange(99.0), false_alarm=0.05)
        94.0
    """
    values = _scores("scores", scores)
    rate = Fraction(str(checks.real("false_alarm", false_alarm, low=0.0, high=1.0, open_low=True)))
    if rate == 1:
        raise ArgumentError("false_alarm", "a number below 1", false_alarm)
    rank = math.ceil((len(values) + 1) * (1 - rate))
    if rank > len(values):
        needed = math.ceil(1 / rate) - 1
        raise DataError("scores", f"at least {needed}, for a false-alarm rate of {false_alarm:g}", f"{len(values)}")
    return float(np.partition(values, rank - 1)[rank - 1])


def _scores(argument: str, scores: Any) -> np.ndarray:
    """(N,) in float64."""
    values = torch.from_numpy(scores) if isinstance(scores, np.ndarray) and scores.dtype.kind == "f" else scores
    if not isinstance(values, Tensor) or values.dim() != 1 or len(values) == 0:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise DataError(argument, "a tensor (N,) of scores, at least one", got)
    return checks.finite(argument, values).detach().cpu().double().numpy()


def _shares_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of the others that are lower, those that are equal counting half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))


def _variance(x: np.ndarray) -> float:
    return float(x.var(ddof=1)) if len(x) > 1 else math.nan
