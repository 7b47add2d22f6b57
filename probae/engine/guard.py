"""A loss that turns NaN: catch it without waiting for the device, keep the last good parameters, name the site."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pyro
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from probae.engine.batches import Batch
from probae.engine.programs import Programs
from probae.errors import NonFiniteError
from probae.inference.traces import run_pair, unscaled_log_prob


class Guard:
    """Watches the losses of a run.

    On a CPU each loss is looked at before its gradient is applied. On an accelerator looking would wait, so losses
    are summed there and looked at every `interval` steps. At the same interval, and after each epoch, the parameters
    are copied, so that finite ones can be put back. What is not finite at the start (a buffer that says "unknown") is
    not watched.

    Args:
        programs: what to protect.
        device: where the losses are.
        interval: steps between two copies.
    """

    def __init__(self, programs: Programs, device: torch.device, interval: int = 200) -> None:
        self.programs, self.interval = programs, interval
        self.immediate = device.type == "cpu"
        self._sum: Tensor | None = None
        self._good = programs.snapshot()
        self._unwatched = {name for name, tensor in self._good.items() if not bool(tensor.isfinite().all())}
        self._random: Tensor | None = None

    def before(self) -> None:
        """Remember the noise of the step that is about to be taken."""
        if self.immediate:
            self._random = torch.get_rng_state()

    def fine(self, loss: Tensor, step: int) -> bool:
        """Whether training may go on after seeing this loss."""
        due = (step + 1) % self.interval == 0
        if self.immediate:
            good = math.isfinite(loss.item())
        else:
            self._sum = loss if self._sum is None else self._sum + loss
            good = not due or math.isfinite(self._sum.item())
        if good and due and self.holds():
            self._sum = None
            self.keep()
        return good

    def keep(self) -> None:
        """Take the present parameters for good ones."""
        self._good = self.programs.snapshot(self._good)

    def holds(self) -> bool:
        """Whether all parameters and buffers are finite. Waits for the device."""
        tensors = [t for name, t in self.programs.tensors().items() if name not in self._unwatched and t.numel()]
        return not tensors or bool(torch.stack([t.isfinite().all() for t in tensors]).all())

    def failure(self, batch: Batch, step: int, what: str = "the loss") -> NonFiniteError:
        """The error to raise: names the guilty site. Puts finite parameters back where they are lost."""
        self._rewind()
        site = guilty_site(self.programs, batch)
        self._rewind()
        if not self.holds():
            self.programs.restore(self._good)
        when = "of" if self.immediate else "at or before"
        where = f"at sample site {site!r}" if site else "outside the sample sites (a penalty?)"
        return NonFiniteError(
            f"{what} {when} step {step} is not finite, {where}. The last good parameters are kept. Try a smaller "
            "learning rate, clip_norm=, or data on a smaller scale",
            site=site, step=step,
        )  # fmt: skip

    def _rewind(self) -> None:
        """To the noise of the step that failed."""
        if self._random is not None:
            torch.set_rng_state(self._random)


def guilty_site(programs: Programs, batch: Batch) -> str | None:
    """The first sample site that cannot be drawn, or whose value or log-probability is not finite; None if all are."""
    watch = _Watch()
    with torch.no_grad(), pyro.validation_enabled(False), suppress(ValueError, RuntimeError), watch:
        run_pair(programs.model, programs.guide, batch.args, batch.kwargs)
    return watch.guilty or watch.trying


class _Watch(Messenger):
    """Notes the first site that is not finite, and the one that is being drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.guilty: str | None = None
        self.trying: str | None = None

    def _pyro_sample(self, msg: Any) -> None:
        self.trying = msg["name"]

    def _pyro_post_sample(self, msg: Any) -> None:
        if self.guilty is None and type(msg["fn"]) is not _Subsample:
            finite = _is_finite(msg["value"]) and _is_finite(unscaled_log_prob(msg))
            self.guilty = None if finite else msg["name"]
        self.trying = None


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())
