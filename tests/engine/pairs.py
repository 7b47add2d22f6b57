"""Pyro pairs of every kind that a user may write, small enough to train in milliseconds; all over x of shape (B, 3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn

DIM = 3


class Pair(NamedTuple):
    model: Callable[..., Any]
    guide: Callable[..., Any]


def data(size: int = 20) -> Tensor:
    return 1.0 + torch.randn(size, DIM, generator=torch.Generator().manual_seed(size), dtype=torch.float64)


def linear(inputs: int = DIM, outputs: int = DIM) -> nn.Linear:
    """A layer whose weights come from no generator."""
    net = cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64))
    for index, p in enumerate(net.parameters()):
        p.data = torch.linspace(-0.3, 0.4, p.numel(), dtype=torch.float64).reshape(p.shape) + 0.1 * index
    return net


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


def local_model(x: Tensor) -> Tensor:
    """One latent vector an example, and no parameters."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(zeros(DIM), 1.0).to_event(1))
        return pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def global_model(x: Tensor) -> None:
    """One latent vector for all examples."""
    mean = pyro.sample("mean", dist.Normal(zeros(DIM), 10.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)


def params() -> Pair:
    def model(x: Tensor) -> None:
        noise = pyro.param("noise", ones(), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, noise).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", zeros(DIM))
        scale = pyro.param("scale", lambda: 0.5 * ones(DIM), constraint=dist.constraints.interval(0.1, 2.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    return Pair(model, guide)


def registered() -> Pair:
    encoder, decoder = linear(), linear()

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(encoder(x), 0.3).to_event(1))

    return Pair(model, guide)


class Decoder(PyroModule):
    noise: Any

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()
        self.noise = PyroParam(ones(), constraint=dist.constraints.positive)

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.layer(z), self.noise).to_event(1), obs=x)


class Encoder(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()
        self.shift = nn.Parameter(zeros(DIM))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.layer(x) + self.shift, 0.3).to_event(1))


def pyro_modules() -> Pair:
    decoder, encoder = Decoder(), Encoder()
    decoder._pyro_name, encoder._pyro_name = "decoder", "encoder"
    return Pair(decoder, encoder)


class Net(nn.Module):
    """A model and a guide as methods of one module, that nobody registers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = linear(), linear()

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.3).to_event(1))


class RegisteredNet(Net):
    """The same, for Pyro."""

    def model(self, x: Tensor) -> None:
        pyro.module("net", self)
        super().model(x)

    def guide(self, x: Tensor) -> None:
        pyro.module("net", self)
        super().guide(x)


def methods() -> Pair:
    net = RegisteredNet()
    return Pair(net.model, net.guide)


class Object:
    """A callable that is no module and holds one."""

    def __init__(self) -> None:
        self.net = linear()

    def __call__(self, x: Tensor) -> None:
        pyro.module("net", self.net)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x), 0.3).to_event(1))


def objects() -> Pair:
    return Pair(local_model, Object())


def _with_net(net: nn.Module, x: Tensor) -> None:
    pyro.module("net", net)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(net(x), 0.3).to_event(1))


def partials() -> Pair:
    return Pair(local_model, partial(_with_net, linear()))


def handlers() -> Pair:
    net = RegisteredNet()
    return Pair(poutine.scale(net.model, scale=0.5), poutine.scale(net.guide, scale=0.5))


def autonormal() -> Pair:
    return Pair(global_model, AutoNormal(global_model))


def autodelta() -> Pair:
    return Pair(global_model, AutoDelta(global_model))


def automultivariate() -> Pair:
    return Pair(global_model, AutoMultivariateNormal(global_model))


def several() -> Pair:
    """Two latent sites, one of them for all examples, the other depending on it."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(DIM), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(pyro.param("loc", zeros(DIM)), 0.5).to_event(1))
        gain = pyro.param("gain", 0.5 * ones(), constraint=dist.constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(gain * x + (1 - gain) * mean, 0.4).to_event(1))

    return Pair(model, guide)


def subsampled(size: int = 20) -> Pair:
    """Plates that draw their own batches."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(DIM), 1.0).to_event(1))
        with pyro.plate("data", size, subsample_size=5) as index:
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x[index])

    def guide(x: Tensor) -> None:
        loc, scale = pyro.param("loc", zeros(DIM)), pyro.param("scale", ones(DIM), dist.constraints.positive)
        pyro.plate("data", size, subsample_size=5)
        pyro.sample("mean", dist.Normal(loc, scale).to_event(1))

    return Pair(model, guide)


def handed(size: int = 20) -> Pair:
    """Plates that are handed their batch, and know how many examples there are in all."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(DIM), 1.0).to_event(1))
        with pyro.plate("data", size, subsample=x):
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        loc, scale = pyro.param("loc", zeros(DIM)), pyro.param("scale", ones(DIM), dist.constraints.positive)
        pyro.sample("mean", dist.Normal(loc, scale).to_event(1))

    return Pair(model, guide)


def auxiliary() -> Pair:
    """A guide site that the model does not know."""

    def guide(x: Tensor) -> None:
        scale = pyro.param("scale", 0.2 * ones(), dist.constraints.positive)
        with pyro.plate("data", len(x)):
            noise = pyro.sample("noise", dist.Normal(x, 1.0).to_event(1), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(pyro.param("gain", ones()) * noise, scale).to_event(1))

    return Pair(local_model, guide)


def scored() -> Pair:
    """A discrete latent site, whose gradient needs the score function."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(0.5 * ones()))
            mean = pyro.param("means", torch.tensor([-1.0, 1.0], dtype=torch.float64))[k.long()]
            pyro.sample("x", dist.Normal(mean[..., None].expand(*k.shape, DIM), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        slope, bias = pyro.param("slope", 0.1 * ones()), pyro.param("bias", zeros())
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(logits=slope * x.sum(-1) + bias))

    return Pair(model, guide)


def mixture() -> Pair:
    """A discrete site in the model that is summed out."""

    def model(x: Tensor) -> None:
        means = pyro.param("means", torch.tensor([-1.0, 2.0], dtype=torch.float64))
        weights = pyro.param("weights", 0.5 * ones(2), dist.constraints.simplex)
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(means[k][..., None].expand(*k.shape, DIM), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pass

    return Pair(model, guide)


SAMPLED: dict[str, Callable[[], Pair]] = {
    make.__name__: make
    for make in (
        params, registered, pyro_modules, methods, objects, partials, handlers,
        autonormal, autodelta, automultivariate, several, subsampled, handed, auxiliary, scored,
    )
}  # fmt: skip
"""Pairs that both `pb.fit` and Pyro's SVI train, with the same noise."""
