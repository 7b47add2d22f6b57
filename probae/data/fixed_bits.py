"""Bits drawn once: the same ones for the same data set, split and seed, whatever else is random."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from probae.data.protocol import Protocol


def fixed_bits(rates: Tensor, protocol: Protocol) -> Tensor:
    """One draw of Bernoulli(rates) that depends on nothing but the rates and the protocol's data set, split and seed.

    The noise is drawn on the CPU by a generator of its own, so that every device sees the same bits and no global
    generator moves. Each split has its own stream: images of two splits never share their noise.

    Args:
        rates: any shape, values in [0, 1].
        protocol: names the draw; its binarization plays no part, so that "stochastic" and "dynamic" agree.

    Returns:
        Zeros and ones of the shape, dtype and device of `rates`.

    Example:
        >>> rates = torch.full((1000,), 0.5)
        >>> first, again = (fixed_bits(rates, Protocol("coins", "test", seed=0)) for _ in range(2))
        >>> torch.equal(first, again), torch.equal(first, fixed_bits(rates, Protocol("coins", "test", seed=1)))
        (True, False)
    """
    noise = torch.rand(rates.shape, generator=_generator(protocol), device="cpu", dtype=torch.float32)
    return (noise.to(rates.device) < rates).to(rates.dtype)


def _generator(protocol: Protocol) -> torch.Generator:
    name = f"{protocol.dataset}/{protocol.split}/{protocol.seed}"
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:4], "big"))
