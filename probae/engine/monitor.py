"""The declared monitor: what validation reports, early stopping watches and the best model is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from probae.engine.batches import Batch, Batches
from probae.engine.programs import Programs
from probae.engine.randomness import stream
from probae.inference import stepping
from probae.inference.elbo import ELBO
from probae.inference.iwae import IWAE
from probae.inference.objective import Objective

_SEED = 2_718_281


@dataclass(frozen=True)
class Monitor:
    """A number in nats per example, higher is better, evaluated on validation data after each epoch.

    Evaluated in eval mode, without gradients, under fixed noise outside the training stream, so that two epochs
    differ by their parameters alone.

    Attributes:
        name: what it is, as an identifier: "elbo", "reconstruction", "log_likelihood".
        evaluate: batches -> scalar tensor, the mean over all their examples.
        selects: whether the best epoch by it is kept; otherwise the last one is.
    """

    name: str
    evaluate: Callable[[Iterable[Batch]], Tensor]
    selects: bool = True


def judge(
    monitor: Monitor, batches: Batches, programs: Programs, device: torch.device, *, validate: bool = False
) -> float:
    """Evaluate a monitor on the batches of validation data; the noise is the same each time.

    Pyro's and torch's checks are on where `validate` says so: at the first look at the data.
    """
    with (
        programs.mode(training=False),
        stepping.engine(),
        torch.no_grad(),
        stream(_SEED, device),
        pyro.validation_enabled(validate),
    ):
        return float(monitor.evaluate(batches.epoch(0)))


def mean_over(batches: Iterable[Batch], score: Callable[[Batch], Tensor]) -> Tensor:
    """The mean of a score over the examples of all batches; `score` returns a batch's mean."""
    total: Any = 0.0
    count = 0
    for batch in batches:
        total = total + score(batch) * batch.num_examples
        count += batch.num_examples
    return torch.as_tensor(total / max(count, 1))


def elbo_monitor(
    model: Callable[..., Any], guide: Callable[..., Any], objective: Objective | None = None, name: str = "elbo"
) -> Monitor:
    """The plain evidence lower bound: beta 1, no penalties. The default for a pair that declares no monitor.

    Args:
        model, guide: the pair.
        objective: another bound than the plain one.
        name: of that.
    """
    elbo = (objective or ELBO()).eval()

    def score(batch: Batch) -> Tensor:
        loss, structure = elbo(model, guide, *batch.args, **batch.kwargs), elbo.structure
        examples = structure.num_examples(batch.args, batch.kwargs) if structure else batch.num_examples
        return -loss / examples

    return Monitor(name, lambda batches: mean_over(batches, score))


def bound_monitor(model: Callable[..., Any], guide: Callable[..., Any], objective: Any) -> Monitor:
    """The bound by which a run is judged: the plain ELBO, but what `IWAE` trains where that is the objective.

    A guide that serves K particles need not serve one: the ELBO of such a run falls while its likelihood rises.
    """
    if not isinstance(objective, IWAE):
        return elbo_monitor(model, guide)
    return elbo_monitor(model, guide, IWAE(objective.num_particles, vectorize=objective.vectorize), "iwae")
