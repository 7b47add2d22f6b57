"""The peers of importance sampling: a batched loop in plain PyTorch, pythae's `get_nll`, the bare arithmetic."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

import probae as pb
from benchmarks.peers import LATENT, VISIBLE, pythae_vae
from benchmarks.race import Turn

_EXAMPLES = 16


@torch.no_grad()
def plain_log_likelihood(model: pb.VAE, x: Tensor, num_samples: int, rows: int = 4096) -> Tensor:
    """log (1/K) sum_k p(x, z_k) / q(z_k given x), (N,), by hand: a few images at a time, `rows` samples at once."""
    found = []
    for part in x.split(_EXAMPLES):
        loc, raw = model.encoder(part).chunk(2, -1)
        scale = F.softplus(raw + 0.5) + 1e-6
        total = part.new_full((len(part),), -math.inf)
        for count in torch.arange(num_samples).split(max(1, rows // len(part))):
            noise = torch.randn(len(count), *loc.shape, device=x.device)
            z = loc + scale * noise
            logits = model.decoder(z)
            log_likelihood = -F.binary_cross_entropy_with_logits(logits, part.expand_as(logits), reduction="none")
            log_ratio = (0.5 * (noise.square() - z.square()) + scale.log()).sum(-1)
            total = torch.logaddexp(total, (log_likelihood.sum(-1) + log_ratio).logsumexp(0))
        found.append(total - math.log(num_samples))
    return torch.cat(found)


def pythae_nll(model: pb.VAE, x: Tensor, num_samples: int, rows: int) -> Turn:
    """pythae's `get_nll`, which takes image after image, without gradients; `rows` is its `batch_size`."""
    theirs = pythae_vae(model).eval()

    def judge() -> None:
        with torch.no_grad():
            theirs.get_nll(x, n_samples=num_samples, batch_size=rows)

    return judge


def decoder_products(x: Tensor, num_samples: int, rows: int = 4096, dtype: torch.dtype = torch.float32) -> Turn:
    """The decoder's matrix products for all samples, and nothing else."""
    sizes = (LATENT, 200, 200, VISIBLE)
    inputs = [torch.randn(rows, size, device=x.device, dtype=dtype) for size in sizes[:-1]]
    weights = [torch.randn(i, o, device=x.device, dtype=dtype) for i, o in pairwise(sizes)]

    def multiply() -> None:
        for _ in range(len(x) * num_samples // rows):
            for left, right in zip(inputs, weights, strict=True):
                left @ right

    return multiply
