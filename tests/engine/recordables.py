"""Steps of every kind that can be recorded: what DESIGN.md's table says, and more; small, over x of shape (B, 3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.func import grad, jacrev, jvp, vmap

import probae as pb
from probae.engine.batches import Batch
from tests.engine import pairs
from tests.engine.pairs import DIM, Net, Pair, linear, ones, zeros


class Recordable(NamedTuple):
    """A pair, its objective, and batches by number: equal in shape, different in numbers."""

    pair: Pair
    objective: Any = None
    batch: Callable[[int], Batch] = lambda number: numbers(number)


def numbers(number: int, size: int = 6) -> Batch:
    return Batch((pairs.data(size + number)[:size],), {})


def bits(number: int, size: int = 6, dim: int = DIM) -> Batch:
    generator = torch.Generator().manual_seed(number)
    return Batch(((torch.rand(size, dim, generator=generator) < 0.4).float(),), {})


def of(net: Net, objective: Any = None) -> Recordable:
    return Recordable(Pair(net.model, net.guide), objective)


class Encoding(Net):
    """Encodes by any module."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = cast(Any, encoder.double())


class Last(nn.Module):
    """A recurrent network over the columns of x; its last state."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.net = kind(1, DIM, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[..., None])[0][:, -1]


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(DIM, 1, 8, batch_first=True)
    return nn.Sequential(nn.Unflatten(-1, (1, DIM)), layer, nn.Flatten(-2))


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(-1, (1, 1, DIM)), nn.Conv2d(1, 4, (1, 3), padding=(0, 1)), nn.ReLU(), nn.BatchNorm2d(4),
        nn.Conv2d(4, 1, 1), nn.Flatten(-3),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def normalizing() -> nn.Module:
    return nn.Sequential(nn.Linear(DIM, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, DIM))


def penalized(penalty: Callable[[Net, Tensor], Tensor]) -> Recordable:
    net = Net()
    return of(net, pb.ELBO(penalties=lambda x, trace: penalty(net, x)))


def jacobian(net: Net, x: Tensor) -> Tensor:
    """A contraction: derivatives of the encoder."""
    return vmap(jacrev(lambda row: net.encoder(row).tanh()))(x).square().sum((-1, -2))


def curvature(net: Net, x: Tensor) -> Tensor:
    """Backward through a backward pass."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.encoder(x).sin().sum(), x, create_graph=True)
    return slope.square().sum(-1)


def forward_derivative(net: Net, x: Tensor) -> Tensor:
    """Along a random direction."""
    _, slope = cast(Any, jvp)(lambda v: net.encoder(v).sin(), (x,), (torch.randn_like(x),))
    return slope.square().sum(-1)


class Hamiltonian(Net):
    """A guide whose sample is moved by one step of Hamiltonian Monte Carlo, accepted or not by `where`."""

    def guide(self, x: Tensor) -> None:
        def energy(z: Tensor) -> Tensor:
            return 0.5 * z.square().sum(-1) + 0.5 * (x - self.decoder(z)).square().sum(-1)

        start = self.encoder(x)
        slope = grad(lambda z: energy(z).sum())
        momentum = torch.randn_like(start)
        half = momentum - 0.15 * slope(start)
        end = start + 0.3 * half
        change = energy(end) - energy(start) + 0.5 * ((half - 0.15 * slope(end)).square() - momentum.square()).sum(-1)
        accepted = torch.rand_like(change).log() < -change
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(torch.where(accepted[..., None], end, start)).to_event(1))


def enumerated_guide(how: Any) -> Recordable:
    def guide(x: Tensor) -> None:
        slope = pyro.param("slope", 0.3 * ones())
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(logits=slope * x.sum(-1)), infer=cast(Any, {"enumerate": how}))

    return Recordable(Pair(pairs.scored().model, guide))


def gamma() -> Pair:
    """A draw whose number of random numbers hangs on its parameters."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(ones(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        shape = pyro.param("shape", 0.5 * ones(DIM), dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Gamma(shape, 2.0).to_event(1))

    return Pair(model, guide)


class Running(Net):
    """Replaces a buffer by another tensor."""

    running: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running", zeros(DIM))

    def model(self, x: Tensor) -> None:
        self.running = 0.9 * self.running + 0.1 * x.mean(0)
        super().model(x - self.running)


class Clamped(Net):
    """Changes a parameter as it runs."""

    def model(self, x: Tensor) -> None:
        self.decoder.weight.data.clamp_(-0.2, 0.2)
        super().model(x)


class Layout(Net):
    """Parameters that lie in memory otherwise than their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.crossed = nn.Parameter(linear().weight.detach().t())

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x[..., None] * self.crossed).sum(-2), 0.3).to_event(1))


class Shared(Net):
    """(a + b) * c: autograd returns one tensor as the gradient of a and of b, and none for what is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.unused = nn.Parameter(zeros(DIM)), nn.Parameter(ones(DIM)), nn.Parameter(zeros(2))

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((self.a + self.b) * x.mean(0) + 0.0 * x, 0.3).to_event(1))


class Helped(Net):
    """Reads a tensor that is neither a parameter nor a buffer, and draws in its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = ones(6, DIM)

    def guide(self, x: Tensor) -> None:
        super().guide(x + 0.1 * torch.rand_like(self.offset))


def masked() -> Recordable:
    net = Net()
    observed: Any = torch.tensor([True, False, True, True, True, False])
    return Recordable(Pair(poutine.mask(net.model, mask=observed), poutine.mask(net.guide, mask=observed)))


def by_name() -> Recordable:
    def model(*, x: Tensor, y: Tensor | None) -> None:
        pairs.local_model(x + (0.0 if y is None else y))

    def guide(*, x: Tensor, y: Tensor | None) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x * pyro.param("gain", ones()), 0.3).to_event(1))

    return Recordable(
        Pair(model, guide), None, lambda n: Batch((), {"y": numbers(n + 1).args[0], "x": numbers(n).args[0]})
    )


def machine(phase: Any) -> Recordable:
    rbm = pb.RBM(9, 4, negative_phase=phase)
    rbm.prepare(bits(0, 20, 9).args[0])
    return Recordable(Pair(rbm.model, rbm.guide), rbm.objective(), partial(bits, dim=9))


def autoencoder(objective: Any = None, **settings: Any) -> Recordable:
    vae = pb.VAE(9, latent_dim=2, hidden=8, **settings)
    return Recordable(Pair(vae.model, vae.guide), objective, partial(bits, dim=9))


PAIRS = (
    "params", "registered", "handlers", "autonormal", "automultivariate", "several", "handed", "auxiliary", "scored",
)  # fmt: skip

CASES: dict[str, Callable[[], Recordable]] = {
    **{name: lambda make=pairs.SAMPLED[name]: Recordable(make()) for name in PAIRS},
    "subsampled": lambda: Recordable(pairs.subsampled(), None, partial(numbers, size=20)),
    "no baseline": lambda: Recordable(pairs.scored(), pb.ELBO(baseline=None)),
    "mask": masked,
    "keywords": by_name,
    "dropout, batch normalization": lambda: of(Encoding(normalizing())),
    "convolution": lambda: of(Encoding(convolution())),
    "GRU": lambda: of(Encoding(Last(nn.GRU))),
    "RNN": lambda: of(Encoding(Last(nn.RNN))),
    "LSTM": lambda: of(Encoding(Last(nn.LSTM))),
    "attention": lambda: of(Encoding(attention())),
    "jacrev": lambda: penalized(jacobian),
    "double backward": lambda: penalized(curvature),
    "jvp": lambda: penalized(forward_derivative),
    "Hamiltonian": lambda: of(Hamiltonian()),
    "full covariance": lambda: autoencoder(guide="full"),
    "gamma": lambda: Recordable(gamma()),
    "enumeration, model": lambda: Recordable(pairs.mixture()),
    "enumeration, guide": lambda: enumerated_guide("parallel"),
    "enumeration, sequential": lambda: enumerated_guide("sequential"),
    "IWAE standard": lambda: of(Net(), pb.IWAE(3)),
    "IWAE dreg": lambda: of(Net(), pb.IWAE(3, "dreg")),
    "IWAE stl": lambda: of(Net(), pb.IWAE(3, "stl")),
    "IWAE discrete": lambda: Recordable(pairs.scored(), pb.IWAE(3)),
    "particles": lambda: of(Net(), pb.ELBO(num_particles=3)),
    "warm-up": lambda: of(Net(), pb.ELBO(warmup=4)),
    "free bits": lambda: autoencoder(pb.ELBO(free_bits=0.1)),
    "PCD": lambda: machine(pb.PCD(num_chains=8)),
    "fast weights": lambda: machine(pb.PCD(num_chains=8, fast_rate=0.1)),
    "parallel tempering": lambda: machine(pb.ParallelTempering(2, num_chains=8, num_temperatures=4)),
    "trajectory tempering": lambda: machine(pb.TrajectoryTempering(num_chains=8, num_machines=4, threshold=1.0)),
    "CD": lambda: machine(pb.CD(steps=2)),
    "exact": lambda: machine("exact"),
    "replaced buffer": lambda: of(Running()),
    "parameter changed": lambda: of(Clamped()),
    "layout": lambda: of(Layout()),
    "one gradient of two, one of none": lambda: of(Shared()),
    "a tensor of its own": lambda: of(Helped()),
}

MOVING = (
    "scored", "dropout, batch normalization", "convolution", "PCD", "fast weights", "parallel tempering",
    "trajectory tempering", "warm-up", "replaced buffer", "parameter changed",
)  # fmt: skip
"""A step of these changes a parameter or a buffer before the optimizer does."""

NOISELESS = ("enumeration, model", "enumeration, guide", "enumeration, sequential", "exact")
"""A step of these draws nothing."""
