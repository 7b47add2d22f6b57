"""A loss that turns NaN: catch it without waiting for the device, keep the last good parameters, name the site."""

from __future__ import annotations

import math
from typing import Any

import pyro
import torch
from torch import Tensor

from probae.engine.batches import Batch
from probae.engine.programs import Programs
from probae.inference.traces import run_pair, sample_sites, unscaled_log_prob


class Guard:
    """Watches the losses of a run.

    On a CPU each loss is looked at before its gradient is applied. On an accelerator looking would wait, so losses
    are summed there and looked at every `interval` steps. At the same interval the parameters are copied, so that
    finite ones can be put back.

    Args:
        programs: what to protect.
        device: where the losses are.
        interval: steps between two copies.
    """

    def __init__(self, programs: Programs, device: torch.device, interval: int = 200) -> None:
        self.programs, self.interval = programs, interval
        self.immediate = device.type == "cpu"
        self.sum: Tensor | None = None
        self.good = programs.snapshot()
        self.rng: Tensor | None = None

    def before(self) -> None:
        """Remember the noise of the step that is about to be taken."""
        if self.immediate:
            self.rng = torch.get_rng_state()

    def fine(self, loss: Tensor, step: int) -> bool:
        """Whether training may go on after seeing this loss."""
        due = (step + 1) % self.interval == 0
        if self.immediate:
            good = math.isfinite(loss.item())
        else:
            self.sum = loss if self.sum is None else self.sum + loss
            good = not due or math.isfinite(self.sum.item())
        if good and due and self._finite():
            self.sum = None
            self.programs.snapshot(self.good)
        return good

    def _finite(self) -> bool:
        tensors = [t for t in self.programs.tensors().values() if t.is_floating_point() and t.numel()]
        return bool(torch.stack([t.isfinite().all() for t in tensors]).all()) if tensors else True

    def recover(self, batch: Batch) -> str | None:
        """Find the guilty site, then put finite parameters back where they are lost. Returns the site's name."""
        if self.rng is not None:
            torch.set_rng_state(self.rng)
        site = guilty_site(self.programs, batch)
        if not self._finite():
            self.programs.restore(self.good)
        return site


def guilty_site(programs: Programs, batch: Batch) -> str | None:
    """The first sample site whose value or log-probability is not finite; None if all are this time."""
    with torch.no_grad(), pyro.validation_enabled(False):
        model_trace, guide_trace = run_pair(programs.model, programs.guide, batch.args, batch.kwargs)
        for trace in (guide_trace, model_trace):
            for name, site in sample_sites(trace):
                if not _is_finite(site["value"]) or not _is_finite(unscaled_log_prob(site)):
                    return name
    return None


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())
