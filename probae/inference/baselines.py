"""Score-function gradients, with a baseline that keeps their variance down."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.util import detach
from pyro.infer.util import MultiFrameTensor
from torch import Tensor, nn

from probae.errors import ArgumentError, SiteError

Terms = list[tuple[dict[str, Any], Tensor]]

_OPTIONS = {"nn_baseline", "nn_baseline_input", "baseline_value", "use_decaying_avg_baseline", "baseline_beta"}


class Baselines(nn.Module):
    """Score-function surrogates for sites that are not reparameterized.

    For a site z with downstream terms f (those in plates with it), the surrogate
    `(sum f - b).detach() * log q(z)`, minus its own value, adds the gradient E[(f - b) grad log q(z)] and no value.
    The baseline b is a decaying average of f, plus whatever the site's own `infer={"baseline": ...}` asks for
    (`nn_baseline` with `nn_baseline_input`, or `baseline_value`, as in Pyro's `TraceGraph_ELBO`), which is trained by
    its squared error. Pyro's options for the average are accepted; `kind` and `decay` decide here.

    Unlike Pyro 1.9's `Trace_ELBO`, f includes -log q of auxiliary guide sites: without it the gradient is biased.

    Args:
        kind: "average" or None.
        decay: of the average.

    Raises:
        SiteError: names the site whose baseline has an unknown option or the wrong shape.

    Source:
        Williams 1992; Mnih and Gregor 2014 (arXiv 1402.0030), sections 2.2 and 2.3.
    """

    def __init__(self, kind: str | None = "average", decay: float = 0.9) -> None:
        super().__init__()
        if kind not in ("average", None):
            raise ArgumentError("baseline", "'average' or None", repr(kind))
        self.kind, self.decay = kind, decay

    def allocate(self, sites: tuple[str, ...], device: torch.device | None = None) -> None:
        """Make a buffer for the average of each site that has none yet."""
        for name in sites if self.kind else ():
            if not hasattr(self, _buffer(name)):
                self.register_buffer(_buffer(name), torch.zeros((), device=device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = [name.removeprefix(prefix) for name in state_dict if name.startswith(prefix + _buffer(""))]
        for name in saved if self.kind else ():  # a new objective learns of its sites here
            if not hasattr(self, name):
                self.register_buffer(name, torch.zeros_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def surrogate(self, scores: list[tuple[dict[str, Any], Tensor]], terms: Terms) -> Tensor:
        """A zero whose gradient is the score-function part of the ELBO's, minus the loss of trained baselines.

        Args:
            scores: guide sites with their log-densities, unscaled.
            terms: every term of the ELBO with the plates that it lives in, by name.
        """
        downstream = MultiFrameTensor()
        downstream.add(*((tuple(frames.values()), term.detach()) for frames, term in terms if term.dim()))
        constant = sum(term.detach() for _, term in terms if not term.dim())
        total = torch.zeros((), device=scores[0][1].device, dtype=scores[0][1].dtype)
        for site, score in scores:
            cost = torch.as_tensor(downstream.sum_to(site["cond_indep_stack"]) + constant)
            baseline, penalty = self._baseline(site, cost)
            part = (cost - baseline.detach()) * score
            total = total + (part - part.detach()).sum() - (penalty - penalty.detach())
        return total

    def _baseline(self, site: dict[str, Any], cost: Tensor) -> tuple[Tensor, Tensor]:
        options = site["infer"].get("baseline", {})
        if unknown := sorted(options.keys() - _OPTIONS):
            raise SiteError(f"site {site['name']!r}: unknown baseline option {unknown[0]!r}")
        baseline, penalty = torch.zeros_like(cost), cost.new_zeros(())
        if options.get("nn_baseline") is not None:
            baseline = options["nn_baseline"](detach(options.get("nn_baseline_input")))
        elif options.get("baseline_value") is not None:
            baseline = options["baseline_value"]
        try:
            baseline = baseline.expand_as(cost)  # one for each example serves all particles
        except RuntimeError as error:
            shapes = f"{tuple(baseline.shape)}, but its downstream cost {tuple(cost.shape)}"
            raise SiteError(f"site {site['name']!r}: its baseline has shape {shapes}") from error
        if baseline.requires_grad:
            penalty = (cost - baseline).pow(2).sum()
        average = getattr(self, _buffer(site["name"]), None)
        if average is None:
            return baseline, penalty
        used = baseline + average.clone()
        if self.training:
            average.mul_(self.decay).add_((cost - baseline.detach()).mean(), alpha=1 - self.decay)
        return used, penalty


def _buffer(name: str) -> str:
    return "average_" + name.replace(".", "_")
