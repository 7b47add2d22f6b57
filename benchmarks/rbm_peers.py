"""The peers of the Boltzmann rows: persistent contrastive divergence by hand, learnergy, scikit-learn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peers import shuffled
from benchmarks.race import Turn

VISIBLE, HIDDEN, RATE = 784, 500, 0.05


class PlainRBM:
    """PCD-1 by hand: gradients in closed form, plain SGD, no autograd.

    Args:
        batch: size of a batch, and number of chains.
        device: where it works.
        dtype: of the matrix products and of the noise; the weights themselves stay in float32.
    """

    def __init__(self, batch: int, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.weight = (0.01 * torch.randn(VISIBLE, HIDDEN)).to(device)
        self.visible_bias = torch.zeros(VISIBLE, device=device)
        self.hidden_bias = torch.zeros(HIDDEN, device=device)
        self.chains = (torch.rand(batch, VISIBLE) < 0.5).to(device, dtype)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, x: Tensor) -> None:
        """One step of SGD; the chains move in place, so that it can be captured in a CUDA graph."""
        x, w = x.to(self.dtype), self.weight.to(self.dtype)
        a, b = self.visible_bias.to(self.dtype), self.hidden_bias.to(self.dtype)
        positive = torch.addmm(b, x, w).sigmoid_()
        h = _draw(torch.addmm(b, self.chains, w).sigmoid_())
        v = self.chains.copy_(_draw(torch.addmm(a, h, w.t()).sigmoid_()))
        negative = torch.addmm(b, v, w).sigmoid_()
        rate = RATE / len(x)
        if self.dtype == self.weight.dtype:
            self.weight.addmm_(x.t(), positive, alpha=rate).addmm_(v.t(), negative, alpha=-rate)
        else:
            self.weight.add_(x.t() @ positive - v.t() @ negative, alpha=rate)
        self.visible_bias.add_((x - v).sum(0), alpha=rate)
        self.hidden_bias.add_((positive - negative).sum(0), alpha=rate)


def _draw(probability: Tensor) -> Tensor:
    return (torch.rand_like(probability) < probability).to(probability.dtype)  # three times as fast as torch.bernoulli


def rbm_by_hand(x: Tensor, batch: int, dtype: torch.dtype = torch.float32, compiled: bool = False) -> Turn:
    """An epoch of the hand-written machine, eager or through `torch.compile`."""
    machine = PlainRBM(batch, x.device, dtype)
    step = torch.compile(machine.step) if compiled else machine.step

    def train() -> None:
        for part in shuffled(x, batch):
            step(part)

    return train


def rbm_products(x: Tensor, batch: int, dtype: torch.dtype = torch.float32) -> Turn:
    """The six matrix products of a step alone: the floor below every implementation."""

    def matrix(*shape: int) -> Tensor:
        return torch.randn(shape, device=x.device, dtype=dtype)

    v, h, w = matrix(batch, VISIBLE), matrix(batch, HIDDEN), matrix(VISIBLE, HIDDEN)

    def train() -> None:
        for _ in range(len(x) // batch):
            for _ in range(3):
                v @ w
            h @ w.t()
            for _ in range(2):
                v.t() @ h

    return train


def rbm_learnergy(x: Tensor, batch: int) -> Turn:
    """An epoch of learnergy's `fit`: CD-1, since it has no persistent chains."""
    from learnergy.models.bernoulli import RBM
    from torch.utils.data import TensorDataset

    machine = RBM(VISIBLE, HIDDEN, steps=1, learning_rate=RATE, use_gpu=x.device.type == "cuda")
    data = TensorDataset(x, torch.zeros(len(x)))
    return lambda: machine.fit(data, batch_size=batch, epochs=1)


def rbm_sklearn(x: Tensor, batch: int) -> Turn:
    """PCD-1 by scikit-learn, in float32."""
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=batch, random_state=0)

    def train() -> None:
        for part in shuffled(x, batch):
            machine.partial_fit(part.numpy())

    return train


def lacks_amx() -> str:
    """Why a CPU's bfloat16 is not judged; empty where it has AMX."""
    info = Path("/proc/cpuinfo")
    has = info.exists() and "amx_bf16" in info.read_text(encoding="utf-8")
    return "" if has else "not asked: no AMX"
