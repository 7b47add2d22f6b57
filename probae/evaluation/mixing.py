"""Whether chains have mixed: what they say of themselves, and what they look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor
from tqdm import tqdm

from probae.engine.randomness import stream

RHAT = 1.01
"""The largest R-hat of chains that have mixed."""

ESS = 400.0
"""The least effective sample size of chains that have mixed, in all."""

_DIRECTIONS = 4


@dataclass(frozen=True, repr=False, eq=False)
class Chains:
    """States of several chains under one machine, and how far they agree.

    Chains that have mixed have all gone everywhere, so that none differs from the others, nor its first half from its
    second. That is judged on a few numbers for each state: its free energy, and where it lies along the four directions
    in which all states together vary most, along which modes differ.

    - R-hat compares the variance between chains (halves of them) with that within; it goes to 1.
    - The effective sample size says how many independent states all of them are worth.
    - A mode that no chain has found shows in neither: the chains should start far from each other, as those of
      `RBM.chains` do, half at the data's means and half without any bias.

    Attributes:
        states: (T, M, D), every `every`-th state of M chains, the first half of their steps left out.
        free_energy: (T, M) in nats.
        rhat: the largest split R-hat of these numbers; huge where chains stand still at different places.
        ess: the smallest effective sample size of them, over all chains.
        every: Gibbs steps between two states.
        time: Gibbs steps between two states that are as good as independent, by that size.
        mixed: whether `rhat` is at most 1.01 and `ess` at least 400.

    Source: Gelman and Rubin (1992); Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), "Rank-normalization,
    folding, and localization", for the limits (which they set for rank-normalized values).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> chains_of(torch.randn(500, 4, 3), torch.randn(500, 4)).mixed
        True
    """

    states: Tensor
    free_energy: Tensor
    rhat: float
    ess: float
    every: int = 1

    @property
    def time(self) -> float:
        """Gibbs steps between two states that are as good as independent."""
        return self.free_energy.numel() * self.every / self.ess

    @property
    def mixed(self) -> bool:
        """Whether the chains agree and are worth enough independent states."""
        return self.rhat <= RHAT and self.ess >= ESS

    def __repr__(self) -> str:
        steps, count = self.free_energy.shape
        cells = [
            f"{count} chains of {steps} states, {self.every} Gibbs steps apart", f"R-hat {min(self.rhat, 1e3):.3f}",
            f"ESS {self.ess:.0f}", f"{self.time:.0f} steps an independent state",
            "mixed" if self.mixed else "NOT MIXED",
        ]  # fmt: skip
        return " | ".join(cells)


def chains_of(states: Tensor, free_energy: Tensor, every: int = 1) -> Chains:
    """Judge chains by their states, (T, M, D), and free energies, (T, M)."""
    flat = states.flatten(0, 1).double()
    flat = flat - flat.mean(0)
    with stream(0, flat.device):  # it is a randomized algorithm
        _, _, directions = torch.pca_lowrank(flat, q=min(_DIRECTIONS, *flat.shape), center=False, niter=4)
    numbers = torch.cat([free_energy.double().unsqueeze(-1), (flat @ directions).unflatten(0, states.shape[:2])], -1)
    rhat = split_gelman_rubin(numbers, chain_dim=1, sample_dim=0)
    still = numbers.flatten(0, 1).std(0) <= 1e-9 * numbers.abs().amax((0, 1)).clamp(min=1e-300)
    ess = effective_sample_size(numbers, chain_dim=1, sample_dim=0)
    # What never moves at all says nothing; what stands still in each chain, at different places, says the worst.
    rhat = torch.where(still, 1.0, rhat.nan_to_num(nan=torch.inf))
    ess = torch.where(still, free_energy.numel(), ess.nan_to_num(nan=1.0)).clamp(1.0, free_energy.numel())
    return Chains(states, free_energy, float(rhat.max()), float(ess.min()), every)


@torch.no_grad()
def run_chains(
    move: Callable[[Tensor], Tensor],
    free_energy: Callable[[Tensor], Tensor],
    v: Tensor,
    *,
    steps: int,
    every: int,
    progress: bool,
) -> Chains:
    """Run chains from states (M, D), and judge every `every`-th state of the second half of their steps."""
    states = []
    for step in tqdm(range(1, steps + 1), desc="chains", disable=not progress, leave=False):
        v = move(v)
        if step > steps // 2 and step % every == 0:
            states.append(v)
    kept = torch.stack(states)
    return chains_of(kept, torch.stack([free_energy(rows) for rows in kept]), every)
