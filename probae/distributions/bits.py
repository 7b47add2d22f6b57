"""Random bits: the one function that every sampler of binary units draws from."""

from __future__ import annotations

import torch
from torch import Tensor

_FEW = 2**14  # bits, up to which torch's own numbers are drawn sooner than ours have started
_GAMMA, _MIX = 0x9E3779B97F4A7C15 - 2**64, (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def random_bits(probability: Tensor) -> Tensor:
    """Independent bits that are one with the given probabilities, seeded by torch's global generator of the device.

    A bit is one if its own number of 24 random bits is below its probability, P(bit = 1) = ceil(2^24 p) / 2^24: at most
    6e-8 above p, and exact where p is 0, 1 or any other multiple of 2^-24. (CUDA's numbers have other last bits: there
    P(bit = 1) is within 6e-8 of p, and exact where p is 0 or 1.)

    A CPU draws `torch.rand` in turn, which takes longer than all else. Many bits are therefore made there from
    SplitMix64, whose words each are a hash of their index: half a word for each bit, in parallel, and fused with what
    surrounds it where it is compiled. Each call starts at a state of 64 random bits: two calls of n bits have words in
    common with a probability of n / 2^64.

    Args:
        probability: any shape, values in [0, 1]; not differentiated through. NaN gives zero.

    Returns:
        Zeros and ones of the same shape, dtype and device.

    Source: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", figure 17.

    Example:
        >>> random_bits(torch.tensor([0.0, 1.0, 1.0]))
        tensor([0., 1., 1.])
    """
    p = probability.detach()
    if p.device.type != "cpu" or p.numel() <= _FEW:
        return torch.rand_like(p, dtype=torch.float32).lt_(p).to(p.dtype)
    exact = p if p.dtype == torch.float64 else p.float()
    # Nothing that decides is rounded. Compared in place, it takes no booleans that would have to be converted.
    return torch.sub(exact, _numbers(p.numel()).view(p.shape), alpha=2.0**-24).gt_(0).to(p.dtype)


def _numbers(count: int) -> Tensor:
    """Independent numbers from 0 to 2^24 - 1, (count,) int32: the halves of random words, less their upper bytes."""
    words = _hash(torch.randint(-(2**63), 2**63 - 1, ()), (count + 1) // 2)
    return words.view(torch.int32)[:count].bitwise_and_(2**24 - 1)


def _hash(key: Tensor, count: int) -> Tensor:
    """The words of SplitMix64, (count,) int64, at the states (key + i) gamma; right shifts fill with zeros."""
    # The key comes before the factor: of an index times a constant, inductor's C++ may assume that it never overflows.
    z = torch.arange(count, device=key.device).add_(key).mul_(_GAMMA)
    z = (z >> 30).bitwise_and_(2**34 - 1).bitwise_xor_(z).mul_(_MIX[0])
    z = (z >> 27).bitwise_and_(2**37 - 1).bitwise_xor_(z).mul_(_MIX[1])
    return (z >> 31).bitwise_and_(2**33 - 1).bitwise_xor_(z)
