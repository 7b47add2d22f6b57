"""The one result type of every estimator: a number, its errors, its direction, and whether to believe it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from probae.data.protocol import Protocol

Direction = Literal["exact", "lower", "upper", "estimate"]

_READS = {"exact": "exact", "lower": "lower bound", "upper": "upper bound", "estimate": "estimate"}


@dataclass(frozen=True, repr=False, eq=False)
class Estimate:
    """A Monte Carlo estimate in nats, with everything needed to judge it.

    Attributes:
        value: the estimate; of a log-likelihood, the mean over the examples (higher is better).
        quantity: what is estimated, such as "log-likelihood" or "log Z".
        direction: of its expectation: "exact"; "lower" or "upper", a bound; "estimate", neither.
        stderr: Monte Carlo standard error, with the examples fixed; 0 for an exact value.
        stderr_data: standard error from sampling the examples; None where there are none.
        per_example: (N,) the value of each example; None where there are none.
        ess: effective sample size of the importance weights (the median over the examples); None without weights.
        khat: Pareto k-hat of the weights (the median over the examples): below 0.5 the error bars can be trusted, up to
            0.7 they are somewhat small, above they mean little.
        lower, upper: bounds in expectation, where there are some. What a way back from the machine gives (`upper` of
            log Z, `lower` of a likelihood) is one only as far as its starts are drawn from the machine; `reason` names
            their sources.
        reliable: whether the estimator's own diagnostics found nothing wrong.
        reason: in words, why `reliable` is what it is.
        protocol: data set, split, binarization, estimator and number of samples.

    Example:
        >>> protocol = Protocol("digits", "test", "stochastic", 0).using("importance", 5000)
        >>> Estimate(-23.4567, "log-likelihood", "lower", 0.0123, 0.31, ess=312.0, khat=0.42, protocol=protocol)
        log-likelihood -23.457 ± 0.012 (Monte Carlo) ± 0.31 (data) nats | lower bound | ESS 312 | k-hat 0.42 \
| reliable | digits/test, stochastic binarization (seed 0), importance with 5000 samples
    """

    value: float
    quantity: str = "log-likelihood"
    direction: Direction = "estimate"
    stderr: float = 0.0
    stderr_data: float | None = None
    per_example: Tensor | None = None
    ess: float | None = None
    khat: float | None = None
    lower: float | None = None
    upper: float | None = None
    reliable: bool = True
    reason: str = ""
    protocol: Protocol = field(default_factory=Protocol)

    def __repr__(self) -> str:
        errors = f" ± {self.stderr:.2g} (Monte Carlo)" if self.stderr else ""
        errors += f" ± {self.stderr_data:.2g} (data)" if self.stderr_data is not None else ""
        cells = [f"{self.quantity} {self.value:.3f}{errors} nats", _READS[self.direction]]
        cells += [f"ESS {self.ess:.0f}"] if self.ess is not None else []
        cells += [f"k-hat {self.khat:.2f}"] if self.khat is not None else []
        cells += ["reliable" if self.reliable else f"NOT RELIABLE: {self.reason}", str(self.protocol)]
        return " | ".join(cells)

    def __float__(self) -> float:
        return self.value


def mean_estimate(per_example: Tensor, direction: Direction, protocol: Protocol, **fields: Any) -> Estimate:
    """The mean of the examples' values, with its standard error from sampling them.

    Args:
        per_example: (N,), in nats.
        direction, protocol, fields: of the estimate.

    Example:
        >>> import torch
        >>> mean_estimate(torch.tensor([-1.0, -3.0]), "exact", Protocol())
        log-likelihood -2.000 ± 1 (data) nats | exact | reliable | unknown data
    """
    count = len(per_example)
    stderr_data = per_example.std().item() / math.sqrt(count) if count > 1 else None
    value = per_example.mean().item()
    return Estimate(
        value, direction=direction, stderr_data=stderr_data, per_example=per_example, protocol=protocol, **fields
    )


def exact_estimate(per_example: Tensor, reason: str, protocol: Protocol) -> Estimate:
    """The mean of log-likelihoods that have no Monte Carlo error.

    Args:
        per_example: (N,), in nats.
        reason: why they have none, in words.
        protocol: of the data.
    """
    return mean_estimate(per_example, "exact", protocol.using("exact"), reason=reason)
