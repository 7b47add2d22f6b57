"""The declared monitor: what validation reports, early stopping watches and the best model is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from probae.engine.batches import Batch, Batches
from probae.engine.player import Player
from probae.engine.programs import Programs
from probae.engine.randomness import stream
from probae.engine.recording import given
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
        score: where it is the mean over examples of a batch's scores: batch -> their mean, which can be recorded.

    See also:
        `Monitor.of_scores`, which makes one from `score`.
    """

    name: str
    evaluate: Callable[[Iterable[Batch]], Tensor]
    selects: bool = True
    score: Callable[[Batch], Tensor] | None = None

    @classmethod
    def of_scores(cls, name: str, score: Callable[[Batch], Tensor], selects: bool = True) -> Monitor:
        """The mean of a score over all examples; `score` returns a batch's mean, and looks at no tensor's value.

        Example:
            >>> monitor = Monitor.of_scores("mean", lambda batch: batch.args[0].mean())
            >>> monitor.evaluate([Batch((torch.ones(3),), {}), Batch((torch.zeros(1),), {})])
            tensor(0.7500)
        """
        return cls(name, lambda batches: mean_over(batches, score), selects, score)


def judge(
    monitor: Monitor, batches: Batches, programs: Programs, device: torch.device, *, player: Player | None = None
) -> float:
    """Evaluate a monitor on the batches of validation data; the noise is the same each time.

    Args:
        monitor, batches: what is evaluated on what.
        programs: put into evaluation mode meanwhile.
        device: whose random stream is kept apart.
        player: calls the monitor's score. Without one it is called as it is, with Pyro's and torch's checks on, as it
            should be at the first look at the data.
    """
    with (
        programs.mode(training=False),
        stepping.engine(),
        torch.no_grad(),
        stream(_SEED, device),
        pyro.validation_enabled(player is None),
    ):
        if player is None or monitor.score is None:
            return float(monitor.evaluate(batches.epoch(0)))
        return float(mean_over(batches.epoch(0), lambda batch: given(player(batch)[0])))


def score_player(
    monitor: Monitor, programs: Programs, device: torch.device, way: str, outlook: Callable[[], float]
) -> Player:
    """What calls a monitor's score once the data has been looked at; compiled only where timing says that it pays."""
    way = "auto" if way in ("inductor", "cudagraph") else way

    def score(batch: Batch) -> list[Tensor | None]:
        return [] if monitor.score is None else [monitor.score(batch)]

    return Player(score, programs, device, way=way, outlook=outlook)


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

    return Monitor.of_scores(name, score)


def bound_monitor(model: Callable[..., Any], guide: Callable[..., Any], objective: Any) -> Monitor:
    """The bound by which a run is judged: the plain ELBO, but what `IWAE` trains where that is the objective.

    A guide that serves K particles need not serve one: the ELBO of such a run falls while its likelihood rises.
    """
    if not isinstance(objective, IWAE):
        return elbo_monitor(model, guide)
    return elbo_monitor(model, guide, IWAE(objective.num_particles, vectorize=objective.vectorize), "iwae")
