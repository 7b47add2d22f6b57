"""Layerwise pretraining: the deep model is its layers' models in turn, and starts where they ended."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.errors import ArgumentError, DataError
from probae.inference.pretraining import greedily
from probae.models import stacked
from probae.networks.mlp import ACTIVATIONS
from tests.contracts.models import BITS, GREY, SIZE

FIT: dict[str, Any] = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-2, "compile": "eager", "seed": 0}
SIGMOIDS: dict[str, Any] = {"likelihood": "bernoulli", "activation": "sigmoid", "nonlinearity": "sigmoid"}
GREY_SIGMOIDS: dict[str, Any] = {"name": "normal", "nonlinearity": "sigmoid"}


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The layers' models, as they are trained."""
    found: list[Any] = []

    def watched(layers: Any, *args: Any, **settings: Any) -> Any:
        found[:] = [layer.model for layer in layers]
        return greedily(layers, *args, **settings)

    monkeypatch.setattr(stacked, "greedily", watched)
    return found


def there_and_back(layers: list[Any], x: Tensor) -> Tensor:
    """Data through the layers' models, one after the other: up with their codes, down with their reconstructions."""
    with torch.no_grad():
        for layer in layers:
            x = torch.sigmoid(x @ layer.weight + layer.hidden_bias) if isinstance(layer, pb.RBM) else codes(layer, x)
        for layer in layers[::-1]:
            machine = isinstance(layer, pb.RBM)
            x = torch.sigmoid(x @ layer.weight.T + layer.visible_bias) if machine else layer.decode(x).mean
    return x


def codes(layer: Any, x: Tensor) -> Tensor:
    return layer.family.code(layer.encoder(x))


def own_networks() -> dict[str, nn.Module]:
    """Networks of one's own that are multilayer perceptrons too, with a nonlinearity behind the last layer."""
    up = nn.Sequential(nn.Sequential(nn.Linear(SIZE, 20), nn.ReLU()), nn.Linear(20, 6), nn.Tanh())
    return {"encoder": up, "decoder": nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, SIZE))}


DEEP: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    **{
        f"{activation} layers": (lambda a=activation: pb.Autoencoder(SIZE, 6, (20, 12), activation=a), GREY, by)
        for activation, by in zip(ACTIVATIONS, ["autoencoder", "denoising", "contractive"] * 3, strict=False)
    },
    "bits": (lambda: pb.Autoencoder(SIZE, 6, (20,), "bernoulli"), BITS, "autoencoder"),
    "a continuous Bernoulli": (lambda: pb.Autoencoder(SIZE, 6, (20,), "continuous_bernoulli"), GREY, "denoising"),
    "machines": (lambda: pb.Autoencoder(SIZE, 6, (20, 12), **SIGMOIDS), BITS, "rbm"),
    "machines, and a linear top": (
        lambda: pb.Autoencoder(SIZE, 6, (20, 12), "bernoulli", activation="sigmoid"), BITS, ["rbm", "rbm", "denoising"]
    ),
    "machines on grey values": (
        lambda: pb.Autoencoder(SIZE, 6, 20, **{**SIGMOIDS, "likelihood": GREY_SIGMOIDS}), GREY,
        {"name": "rbm", "negative_phase": "cd"}
    ),
    "tied": (lambda: pb.Autoencoder(SIZE, 6, (20, 12), tied=True, activation="tanh"), GREY, "denoising"),
    "tied machines": (lambda: pb.Autoencoder(SIZE, 6, 20, tied=True, **SIGMOIDS), BITS, "rbm"),
    "dropout": (lambda: pb.Autoencoder(SIZE, 6, (20, 12), dropout=0.5), GREY, "autoencoder"),
    "sparse, bounded": (lambda: pb.SparseAutoencoder(SIZE, 6, (20,)), GREY, "autoencoder"),
    "denoising": (
        lambda: pb.DenoisingAutoencoder(SIZE, 6, 20), GREY, {"name": "denoising", "corruption": {"name": "gaussian"}}
    ),
    "contractive": (lambda: pb.ContractiveAutoencoder(SIZE, 6, 20), GREY, {"name": "contractive", "strength": 0.01}),
    "VAE": (lambda: pb.VAE(SIZE, 6, (20,)), BITS, "autoencoder"),
    "VAE of full covariance": (lambda: pb.VAE(SIZE, 6, (20,), "normal", guide="full"), GREY, "denoising"),
    "adversarial": (lambda: pb.AdversarialAutoencoder(SIZE, 6, 20), GREY, "autoencoder"),
    "own networks": (lambda: pb.Autoencoder(SIZE, 6, **own_networks()), GREY, "autoencoder"),
    "a function": (
        lambda: pb.Autoencoder(SIZE, 6, (20,), **SIGMOIDS), BITS,
        lambda inputs, outputs, nonlinearity: pb.DenoisingAutoencoder(
            inputs, outputs, (), likelihood="bernoulli", nonlinearity=nonlinearity
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DEEP.values(), ids=DEEP.keys())
def test_the_deep_model_is_its_layers_in_turn(case: Any, layers: list[Any]) -> None:
    make, data, by = case
    torch.manual_seed(0)
    deep = make()
    x = data.tensor[:50]
    runs = deep.pretrain(data[:96], by, **FIT)
    assert len(runs) == len(layers) == len(deep.unrolled().encoder)
    assert not deep.training
    torch.testing.assert_close(deep.reconstruct(x), there_and_back(layers, x), rtol=1e-5, atol=1e-6)
    assert deep.fit(data[:50], epochs=1, compile="eager", seed=0).epochs == 1


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_it_starts_fine_tuning_far_ahead(activation: str) -> None:
    """Ten epochs for each layer, against a fresh model that knows the mean of the data."""
    torch.manual_seed(0)
    deep = pb.Autoencoder(SIZE, 6, (20, 12), activation=activation)
    fresh = copy.deepcopy(deep).prepare(GREY)
    deep.pretrain(GREY, **{**FIT, "epochs": 10})
    errors = [(model.reconstruct(GREY) - GREY.tensor).square().sum(1).mean().item() for model in (deep, fresh)]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("by", ["denoising", "rbm"])
def test_the_seed_alone_decides(by: str) -> None:
    torch.manual_seed(0)
    first = pb.Autoencoder(SIZE, 6, (20, 12), **SIGMOIDS)
    twin, other = copy.deepcopy(first), copy.deepcopy(first)
    runs = first.pretrain(BITS[:100], by, **FIT)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = twin.pretrain(BITS[:100], by, **FIT)
    assert torch.equal(torch.get_rng_state(), before)
    other.pretrain(BITS[:100], by, **{**FIT, "seed": 1})
    states = [model.state_dict() for model in (first, twin, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not any(torch.equal(states[0][name], states[2][name]) for name in states[0] if name.endswith("weight"))
    assert [run.seed for run in runs] == [run.seed for run in again]
    assert len({run.seed for run in runs}) == 3


def test_a_layer_learns_from_the_codes_below(layers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    fit = pb.Autoencoder.fit

    def watched(self: Any, data: Any, *, valid: Any = None, **settings: Any) -> Any:
        seen.append((data.tensor, valid.tensor))
        return fit(self, data, valid=valid, **settings)

    monkeypatch.setattr(pb.Autoencoder, "fit", watched)
    deep = pb.Autoencoder(SIZE, 6, (20, 12))
    runs = deep.pretrain(GREY[:64], valid=GREY[64:90], **FIT)
    assert all(run.best_epoch for run in runs)
    for rows, start in ((0, 0), (1, 64)):
        x = GREY.tensor[start : start + len(seen[0][rows])]
        for (*data,), layer in zip(seen, layers, strict=True):
            torch.testing.assert_close(data[rows], x, rtol=0, atol=0)
            x = layer.embed(x)


def test_rates_become_bits_drawn_anew(layers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    fit = pb.RBM.fit

    def watched(self: Any, data: Any, **settings: Any) -> Any:
        drawn.append(data)
        return fit(self, data, **settings)

    monkeypatch.setattr(pb.RBM, "fit", watched)
    pb.Autoencoder(SIZE, 6, 20, **SIGMOIDS).pretrain(BITS[:64], "rbm", **FIT)
    assert not drawn[0].resamples
    assert drawn[1].resamples
    rates = torch.sigmoid(BITS.tensor[:64] @ layers[0].weight + layers[0].hidden_bias)
    torch.testing.assert_close(drawn[1].rates, rates.detach())


def test_settings_for_each_layer() -> None:
    runs = pb.Autoencoder(SIZE, 6, (20, 12)).pretrain(GREY[:32], **{**FIT, "epochs": [1, 2, 3]})
    assert [run.epochs for run in runs] == [1, 2, 3]


def test_scales_of_a_vae_stay(layers: list[Any]) -> None:
    vae: Any = pb.VAE(SIZE, 6, 20)
    before = copy.deepcopy(vae.encoder[-1])
    vae.pretrain(BITS[:64], **FIT)
    assert torch.equal(vae.encoder[-1].weight[6:], before.weight[6:])
    assert torch.equal(vae.encoder[-1].weight[:6], layers[-1].encoder[0].weight)


def test_in_double_precision() -> None:
    deep = pb.Autoencoder(SIZE, 6, (20, 12), **SIGMOIDS).double()
    deep.pretrain(BITS[:64], ["rbm", "autoencoder", "denoising"], **FIT)
    assert all(parameter.dtype == torch.float64 for parameter in deep.parameters())


def test_the_bar_says_which_layer(capsys: pytest.CaptureFixture[str]) -> None:
    pb.Autoencoder(SIZE, 6, 20).pretrain(GREY[:32], progress=True, **FIT)
    shown = capsys.readouterr().err
    assert "layer 1/2, epoch 1/2" in shown
    assert "layer 2/2, epoch 2/2" in shown
    pb.Autoencoder(SIZE, 6, 20).pretrain(GREY[:32], progress=False, **FIT)
    assert not capsys.readouterr().err


class Interrupt(pb.Callback):
    def on_step_end(self, training: Any) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_layer_is_the_last() -> None:
    deep: Any = pb.Autoencoder(SIZE, 6, 20)
    before = copy.deepcopy(deep.encoder)
    assert [run.stopped for run in deep.pretrain(GREY[:64], callbacks=[Interrupt()], **FIT)] == ["interrupted"]
    assert not torch.equal(deep.encoder[0].weight, before[0].weight)
    assert torch.equal(deep.encoder[2].weight, before[2].weight)


def shallow(**settings: Any) -> Callable[[int, int, str], Any]:
    return lambda inputs, outputs, nonlinearity: pb.Autoencoder(inputs, outputs, (), **settings)


RELU = {"nonlinearity": "relu"}
WRONG: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "an unknown name": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": "autoencode"}),
    "no name": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": {"corruption": "gaussian"}}),
    "no function": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": 3}),
    "a setting of another model": (
        "strength", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": {"name": "denoising", "strength": 1.0}}
    ),
    "a bad setting": ("rate", lambda: pb.Autoencoder(SIZE, 6, 20), {
        "by": {"name": "denoising", "corruption": {"name": "masking", "rate": 2.0}}}),
    "too few names": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": ["autoencoder"]}),
    "too many epochs": ("epochs", lambda: pb.Autoencoder(SIZE, 6, 20), {"epochs": [1, 2, 3]}),
    "machines with relu units": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": "rbm"}),
    "machines with a linear code": (
        "by", lambda: pb.Autoencoder(SIZE, 6, 20, activation="sigmoid", likelihood="bernoulli"), {"by": "rbm"}
    ),
    "machines over real values": (
        "by", lambda: pb.Autoencoder(SIZE, 6, 20, activation="sigmoid", nonlinearity="sigmoid"), {"by": "rbm"}
    ),
    "no model": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": lambda *sizes: nn.Linear(2, 2)}),
    "a model of another size": (
        "by", lambda: pb.Autoencoder(SIZE, 6, 20, **RELU), {"by": lambda *place: shallow(**RELU)(3, 2, "")}
    ),
    "a deep model": (
        "by", lambda: pb.Autoencoder(SIZE, 6, 20, **RELU), {"by": lambda n, m, f: pb.Autoencoder(n, m, 5, **RELU)}
    ),
    "other codes": ("by", lambda: pb.Autoencoder(SIZE, 6, 20), {"by": shallow()}),
    "other reconstructions": ("by", lambda: pb.Autoencoder(SIZE, 6, 20, **RELU), {
        "by": lambda n, m, f: pb.Autoencoder(n, m, (), decoder=nn.Sequential(nn.Linear(m, n), nn.Tanh()), **RELU)}),
    "untied models": ("by", lambda: pb.Autoencoder(SIZE, 6, 20, tied=True, **RELU), {"by": shallow(**RELU)}),
    "unbounded models": ("by", lambda: pb.SparseAutoencoder(SIZE, 6, 20), {"by": shallow(**RELU)}),
    "a setting that fit lacks": ("epoch", lambda: pb.Autoencoder(SIZE, 6, 20), {"epoch": 3}),
    "an objective": ("objective", lambda: pb.Autoencoder(SIZE, 6, 20), {"objective": pb.ELBO()}),
    "convolutions": ("network", lambda: pb.Autoencoder((8, 8), 6, 20, network="conv"), {}),
    "an own convolution": ("encoder", lambda: pb.Autoencoder((8, 8), 6, 20, encoder=nn.Conv1d(1, 1, 1)), {}),
    "a single layer": ("hidden", lambda: pb.Autoencoder(SIZE, 6, ()), {}),
    "probabilistic PCA": ("hidden", lambda: pb.ProbabilisticPCA(SIZE, 6), {}),
    "a decoder that is no mirror": (
        "decoder", lambda: pb.Autoencoder(
            SIZE, 6, 20, decoder=nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, SIZE))), {}
    ),
    "a decoder that ends in a nonlinearity": ("decoder", lambda: pb.Autoencoder(
        SIZE, 6, 20, decoder=nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, SIZE), nn.Sigmoid())), {}),
    "a decoder with fewer layers": ("decoder", lambda: pb.Autoencoder(SIZE, 6, 20, decoder=nn.Linear(6, SIZE)), {}),
    "labels": ("num_labels", lambda: pb.VAE(SIZE, 6, 20, num_labels=2), {}),
    "the largest codes": ("guide", lambda: pb.SparseAutoencoder(SIZE, 6, 20, top_k=3), {}),
    "a learning rate": ("learning_rate", lambda: pb.Autoencoder(SIZE, 6, 20), {"learning_rate": -1.0}),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_named_and_changes_nothing(case: Any) -> None:
    argument, make, settings = case
    model = make()
    before, noise = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(ArgumentError) as raised:
        model.pretrain((GREY if model.likelihood.config["name"] == "normal" else BITS)[:40], seed=0, **settings)
    assert raised.value.argument == argument
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), noise)


def test_a_machine_over_real_values_says_how_they_become_rates() -> None:
    hint = r"likelihood=\{'name': 'normal', 'nonlinearity': 'sigmoid'\} makes rates"
    for likelihood, said in (("normal", True), ({"name": "normal", "nonlinearity": "softplus"}, False)):
        model = pb.Autoencoder(SIZE, 6, 20, likelihood, activation="sigmoid", nonlinearity="sigmoid")
        with pytest.raises(ArgumentError, match=r"^by: expected another model for inputs") as raised:
            model.pretrain(GREY[:40], "rbm")
        assert bool(re.search(hint, str(raised.value))) == said
    model = pb.Autoencoder(SIZE, 6, (20, 9), "bernoulli", activation="relu", nonlinearity="sigmoid")
    with pytest.raises(ArgumentError) as raised:
        model.pretrain(BITS[:40], ["autoencoder", "autoencoder", "rbm"])
    assert not re.search(hint, str(raised.value))


@pytest.mark.parametrize(
    ("data", "argument"),
    [(BITS.tensor[:5, :9], "data"), ([BITS.tensor[:5]], "data"), (GREY[:5], "data"), (BITS.tensor[:5].long(), "data")],
    ids=["another size", "a stream", "grey values", "integers"],
)
def test_wrong_data_is_named(data: Any, argument: str) -> None:
    for given, name in (((data, None), "data"), ((BITS[:5], data), "valid")):
        with pytest.raises(ArgumentError, match=rf"^{name}: expected"):
            pb.Autoencoder(SIZE, 6, 20, "bernoulli").pretrain(given[0], valid=given[1], seed=0)


def test_a_mask_is_refused() -> None:
    given = {"x": GREY.tensor[:5], "mask": torch.ones(5, SIZE, dtype=torch.bool)}
    with pytest.raises(ArgumentError, match=r"^data: expected examples that are observed whole"):
        pb.Autoencoder(SIZE, 6, 20).pretrain(given)


def test_real_values_for_a_machine_are_no_rates() -> None:
    deep = pb.Autoencoder(SIZE, 6, 20, **{**SIGMOIDS, "likelihood": GREY_SIGMOIDS})
    with pytest.raises(DataError, match=r"^data: expected bits"):
        deep.pretrain(2 * GREY.tensor, "rbm")
