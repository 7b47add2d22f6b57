"""What is not a model's own verb, on the pretend accelerator: objectives, pairs of users, estimators, applications."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch

import probae as pb
from tests.accelerator import FAR, accelerator
from tests.contracts.models import BITS, GREY

SGD = partial(torch.optim.SGD, lr=1e-5)
RUN = {"epochs": 2, "batch_size": 8, "optimizer": SGD, "seed": 0, "progress": False, "device": FAR}
DATA, VALID = BITS[:40], BITS[40:56]
AIS = {"num_chains": 16, "num_temperatures": 10, "progress": False}
BRIDGE = {"num_chains": 16, "num_temperatures": 4, "rounds": 20, "progress": False}


def vae(**settings: Any) -> pb.VAE:
    return pb.VAE(64, 4, 16, **settings)


def rbm(**settings: Any) -> pb.RBM:
    machine = pb.RBM(64, 6, **settings)
    machine.fit(DATA, **RUN)
    return machine


def regression(x: torch.Tensor, y: torch.Tensor) -> None:
    weight = pyro.param("weight", torch.zeros(64, device=FAR))
    scale = pyro.param("scale", torch.ones((), device=FAR), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(x @ weight, scale), obs=y)


OBJECTIVES: dict[str, Callable[[], Any]] = {
    "particles": lambda: pb.ELBO(num_particles=3, warmup=2, beta=0.5),
    "free bits": lambda: pb.ELBO(free_bits=0.1),
    "sampled KL": lambda: pb.ELBO(analytic_kl=False),
    "IWAE": lambda: pb.IWAE(3),
    "dreg": lambda: pb.IWAE(3, gradient="dreg"),
    "stl": lambda: pb.IWAE(1, gradient="stl"),
}


@pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_objectives(make: Callable[[], Any]) -> None:
    with accelerator():
        run = vae().fit(DATA, valid=VALID, objective=make(), **RUN)
    assert len(run.history["train_loss"]) == 2


SETTINGS: dict[str, dict[str, Any]] = {
    "accumulated": {"accumulate": 2},
    "clipped": {"clip_norm": 1.0},
    "scheduled": {"schedule": "cosine"},
    "bfloat16": {"precision": "bf16"},
    "early": {"patience": 1, "epochs": 3},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_settings(settings: dict[str, Any]) -> None:
    with accelerator():
        assert vae().fit(DATA, valid=VALID, **{**RUN, **settings}).history["epoch"]


def test_a_run_goes_on_there() -> None:
    with accelerator():
        model = vae()
        first = model.fit(DATA, **RUN)
        second = model.fit(DATA, **{**RUN, "epochs": 3}, resume=first.state)
    assert second.history["train_loss"][:2] == first.history["train_loss"]


@pytest.mark.parametrize("how", ["tensors", "loader", "stream"])
def test_a_pair_of_a_user(how: str) -> None:
    x, y = DATA.tensor, DATA.tensor[:, 0]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)
    data: Any = {"tensors": (x, y), "loader": loader, "stream": [(x[:8], y[:8]), (x[8:16], y[8:16])]}[how]
    settings = {**RUN, "batch_size": 8 if how == "tensors" else None}
    with accelerator():
        run = pb.fit(regression, lambda x, y: None, data, **settings)
    assert len(run.history["train_loss"]) == 2
    assert all(p.device == FAR for _, p in pyro.get_param_store().named_parameters())


@pytest.mark.parametrize("method", ["ais", "adaptive", "bridge", "exact", "running"])
def test_partition_functions(method: str) -> None:
    own = {"exact": {}, "running": {}, "adaptive": {**AIS, "spacing": "adaptive"}, "bridge": BRIDGE}
    with accelerator():
        machine = rbm(running_chains=8)
        found = machine.log_partition("ais" if method == "adaptive" else method, **own.get(method, AIS))
        near = pb.RBM(64, 6, running_chains=8)
        near.load_state_dict({name: tensor.cpu() for name, tensor in machine.state_dict().items()})
        assert found.value == pytest.approx(near.log_partition("exact").value, abs=1.0)


def test_what_else_a_machine_says() -> None:
    with accelerator():
        machine = rbm()
        v, mask = DATA.tensor[:5].to(FAR), torch.arange(64) < 32
        there = (
            machine.sample(3, steps=2),
            machine.sample(given=v, mask=mask, steps=2),
            machine.inpaint(DATA.tensor[:5], mask, steps=2),
            machine.anomaly_score(DATA[:5]),
            machine.anomaly_map(DATA[:5]),
            machine.energy(v, (machine.embed(v) > 0.5).float()),
            machine.free_energy(v),
            machine.chains(4, steps=20, progress=False).states,
        )
        assert [tensor.device for tensor in there] == [FAR] * len(there)


def test_a_machine_with_labels() -> None:
    with accelerator():
        machine = pb.ClassRBM(64, 6, 2)
        machine.fit(DATA, **RUN)
        x, y, mask = DATA.tensor[:5], torch.zeros(5, dtype=torch.long), torch.arange(64) < 32
        there = (
            machine.sample(3, steps=2),
            machine.sample(y=y, steps=2),
            machine.inpaint(x, mask, steps=2),
            machine.inpaint(x, mask, y=y, steps=2),
        )
        assert [tensor.device for tensor in there] == [FAR] * len(there)


def test_documents() -> None:
    counts = torch.multinomial(torch.ones(40, 12), 12, replacement=True)
    counts = torch.nn.functional.one_hot(counts, 12).sum(1).float()  # documents of twelve words
    with accelerator():
        machine = pb.RBM(12, 4, "counts")
        machine.fit(counts, **RUN)
        assert machine.log_likelihood(counts[:5], "ais", **AIS).value < 0
        assert machine.sample(3, steps=2).device == FAR


def test_what_else_a_vae_says() -> None:
    with accelerator():
        model = vae()
        model.fit(DATA, **RUN)
        x, mask = DATA.tensor[:5], torch.arange(64) < 32
        there = (
            model.inpaint(x, mask, steps=3),
            model.anomaly_score(DATA[:5], num_samples=10),
            model.anomaly_map(DATA[:5]),
            model.decode(torch.zeros(2, 4, device=FAR)).mean,
            model.encode(x).base_dist.loc,
        )
        assert [tensor.device for tensor in there] == [FAR] * len(there)


def test_layer_by_layer() -> None:
    with accelerator():
        model = pb.Autoencoder(64, 8, 16, "bernoulli", nonlinearity="sigmoid", activation="sigmoid")
        model.to(FAR)
        model.pretrain(DATA, by="rbm", **RUN)
        classifier = model.classifier(2)
        classifier.fit(DATA, **RUN)
        assert 0.0 <= classifier.error_rate(DATA) <= 1.0


def test_applications() -> None:
    with accelerator():
        model = pb.Autoencoder(64, 8, 16, nonlinearity="sigmoid")
        model.fit(GREY[:40], **RUN)
        assert 0.0 <= pb.applications.linear_probe(model, GREY[:40], GREY[40:80]).accuracy <= 1.0
        pb.applications.clusters(model, GREY[:40], 2)
        assert pb.applications.retrieve(model, GREY[:3], GREY[:40], k=2).indices.shape == (3, 2)


def test_baselines() -> None:
    from probae.evaluation.baselines import bernoulli_baseline

    with accelerator():
        train = BITS[:40]
        assert bernoulli_baseline(train, BITS[40:50]).value < 0
