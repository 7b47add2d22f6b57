"""Runs that hold every kind of state that training can have; a new process builds the same ones and continues them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import probae as pb
from tests.engine import pairs

EPOCHS, STEPS = 4, 3
"""Of every case: four epochs of three batches."""


class Case(NamedTuple):
    """A run that can be started: `fit(**settings)`, and the tensors that it trains."""

    fit: Callable[..., pb.Run]
    tensors: Callable[[], dict[str, Tensor]]


def bits(size: int = 24, dim: int = 9) -> Tensor:
    return (torch.rand(size, dim, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def of_module(module: nn.Module) -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: value.clone() for name, value in module.state_dict().items()}


def stored() -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in pyro.get_param_store().items()}


def vae_dynamic() -> Case:
    """Batches drawn anew from rates, Adam's moments, a cosine schedule, validation and the best model."""
    rates = torch.rand(24, 9, generator=torch.Generator().manual_seed(2))
    train = pb.data.Dataset(rates=rates, protocol=pb.data.Protocol("faces", "train", "dynamic", seed=0))
    vae = pb.VAE(9, latent_dim=2, hidden=8)
    settings = {"batch_size": 8, "schedule": "cosine", "learning_rate": 0.05, "valid": bits(10)}
    return Case(partial(vae.fit, train, **settings), of_module(vae))


def rbm_pcd() -> Case:
    """Persistent chains, momentum, a monitor that selects."""
    rbm = pb.RBM(9, 4, negative_phase=pb.PCD(steps=2, num_chains=8))
    return Case(partial(rbm.fit, bits(), batch_size=8, valid=bits(10)), of_module(rbm))


class Noisy(nn.Module):
    """An encoder with batch normalization and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.decoder = nn.Linear(2, 9)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x), 0.5).to_event(1))


def batchnorm_dropout() -> Case:
    net = Noisy()
    return Case(partial(pb.fit, net.model, net.guide, bits(), batch_size=8, valid=bits(10)), of_module(net))


class Jittered(Dataset[Tensor]):
    """Examples that are disturbed anew by torch's global generator each time they are read."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> Tensor:
        return pairs.data(22)[index] + 0.1 * torch.randn(3)


def loader_shuffled() -> Case:
    """The order and the examples come from the generator that training draws from; the last batch is short."""
    net = pairs.Net()
    loader = DataLoader(Jittered(), batch_size=8, shuffle=True)
    return Case(partial(pb.fit, net.model, net.guide, loader), of_module(net))


class Unsized:
    """An iterable that does not know how many batches it has."""

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(24)
        for indices in order.split(8):
            yield pairs.data(24)[indices]


def iterable() -> Case:
    net = pairs.Net()
    return Case(partial(pb.fit, net.model, net.guide, Unsized()), of_module(net))


def scored_warmup() -> Case:
    """A score-function site with its average baseline, a warm-up, parameters in Pyro's store, RMSprop."""
    pyro.clear_param_store()
    objective = pb.ELBO(warmup=8, num_particles=2)
    fit = partial(
        pb.fit, *pairs.scored(), pairs.data(24), objective=objective, optimizer="rmsprop", learning_rate=0.05,
        batch_size=8, valid=pairs.data(9),
    )  # fmt: skip
    return Case(fit, lambda: stored() | of_module(objective)())


def autoguide() -> Case:
    """Parameters that exist only after the first call, and one of Pyro's objectives."""
    pyro.clear_param_store()
    guide = AutoNormal(pairs.global_model)
    fit = partial(
        pb.fit, pairs.global_model, guide, TensorDataset(pairs.data(24)), batch_size=8, objective=Trace_ELBO(),
        schedule="linear", optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    )  # fmt: skip
    return Case(fit, lambda: stored() | of_module(guide)())


CASES: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        vae_dynamic, rbm_pcd, batchnorm_dropout, loader_shuffled, iterable, scored_warmup, autoguide,
    )
}  # fmt: skip


def build(name: str) -> Case:
    """The same case in every process."""
    torch.manual_seed(5)
    return CASES[name]()


def outcome(case: Case, run: pb.Run) -> dict[str, Any]:
    """All that must be the same: what was trained, what was recorded, where the next step would begin."""
    state = {key: value for key, value in run.state.items() if key not in ("history", "position")}
    state["position"] = {key: value for key, value in run.state["position"].items() if key != "seconds"}
    history = {name: column for name, column in run.history.items() if name != "seconds"}
    return {"tensors": case.tensors(), "history": history, "best": run.best_epoch, "state": state}


def continue_all(folder: str) -> None:
    """In a new process: continue each saved state to the end, and write down how that went."""
    for path in sorted(Path(folder).glob("*.state")):
        case = build(path.stem.partition("-")[0])
        run = case.fit(epochs=EPOCHS, resume=torch.load(path, weights_only=True))
        torch.save(outcome(case, run), path.with_suffix(".outcome"))
