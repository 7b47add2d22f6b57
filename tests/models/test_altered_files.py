"""A thousand altered folders, and forged ones: what loads is what was saved, or a clear error names the folder."""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import probae as pb
from probae.errors import ArgumentError
from probae.models.base import Model
from probae.models.saving import _canonical, _sha256
from tests.models.alterations import ALTERATIONS, VALUES, Files, parents


def make() -> pb.VAE:
    return pb.VAE(9, 2, 4, {"name": "normal", "scale": 0.5})


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put(folder: Path, altered: Files) -> None:
    """Exactly these files."""
    for path in folder.iterdir():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in altered.items():
        if isinstance(content, Path):
            (folder / name).symlink_to(content)
        else:
            (folder / name).write_bytes(content)


def same(one: Model, other: Model) -> bool:
    states = one.state_dict(), other.state_dict()
    equal = states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    dtypes = [{name: x.dtype for name, x in state.items()} for state in states]
    return equal and dtypes[0] == dtypes[1] and repr(one) == repr(other) and one.config == other.config


@dataclass
class Saved:
    """A model, its folder and what is in it, beside what another model's folder holds."""

    model: Model
    folder: Path
    files: Files
    other: Files

    @property
    def weights(self) -> str:
        return next(name for name in self.files if name != "model.json")

    def load(self, altered: Files, argument: str = "folder") -> Model | ArgumentError:
        """The model that these files give, or the error, which must name the folder and be short enough to read."""
        put(self.folder, altered)
        try:
            return pb.load(self.folder)
        except ArgumentError as error:
            raised = error
        assert raised.argument == argument
        assert len(str(raised)) < 2000
        return raised


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    model = make()
    folder, other = model.save(tmp_path / "one"), make().save(tmp_path / "other")
    return Saved(model, folder, contents(folder), contents(other))


def test_a_thousand_altered_folders(saved: Saved) -> None:
    """Each is refused, or its model is the one that was saved: then the change meant nothing, such as a space."""
    refused, harmless, kinds = set[str](), list[str](), list(ALTERATIONS)
    for seed in range(1000):
        rng, kind, altered = random.Random(seed), kinds[seed % len(kinds)], dict(saved.files)
        while altered == saved.files:
            ALTERATIONS[kind](rng, altered, rng.choice(list(saved.files)), saved.other)
        result = saved.load(altered)
        if isinstance(result, ArgumentError):
            refused.add(kind)
        else:
            assert same(result, saved.model), (seed, kind)
            harmless.append(kind)
    assert refused >= ALTERATIONS.keys() - {"lines as in Windows"}
    assert len(harmless) <= 50, "more than lines, spaces and what stands for itself"
    assert same(pb.load(saved.model.save(saved.folder.parent / "again")), saved.model)


def test_what_means_nothing_is_no_alteration(saved: Saved) -> None:
    text = saved.files["model.json"].decode()  # type: ignore[union-attr]
    settings = json.loads(text)
    copy = saved.folder.parent / "weights elsewhere"
    copy.write_bytes(saved.files[saved.weights])  # type: ignore[arg-type]
    harmless: list[Files] = [
        {"model.json": text.replace("\n", "\r\n").encode()},
        {"model.json": json.dumps(dict(reversed(settings.items())), separators=(",", ":")).encode()},
        {"model.json": text.replace('"VAE"', '"\\u0056AE"').encode()},
        {"model.json": text.replace("0.5", "0.50000000000000000001").encode()},
        {saved.weights: copy},
        {"notes.txt": b"mine"},
    ]
    for change in harmless:
        assert same(saved.load({**saved.files, **change}), saved.model)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_and_does_not_hang(saved: Saved, kind: str) -> None:
    for name in saved.files:
        put(saved.folder, {other: content for other, content in saved.files.items() if other != name})
        (os.mkfifo if kind == "pipe" else os.mkdir)(saved.folder / name)
        with pytest.raises(ArgumentError, match=r"^folder: .*not a regular file"):
            pb.load(saved.folder)


# Forged folders, whose digests are right.


def forge(files: Files, change: Callable[[dict[str, Any]], Any], weights: bytes | None = None) -> Files:
    """The folder with a changed `model.json` and other weights, and digests that say that all is well."""
    settings = json.loads(files["model.json"])  # type: ignore[arg-type]
    del settings["sha256"]
    name = settings["weights"]
    if weights is not None:
        settings |= {"weights_bytes": len(weights), "weights_sha256": _sha256(weights)}
    change(settings)
    text = json.dumps({**settings, "sha256": _sha256(_canonical(settings))})
    return {"model.json": text.encode(), name: files[name] if weights is None else weights}


def test_forged_settings_of_every_kind_are_refused_or_loaded_and_no_other_error_comes(saved: Saved) -> None:
    """Each value of `model.json` in turn is replaced by each of `VALUES`."""
    settings = json.loads(saved.files["model.json"])  # type: ignore[arg-type]
    del settings["sha256"]
    count, refused = len(list(parents(settings))), 0
    for number, value in itertools.product(range(count), VALUES):

        def change(forged: dict[str, Any], number: int = number, value: Any = value) -> None:
            container, key = list(parents(forged))[number]
            container[key] = value

        refused += isinstance(saved.load(forge(saved.files, change)), ArgumentError)
    assert 0.8 * count * len(VALUES) < refused < count * len(VALUES)  # some values are as good as those saved


@pytest.mark.parametrize("found", [0, 1, -1, 2.0, "2", None, [1], 10**4000, float("nan")])
def test_other_formats_are_named(saved: Saved, found: Any) -> None:
    result = saved.load(forge(saved.files, lambda settings: settings.update(format=found)))
    assert isinstance(result, ArgumentError)
    if found != 2:
        assert "expected a model of format 2; got format " in str(result)


@pytest.mark.parametrize(
    "config",
    [
        {"hidden": [10**5, 10**5]},
        {"hidden": [10**5] * 10},
        {"latent_dim": 10**9},
        {"data_shape": [10**6, 10**6]},
        {"latent_dim": 10**30},
        {"hidden": [1] * 10**5},
    ],
)
def test_a_configuration_cannot_ask_for_more_than_its_weights_account_for(saved: Saved, config: dict[str, Any]) -> None:
    """Terabytes, or layers without end."""
    result = saved.load(forge(saved.files, lambda settings: settings["config"].update(config)))
    assert isinstance(result, ArgumentError)
    assert "a model that probae" in str(result)


def test_a_model_of_another_version_is_named_with_its_version(saved: Saved) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["config"]["telepathy"] = True
        settings["probae"] = "9.9.9"

    result = str(saved.load(forge(saved.files, change)))
    assert f"folder: expected a model that probae {pb.__version__} can build; got {saved.folder}" in result
    assert "written by probae 9.9.9: " in result
    assert "telepathy" in result


Header = dict[str, Any]


def reordered(header: Header) -> None:
    """Two tensors that share bytes."""
    one, other, *_ = (entry for name, entry in header.items() if name != "__metadata__")
    other["data_offsets"] = one["data_offsets"]


def first(header: Header) -> dict[str, Any]:
    return next(entry for name, entry in header.items() if name != "__metadata__")


HEADERS: dict[str, Callable[[Header], Any]] = {
    "overlap": reordered,
    "beyond the end": lambda header: first(header).update(data_offsets=[0, 10**12]),
    "backwards": lambda header: first(header).update(data_offsets=[16, 0]),
    "negative": lambda header: first(header).update(data_offsets=[-4, 12]),
    "terabytes": lambda header: first(header).update(shape=[2**40, 2**20]),
    "more than there is": lambda header: first(header).update(shape=[2**63, 2**63]),
    "transposed": lambda header: header["encoder.0.weight"].update(shape=[9, 4]),
    "flat": lambda header: header["encoder.0.weight"].update(shape=[36]),
    "integers": lambda header: first(header).update(dtype="I32"),
    "complex": lambda header: first(header).update(dtype="C64", shape=[2]),
    "no such type": lambda header: first(header).update(dtype="F33"),
    "no type": lambda header: first(header).pop("dtype"),
    "renamed": lambda header: header.update({"encoder.9.bias": header.pop("encoder.0.bias")}),
    "nothing": lambda header: header.clear(),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_lie_are_refused(saved: Saved, kind: str) -> None:
    content = saved.files[saved.weights]
    assert isinstance(content, bytes)
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    HEADERS[kind](header)
    text = json.dumps(header).encode()
    weights = struct.pack("<Q", len(text)) + text + content[8 + size :]
    assert isinstance(saved.load(forge(saved.files, lambda settings: None, weights)), ArgumentError)


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**40, 2**63, 2**64 - 1])
def test_headers_of_another_size_are_refused(saved: Saved, size: int) -> None:
    weights = struct.pack("<Q", size) + saved.files[saved.weights][8:]  # type: ignore[index]
    assert isinstance(saved.load(forge(saved.files, lambda settings: None, weights)), ArgumentError)


def test_weights_of_another_model_are_refused_though_their_digest_is_right(saved: Saved) -> None:
    state = saved.model.state_dict()
    name = "encoder.0.bias"
    others = [
        pb.RBM(9, 4).state_dict(),
        pb.VAE(9, 2, 5).state_dict(),
        {},
        {key: x for key, x in state.items() if key != name},
        {**state, "more": torch.zeros(1)},
        {**state, name: torch.zeros(4, dtype=torch.int64)},
        {**state, name: torch.zeros(1, 4)},
    ]
    for tensors in others:
        forged = forge(saved.files, lambda settings: None, safetensors.torch.save(dict(tensors)))
        assert isinstance(saved.load(forged), ArgumentError)
    loaded = saved.load(forge(saved.files, lambda settings: None, safetensors.torch.save(dict(state))))
    assert isinstance(loaded, Model)
    assert same(loaded, saved.model)
