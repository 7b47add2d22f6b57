"""The classifier: its ELBO is minus the cross-entropy, and it stands on copies of what was learned before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import probae as pb
from probae.errors import ArgumentError, DataError, NoLikelihoodError
from probae.networks.mlp import NONLINEARITIES
from tests.contracts.models import BITS, GREY, SIZE

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-2, "compile": "eager", "seed": 0}
CLASSES = 5


def make(**settings: Any) -> pb.Classifier:
    torch.manual_seed(0)
    return pb.Classifier(SIZE, CLASSES, **{"hidden": (7, 4), **settings}).double()


def some(count: int = 12) -> tuple[Tensor, Tensor]:
    return torch.rand(count, SIZE, dtype=torch.float64), torch.arange(count) % CLASSES


def by_hand(model: Any, x: Tensor) -> Tensor:
    """Logits from the parts."""
    return F.linear(NONLINEARITIES[model.code.nonlinearity](model.encoder(x)), model.head.weight, model.head.bias)


MADE: dict[str, dict[str, Any]] = {
    "two layers": {},
    "softmax regression": {"hidden": ()},
    "a sigmoid code": {"hidden": 6, "nonlinearity": "sigmoid", "activation": "tanh"},
    "a linear code": {"nonlinearity": "linear"},
    "convolutions": {"network": {"name": "conv", "channels": [2]}, "hidden": 6},
    "an own encoder": {"encoder": nn.Sequential(nn.Linear(SIZE, 3), nn.GELU()), "hidden": 3, "nonlinearity": "linear"},
}


@pytest.mark.parametrize("settings", MADE.values(), ids=MADE.keys())
def test_value_and_gradient_are_those_of_the_cross_entropy(settings: dict[str, Any]) -> None:
    shape: Any = (8, 8) if "network" in settings else SIZE
    torch.manual_seed(0)
    model = pb.Classifier(shape, CLASSES, **{"hidden": (7, 4), **settings}).double()
    x, y = some()
    loss = model.objective()(model.model, model.guide, x, y)
    wanted = F.cross_entropy(by_hand(model, x), y, reduction="sum")
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    found, exact = (torch.autograd.grad(value, list(model.parameters())) for value in (loss, wanted))
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
        assert one.any()


def test_unknown_labels_count_for_nothing() -> None:
    model, (x, y) = make(), some()
    half = torch.where(torch.arange(12) < 6, y, -1)
    losses = [model.objective()(model.model, model.guide, *given) for given in ((x, half), (x[:6], y[:6]))]
    torch.testing.assert_close(*losses)
    assert model.error_rate((x, half)) == model.error_rate((x[:6], y[:6]))
    assert model.log_likelihood((x, half)).value == model.log_likelihood((x[:6], y[:6])).value
    one, other = make(), make()
    one.fit((x, half), valid=(x, half), **QUICK)
    other.fit((x[:6], y[:6]), valid=(x[:6], y[:6]), **QUICK)
    assert torch.equal(one.head.weight, other.head.weight)


def test_labels_of_a_data_set_that_keeps_few() -> None:
    few = GREY.keep_labels(20)
    one, other = (pb.Classifier(SIZE, 2) for _ in range(2))
    other.load_state_dict(one.state_dict())
    one.fit(few, **QUICK)
    other.fit(few[few.labels >= 0], **QUICK)  # type: ignore[operator]
    assert torch.equal(one.head.weight, other.head.weight)


def test_the_verbs_agree() -> None:
    model, (x, y) = make().eval(), some()
    p = model.classify(x).probs
    torch.testing.assert_close(p, by_hand(model, x).softmax(-1))
    torch.testing.assert_close(p.sum(-1), torch.ones(12, dtype=torch.float64))
    assert torch.equal(model.predict(x), p.argmax(-1))
    wrong = (model.predict(x) != y).double().mean().item()
    assert 0 < wrong < 1
    for data in ((x, y), pb.data.Dataset(x, y), {"x": x, "y": y}, (x.numpy(), y.numpy())):
        assert model.error_rate(data) == wrong
    assert model.error_rate(x, y) == model.error_rate(pb.data.Dataset(x), y=y.tolist()) == wrong
    estimate = model.log_likelihood((x, y))
    assert estimate.direction == "exact"
    assert estimate.value == pytest.approx(-F.cross_entropy(by_hand(model, x), y).item(), rel=1e-12)
    assert "log p(y given x)" in str(estimate.protocol)
    general = pb.log_likelihood(model.model, model.guide, (x, y))
    assert general.value == pytest.approx(estimate.value, rel=1e-6)
    assert torch.equal(model.embed(x), model.encoder(x).relu())


def test_drawn_labels_follow_the_probabilities() -> None:
    """40,000 draws for one example; 6 standard errors, 5 times: a false alarm in 1e-8."""
    model, (x, _) = make().eval(), some(1)
    count = 40_000
    drawn = torch.bincount(model.model(x.expand(count, -1)), minlength=CLASSES) / count
    p = model.classify(x).probs[0].detach()
    assert ((drawn - p).abs() < 6 * (p * (1 - p) / count).sqrt()).all()


def test_it_learns_and_its_monitors_say_so() -> None:
    model = pb.Classifier(SIZE, 2, 16)
    run = model.fit(GREY[:200], valid=GREY[200:], **QUICK)
    assert run.monitor == "log_likelihood"
    assert run.best == pytest.approx(model.log_likelihood(GREY[200:]).value, abs=1e-5)
    run = model.fit(GREY[:200], valid=GREY[200:], monitor=model.monitor("accuracy"), **QUICK)
    assert run.best == pytest.approx(1 - model.error_rate(GREY[200:]), abs=1e-6)
    assert run.best > 0.95
    with pytest.raises(ArgumentError, match=r"^name: expected one of 'accuracy'"):
        model.monitor("error")


def test_dropout_silences_hidden_units_and_the_code_in_training_alone() -> None:
    model, (x, y) = make(dropout=0.5), some()
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout)] == [0.5, 0.5]
    for one in (model, make(hidden=6, dropout=0.5)):  # of the other, the code alone is hidden
        losses = {one.objective()(one.model, one.guide, x, y).item() for _ in range(5)}
        assert len(losses) == 5
    assert torch.equal(model.classify(x).logits, model.classify(x).logits)
    for wrong in ({"network": "conv"}, {"hidden": ()}):
        with pytest.raises(ArgumentError, match=r"^dropout: expected 0"):
            make(dropout=0.5, **wrong)


# On what was learned before.

LEARNED: dict[str, tuple[Callable[[], Any], Any]] = {
    "Autoencoder": (lambda: pb.Autoencoder(SIZE, 6, (20, 12)), GREY),
    "Autoencoder, sigmoid": (lambda: pb.Autoencoder(SIZE, 6, (), nonlinearity="sigmoid"), GREY),
    "Autoencoder, dropout": (lambda: pb.Autoencoder(SIZE, 6, (20, 12), dropout=0.3), GREY),
    "Autoencoder, tied": (lambda: pb.Autoencoder(SIZE, 6, 20, tied=True), GREY),
    "SparseAutoencoder": (lambda: pb.SparseAutoencoder(SIZE, 6), GREY),
    "SparseAutoencoder, top-k": (lambda: pb.SparseAutoencoder(SIZE, 6, top_k=3), GREY),
    "DenoisingAutoencoder": (lambda: pb.DenoisingAutoencoder(SIZE, 6, 20), GREY),
    "ContractiveAutoencoder": (lambda: pb.ContractiveAutoencoder(SIZE, 6), GREY),
    "convolutional": (lambda: pb.Autoencoder((8, 8), 6, 9, network={"name": "conv", "channels": [2]}), GREY),
    "own encoder": (
        lambda: pb.Autoencoder(SIZE, 6, encoder=nn.Sequential(nn.Linear(SIZE, 6), nn.BatchNorm1d(6))),
        GREY,
    ),
    "VAE": (lambda: pb.VAE(SIZE, 6, (20, 12)), BITS),
    "VAE of full covariance": (lambda: pb.VAE(SIZE, 6, 20, guide="full"), BITS),
    "VAE of two layers": (lambda: pb.VAE(SIZE, (6, 3), 20), BITS),
    "ProbabilisticPCA": (lambda: pb.ProbabilisticPCA(SIZE, 6), GREY),
    "RBM": (lambda: pb.RBM(SIZE, 6), BITS),
}


@pytest.mark.parametrize("case", LEARNED.values(), ids=LEARNED.keys())
def test_a_classifier_starts_from_the_codes_and_leaves_the_model_alone(case: Any, tmp_path: Path) -> None:
    make, data = case
    model = make()
    model.fit(data[:64], **{**QUICK, "learning_rate": None})
    before = copy.deepcopy(model.state_dict())
    classifier = model.classifier(2)
    torch.testing.assert_close(classifier.embed(data[:50]), model.embed(data[:50]), rtol=1e-4, atol=1e-5)
    start = copy.deepcopy(classifier.state_dict())
    classifier.fit(data[:64], **QUICK)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    parameters = dict(classifier.named_parameters())
    assert not [name for name in parameters if torch.equal(start[name], parameters[name])]
    own = {"encoder": copy.deepcopy(model.encoder)} if classifier.own_modules else {}
    twin = pb.load(classifier.save(tmp_path / "classifier"), **own)
    assert torch.equal(twin.classify(data[:9]).probs, classifier.classify(data[:9]).probs)
    assert twin.config == classifier.config


def test_it_keeps_dtype_and_takes_dropout() -> None:
    for model in (pb.Autoencoder(SIZE, 6, 20).double(), pb.RBM(SIZE, 6).double()):
        classifier = model.classifier(3, dropout=0.2)
        assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float64}
        assert [part.p for part in classifier.modules() if isinstance(part, nn.Dropout)][-1] == 0.2
    assert pb.Autoencoder(SIZE, 6, 20, dropout=0.3).classifier(3).config["network"] == {"name": "mlp"}


def test_few_labels_are_enough_on_pretrained_codes() -> None:
    """Ten labels of each of two digits."""
    torch.manual_seed(0)
    model = pb.Autoencoder(SIZE, 6, 20)
    model.pretrain(GREY, **{**QUICK, "epochs": 10})
    classifier = model.classifier(2)
    classifier.fit(GREY.keep_labels(20), **{**QUICK, "epochs": 20})
    assert classifier.error_rate(GREY) < 0.03


NO_CLASSIFIER: dict[str, tuple[str, Callable[[], Any]]] = {
    "labels in the encoder": ("num_labels", lambda: pb.VAE(SIZE, 6, 20, num_labels=2)),
    "a flow": ("guide", lambda: pb.VAE(SIZE, 6, 20, guide="flow")),
    "an own encoder of means and scales": ("encoder", lambda: pb.VAE(SIZE, 6, encoder=nn.Linear(SIZE, 12))),
    "a recurrent one whose state is the code": ("network", lambda: pb.VAE((8, 8), 6, (), network="recurrent")),
}


@pytest.mark.parametrize("case", NO_CLASSIFIER.values(), ids=NO_CLASSIFIER.keys())
def test_encoders_without_a_plain_code_are_named(case: Any) -> None:
    argument, make = case
    with pytest.raises(ArgumentError, match=f"^{argument}: expected"):
        make().classifier(2)


# At the door.

Y = torch.arange(12) % CLASSES
WRONG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "one class": ("num_labels", lambda m: pb.Classifier(4, 1)),
    "no class": ("num_labels", lambda m: pb.Classifier(4, 2.5)),  # type: ignore[arg-type]
    "a width": ("hidden", lambda m: pb.Classifier(4, 2, hidden=0)),
    "no width beside convolutions": ("hidden", lambda m: pb.Classifier((4, 4), 2, (), network="conv")),
    "no width beside an encoder": ("hidden", lambda m: pb.Classifier(4, 2, (), encoder=nn.Linear(4, 3))),
    "another width": ("encoder", lambda m: pb.Classifier(SIZE, 2, 5, encoder=nn.Linear(SIZE, 3)).predict(GREY)),
    "no module": ("encoder", lambda m: pb.Classifier(4, 2, 5, encoder="mlp")),  # type: ignore[arg-type]
    "a nonlinearity": ("nonlinearity", lambda m: pb.Classifier(4, 2, nonlinearity="cubic")),
    "an activation": ("activation", lambda m: pb.Classifier(4, 2, (3, 3), nonlinearity="relu", activation="cubic")),
    "no labels": ("data", lambda m: m.fit(some()[0])),
    "no validation labels": ("valid", lambda m: m.fit(some(), valid=some()[0])),
    "no known labels": ("data", lambda m: m.fit((some()[0], -torch.ones(12, dtype=torch.long)))),
    "too few labels": ("data", lambda m: m.fit((some()[0], Y[:5]))),
    "labels beyond the last": ("data", lambda m: m.fit((some()[0], Y + 1))),
    "labels below -1": ("data", lambda m: m.fit((some()[0], Y - 2))),
    "labels that are no integers": ("data", lambda m: m.fit((some()[0], Y.double()))),
    "no labels to err on": ("data", lambda m: m.error_rate(some()[0])),
    "no labels to judge by": ("data", lambda m: m.log_likelihood(some()[0])),
    "no labels in a stream": ("y", lambda m: m.fit(DataLoader(TensorDataset(some()[0], Y + 1), 4))),
    "no labels in a validation stream": ("valid", lambda m: m.fit(some(), valid=[(some()[0],)], epochs=1)),
    "another method": ("method", lambda m: m.log_likelihood(some(), method="importance")),
    "an unknown option": ("num_sample", lambda m: m.log_likelihood(some(), num_sample=3)),
    "a mask": ("mask", lambda m: m.fit({"x": some()[0], "y": Y, "mask": some()[0] > 0.5})),
    "examples of another size": ("x", lambda m: m.predict(some()[0][:, :9])),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(case: Any) -> None:
    argument, use = case
    model = make()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ArgumentError) as raised:
        use(model)
    assert raised.value.argument == argument
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_there_is_nothing_to_generate_or_to_find_strange() -> None:
    model, (x, _) = make(), some()
    for refused in (model.model, model.sample, lambda: model.anomaly_score(x)):
        with pytest.raises(NoLikelihoodError, match="without a prior of x"):
            refused()


def test_a_stream_trains_and_pyro_trains() -> None:
    x, y = some()
    one, other = make(), make()
    one.fit([(x, y)], epochs=1, optimizer="sgd", learning_rate=0.1, compile="eager", seed=0)
    svi = pyro.infer.SVI(other.model, other.guide, pyro.optim.SGD({"lr": 0.1 / 12}), loss=pyro.infer.Trace_ELBO())
    assert np.isfinite(svi.step(x, y))
    torch.testing.assert_close(one.head.weight, other.head.weight)


def test_bad_labels_in_a_later_batch_are_data_errors() -> None:
    x, y = some()
    with pytest.raises(DataError, match=r"^y: expected labels from 0 to 4"):
        make().fit([(x, y), (x, y + 1)], epochs=1, compile="eager")


def test_streams_are_not_judged() -> None:
    """What arrives in batches trains a classifier; it is judged on data that is all here."""
    model, (x, y) = make(), some()
    with pytest.raises(DataError, match=r"^data: expected a data set.*DataLoader"):
        model.error_rate(DataLoader(TensorDataset(x, y)))
    with pytest.raises(DataError, match=r"^data: expected a data set.*list"):
        model.error_rate([[0.0]], [1])
    for bad in (y + CLASSES, y - 5):
        stream = DataLoader(TensorDataset(x, bad), batch_size=4)
        with pytest.raises(DataError, match=r"^valid: expected labels from 0"):
            model.fit((x, y), valid=stream, **QUICK)
