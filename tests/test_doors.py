"""What a stranger does wrong, through every door: grey values are never taken for bits, and no option is ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import probae as pb
from probae.errors import ArgumentError, DataError, NonFiniteError, ProbaeError
from probae.models.saving import _canonical, _sha256

BITS, GREY = pb.data.load("digits").train[:60], pb.data.load("digits", binarize="none").train[:60]


def vae() -> pb.VAE:
    torch.manual_seed(0)
    return pb.VAE(64, 2, (8,))


GREY_WAYS: dict[str, Callable[[pb.VAE], Any]] = {
    "data": lambda m: m.fit(GREY, epochs=1),
    "valid": lambda m: m.fit(BITS, valid=GREY, epochs=1),
    "valid of a foreign pair": lambda m: pb.fit(m.model, m.guide, BITS, valid=GREY.tensor, epochs=1),
    "a validation loader": lambda m: m.fit(BITS, valid=DataLoader(TensorDataset(GREY.tensor), 20), epochs=1),
    "late in a stream": lambda m: m.fit([BITS.tensor, GREY.tensor], epochs=1),
    "late in a validation stream": lambda m: m.fit(BITS, valid=[BITS.tensor, GREY.tensor], epochs=1),
    "an estimate": lambda m: m.log_likelihood(GREY, num_samples=2),
    "a foreign estimate": lambda m: pb.log_likelihood(m.model, m.guide, GREY, num_samples=2),
}


@pytest.mark.parametrize("way", GREY_WAYS)
def test_grey_values_never_pass_for_bits(way: str) -> None:
    with pytest.raises(ProbaeError, match="grey values"):
        GREY_WAYS[way](vae())


OPTIONS: dict[str, tuple[str, Callable[[], Any]]] = {
    "fit": ("epoch", lambda: vae().fit(BITS, epoch=3)),
    "importance": ("num_sample", lambda: vae().log_likelihood(BITS, num_sample=3)),
    "ais": ("num_samples", lambda: pb.RBM(64, 30).log_likelihood(BITS, num_samples=3)),
    "exact": ("num_temperatures", lambda: pb.RBM(64, 3).log_partition(num_temperatures=3)),
    "protocol": ("protocol", lambda: pb.log_likelihood(vae().model, vae().guide, BITS, protocol="digits")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", OPTIONS)
def test_an_unknown_option_is_named(case: str) -> None:
    name, call = OPTIONS[case]
    with pytest.raises(ArgumentError, match=rf"^{name}: expected"):
        call()


@pytest.mark.parametrize("shape", [(5, 60), (5, 8, 9), (64,)])
@pytest.mark.parametrize("make", [vae, lambda: pb.RBM(64, 3)], ids=["vae", "rbm"])
def test_the_callables_name_examples_of_another_shape(make: Callable[[], Any], shape: tuple[int, ...]) -> None:
    model, x = make(), torch.ones(shape)
    for call in (model.model, lambda x: pb.fit(model.model, model.guide, x), lambda x: model.fit(x)):
        with pytest.raises(DataError, match=r"^(x|data): expected shape"):
            call(x)


def test_an_error_inside_a_traced_program_keeps_its_type_and_argument() -> None:
    """Pyro's tracing raises errors anew from their message alone."""
    own = pb.VAE(64, 2, (8,), encoder=torch.nn.Linear(64, 7))
    for call in (lambda: own.fit(BITS), lambda: pb.fit(own.model, own.guide, BITS)):
        with pytest.raises(ArgumentError, match=r"^encoder: expected") as raised:
            call()
        assert raised.value.argument == "encoder"


def test_codes_that_are_not_finite_are_named() -> None:
    with pytest.raises(DataError, match=r"^z: expected finite"):
        vae().decode(torch.full((1, 2), float("nan")))


def test_an_energy_model_without_latent_sites_is_exact_not_sampled() -> None:
    rbm = pb.RBM(64, 3).eval()
    rbm.log_partition()
    estimate = pb.log_likelihood(rbm.model, rbm.guide, BITS)
    assert (estimate.direction, estimate.ess) == ("exact", None)
    assert estimate.value == pytest.approx(rbm.log_likelihood(BITS).value, abs=1e-5)


def test_a_saved_model_cannot_point_at_files_elsewhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    folder = vae().save(tmp_path / "model")
    settings = json.loads((folder / "model.json").read_text())
    del settings["sha256"]
    settings["weights"] = "../precious.txt"
    (folder / "model.json").write_text(json.dumps({**settings, "sha256": _sha256(_canonical(settings))}))
    for act in (lambda: pb.load(folder), lambda: vae().save(folder)):
        with pytest.raises(ArgumentError, match=r"^folder: "):
            act()
    assert precious.read_text() == "mine"


def test_a_gradient_that_turns_nan_costs_less_than_an_epoch() -> None:
    model, seen = vae(), []

    class Poison(pb.Callback):
        def on_epoch_end(self, training: Any) -> None:
            seen.append(model.encoder[0].weight.detach().clone())  # type: ignore[index]
            if training.epoch == 3:
                model.encoder[0].weight.register_hook(lambda g: g * float("nan"))  # type: ignore[index]

    with pytest.raises(NonFiniteError):
        model.fit(BITS, epochs=5, batch_size=20, seed=0, callbacks=[Poison()])
    assert torch.equal(model.encoder[0].weight, seen[-1])  # type: ignore[index]
    assert len(seen) == 3
    assert not model.training
