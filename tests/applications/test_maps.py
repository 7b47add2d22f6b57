"""The map over the epochs is that of each epoch, and looking at it changes nothing of a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import probae as pb
from probae.applications import MapRecorder
from probae.errors import ArgumentError, DataError

BITS = pb.data.load("digits")
DATA, FEW = BITS.train[:100], BITS.valid[:20]
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 20, "seed": 0}


def vae() -> pb.VAE:
    torch.manual_seed(0)
    return pb.VAE(64, 2, 16)


@pytest.mark.parametrize("compile", ["eager", "trace"])
def test_each_map_is_that_of_its_epoch(compile: str) -> None:
    model = vae()
    before, recorder = model.embed(FEW).double(), MapRecorder(model, FEW)
    model.fit(DATA, **SETTINGS, compile=compile, callbacks=[recorder])
    assert recorder.epochs == [0, 1, 2, 3]
    assert recorder.codes.shape == (4, 20, 2)
    assert recorder.codes.dtype == torch.float64
    assert torch.equal(recorder.codes[0], before)
    assert torch.equal(recorder.codes[3], model.embed(FEW).double())
    shorter = vae()
    shorter.fit(DATA, **{**SETTINGS, "epochs": 2}, compile=compile)
    assert torch.equal(recorder.codes[2], shorter.embed(FEW).double())
    assert torch.equal(recorder.labels, FEW.labels)


def test_a_run_that_is_watched_is_the_same_run() -> None:
    """Also of a model that draws while it trains, whose encoder draws nothing when it embeds."""
    for make in (vae, lambda: pb.DenoisingAutoencoder(64, 4, 16, likelihood="bernoulli"), lambda: pb.RBM(64, 5)):
        states = []
        for watched in (False, True):
            torch.manual_seed(0)
            model: Any = make()
            callbacks = [MapRecorder(model, FEW)] if watched else []
            model.fit(DATA, **SETTINGS, callbacks=callbacks)
            states.append(model.state_dict())
        for name, tensor in states[0].items():
            assert torch.equal(tensor, states[1][name]), name


def test_every_other_epoch_and_the_last() -> None:
    model = vae()
    recorder = MapRecorder(model, FEW, every=2)
    model.fit(DATA, **{**SETTINGS, "epochs": 5}, callbacks=[recorder])
    assert recorder.epochs == [0, 2, 4, 5]


def test_a_run_that_goes_on_adds_to_it_and_a_new_one_begins_anew() -> None:
    model = vae()
    recorder = MapRecorder(model, FEW)
    part = model.fit(DATA, **{**SETTINGS, "epochs": 2}, callbacks=[recorder])
    first = recorder.codes
    model.fit(DATA, **{**SETTINGS, "epochs": 4}, resume=part.state, callbacks=[recorder])
    assert recorder.epochs == [0, 1, 2, 3, 4]
    assert torch.equal(recorder.codes[:3], first)
    now = model.embed(FEW).double()
    model.fit(DATA, **{**SETTINGS, "epochs": 1}, callbacks=[recorder])
    assert recorder.epochs == [0, 1]
    assert torch.equal(recorder.codes[0], now)
    assert len(recorder.codes) == 2


def test_what_makes_no_sense_is_named_before_anything_is_trained() -> None:
    for name, error, call in [
        ("model", ArgumentError, lambda: MapRecorder(object(), FEW)),
        ("x", DataError, lambda: MapRecorder(vae(), torch.zeros(5, 3))),
        ("labels", DataError, lambda: MapRecorder(vae(), FEW, labels=torch.zeros(3, dtype=torch.long))),
        ("every", ArgumentError, lambda: MapRecorder(vae(), FEW, every=0)),
        ("callbacks", ArgumentError, lambda: MapRecorder(vae(), FEW).codes),
    ]:
        with pytest.raises(error) as raised:
            call()
        assert raised.value.argument == name
