"""The peers of the GPU rows: whole steps captured by hand in a CUDA graph, optimizer included."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.peers import RATE, vae, vae_loss
from benchmarks.race import Turn
from benchmarks.rbm_peers import PlainRBM


def captured(step: Callable[[Tensor], object], x: Tensor, batch: int) -> Turn:
    """Capture a step on one place in memory, into which each batch is gathered before the replay."""
    place = x[:batch].clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # capturing wants everything allocated and chosen before
        for _ in range(3):
            step(place)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(place)

    def train() -> None:
        for indices in torch.randperm(len(x), device=x.device).split(batch):
            torch.index_select(x, 0, indices, out=place)
            graph.replay()

    return train


def vae_captured(x: Tensor, batch: int, compiled: bool = False) -> Turn:
    """The VAE's step by hand, its loss eager or compiled, captured with fused Adam."""
    model = vae(str(x.device))
    loss = torch.compile(vae_loss(model)) if compiled else vae_loss(model)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True, capturable=True)

    def step(part: Tensor) -> None:
        optimizer.zero_grad()
        loss(part).backward()
        optimizer.step()

    return captured(step, x, batch)


def rbm_captured(x: Tensor, batch: int, dtype: torch.dtype = torch.float32) -> Turn:
    """The Boltzmann machine's step by hand, captured."""
    return captured(PlainRBM(batch, x.device, dtype).step, x, batch)
