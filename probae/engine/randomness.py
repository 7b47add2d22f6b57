"""The one seed of a run, and the random state that lets it continue exactly."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from probae.checks import positive_int
from probae.errors import ArgumentError


def check_seed(seed: int | None) -> int:
    """A seed: the one given, or one drawn from torch's global generator."""
    if seed is None:
        return int(torch.randint(2**31, ()).item())
    if positive_int("seed", seed, minimum=0) >= 2**63:
        raise ArgumentError("seed", "an integer below 2**63", repr(seed))
    return int(seed)


@contextmanager
def stream(seed: int, device: torch.device) -> Generator[None]:
    """A random stream of one's own, seeded; the caller's goes on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the generators that training draws from."""
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Continue from `random_state`; on another kind of device the CPU's part alone."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
