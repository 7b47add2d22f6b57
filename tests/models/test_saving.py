"""Models in folders: whatever happens to the files, what is loaded is what was saved, or an error says why not."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import probae as pb
from probae.distributions.likelihoods import Likelihood
from probae.errors import ArgumentError
from probae.models import budget, files, saving
from probae.models.base import Model


def vae(**options: Any) -> pb.VAE:
    return pb.VAE(9, 2, 4, {"name": "normal", "scale": 0.5}, **options)


def same(one: Model, other: Model) -> bool:
    states = one.state_dict(), other.state_dict()
    equal = states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    return equal and one.config == other.config and one.dtype == other.dtype


def weights_in(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def test_a_folder_holds_two_files(tmp_path: Path) -> None:
    folder = vae().save(tmp_path / "runs" / "deep" / "vae")
    assert isinstance(folder, Path)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    settings = json.loads((folder / "model.json").read_text())
    assert settings["model"] == "VAE"
    assert settings["weights"] == weights_in(folder).name
    assert same(pb.load(str(folder)), pb.load(folder))


def test_saving_again_replaces_the_model_and_nothing_else(tmp_path: Path) -> None:
    first, second = vae(), pb.RBM(9, 2)
    notes, tensors = tmp_path / "notes.txt", tmp_path / "model-of-somebody-else.safetensors"
    notes.write_text("mine")
    tensors.write_bytes(b"theirs")
    first.save(tmp_path)
    assert same(pb.load(tmp_path), first)
    second.save(tmp_path)
    second.save(tmp_path)
    assert torch.equal(pb.load(tmp_path).weight, second.weight)
    assert (notes.read_text(), tensors.read_bytes()) == ("mine", b"theirs")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("keep", [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["model.json", "weights"])
def test_truncated_files_are_refused(tmp_path: Path, name: str, keep: float) -> None:
    folder = vae().save(tmp_path)
    path = folder / name if name == "model.json" else weights_in(folder)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ArgumentError, match=r"^folder: "):
        pb.load(folder)


def alter(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "model.json"
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings["config"]["likelihood"].update(scale=0.6),
        lambda settings: settings["config"].update(activation="relu"),
        lambda settings: settings["config"]["guide"].update(name="delta"),
        lambda settings: settings.update(dtype="float64"),
        lambda settings: settings.update(model="SparseAutoencoder"),
        lambda settings: settings.pop("dtype"),
        lambda settings: settings.pop("sha256"),
        lambda settings: settings.update(more=1),
        lambda settings: settings.update(sha256=None),
    ],
)
def test_an_altered_configuration_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Each would load silently, as another model, if only the weights had a digest."""
    folder = vae().save(tmp_path)
    alter(folder, change)
    with pytest.raises(ArgumentError, match=r"folder: .*truncated or altered"):
        pb.load(folder)


def test_the_order_and_the_spaces_of_the_configuration_do_not_matter(tmp_path: Path) -> None:
    model = vae()
    folder = model.save(tmp_path)
    settings = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(dict(reversed(settings.items())), separators=(",", ":")))
    assert same(pb.load(folder), model)


def test_swapped_weights_are_refused(tmp_path: Path) -> None:
    one, other = vae().save(tmp_path / "one"), vae().save(tmp_path / "other")
    weights_in(one).write_bytes(weights_in(other).read_bytes())
    with pytest.raises(ArgumentError, match="altered"):
        pb.load(one)
    weights_in(one).unlink()
    with pytest.raises(ArgumentError, match=r"folder: .*No such file"):
        pb.load(one)


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = vae().save(tmp_path)
    alter(folder, lambda settings: settings.update(format=3))
    for use in (pb.load, vae().save):
        with pytest.raises(ArgumentError, match="folder: expected a model of format 2; got format 3"):
            use(folder)


@pytest.mark.parametrize("content", [None, "", "[]", "1", "{}", '{"format": 1}', '{"architectures": ["Bert"]}', "\x00"])
def test_foreign_folders_are_refused_and_left_alone(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(ArgumentError, match=r"^folder: "):
        pb.load(tmp_path)
    if content is not None:
        with pytest.raises(ArgumentError, match=r"^folder: "):
            vae().save(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["model.json"]
        assert (tmp_path / "model.json").read_text() == content


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArgumentError, match=r"folder: expected a folder; got .*file, a file"):
        vae().save(tmp_path / "file")
    with pytest.raises(ArgumentError, match=r"^folder: "):
        pb.load(tmp_path / "file")
    with pytest.raises(ArgumentError, match=r"^folder: "):
        pb.load(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_folder_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also where permissions stop nobody, as for the administrator: the system's answer is played."""
    model, folder, genuine = vae(), tmp_path / "vae", getattr(Path, name)

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if name == "mkdir" or "x" in args[0]:
            raise PermissionError(13, "Permission denied", str(path))
        return genuine(path, *args, **options)

    monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(ArgumentError, match=r"^folder: expected a folder that can be written to; got .*Permission"):
        model.save(folder)
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("name", ["my models/the best one", "Модель №1 – 模型", "a'b\"c", " ", "ende."])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    model = vae()
    assert model.save(tmp_path / name) == tmp_path / name
    assert same(pb.load(str(tmp_path / name)), model)


@pytest.mark.parametrize("folder", [None, 3, b"folder", "a\0b", "x" * 5000])
def test_what_is_no_folder_is_named(folder: Any) -> None:
    for use in (pb.load, vae().save):
        with pytest.raises(ArgumentError, match=r"^folder: expected ") as raised:
            use(folder)
        assert raised.value.argument == "folder"


class Own(nn.Module):
    """Built anew by the user, and filled by `load`."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, size), nn.BatchNorm1d(size), nn.Linear(size, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_modules_of_ones_own_are_handed_in_again(tmp_path: Path) -> None:
    model = vae(encoder=Own())
    model.fit(torch.randn(20, 9), epochs=1, seed=0)
    folder, fresh = model.save(tmp_path), Own()
    loaded = pb.load(folder, encoder=fresh)
    assert loaded.encoder is fresh
    assert same(loaded, model)
    x = torch.randn(5, 9)
    torch.testing.assert_close(loaded.embed(x), model.embed(x), rtol=0, atol=0)
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "encoder: expected your own module, with which the model was built; got None"),
        ({"encoder": Own(), "decoder": nn.Linear(2, 9)}, "decoder: expected none: the model has its own; got Linear"),
        ({"encoder": Own(5)}, r"encoder: expected the module that was saved, with .*\(4,\) as encoder.*; got .*\(5,\)"),
        ({"encoder": Own().layers}, "encoder: expected the module that was saved, with nothing as encoder.0.bias"),
        ({"encoder": "mine"}, "encoder: expected a torch.nn.Module; got str"),
        ({"encoder": Own(), "coder": Own()}, "coder: expected none"),
    ]
    for modules, message in bad:
        with pytest.raises(ArgumentError, match=message):
            pb.load(folder, **modules)


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    encoder, decoder = nn.Linear(9, 9, bias=False), nn.Linear(9, 9, bias=False)
    decoder.weight = encoder.weight
    model = pb.Autoencoder(9, 9, encoder=encoder, decoder=decoder)
    fresh = nn.Linear(9, 9, bias=False)
    assert same(pb.load(model.save(tmp_path), encoder=fresh, decoder=fresh), model)


class Mine(Likelihood):
    """A likelihood that `load` does not know."""

    distribution = mean = outputs_for = lambda self, outputs: outputs
    check = lambda self, argument, x: None  # noqa: E731
    config = property(lambda self: {"name": "mine"})


class Strange(Model):
    """A model that `load` does not know."""

    model = guide = log_likelihood = sample = lambda self: None
    config = property(lambda self: {"data_shape": [9]})


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"likelihood: expected one of .*; got 'mine'"):
        pb.VAE(9, 2, 4, Mine(9)).save(tmp_path / "mine")
    strange = Strange(9)
    strange.register_buffer("x", torch.zeros(1))
    with pytest.raises(ArgumentError, match=r"model: expected one of .*; got 'Strange'"):
        strange.save(tmp_path / "strange")
    assert not list(tmp_path.iterdir())


def test_a_model_that_its_configuration_does_not_rebuild_is_not_written(tmp_path: Path) -> None:
    """Else it would be found out when it is loaded, which is too late."""
    model = vae()
    model.encoder = nn.Linear(9, 4)
    with pytest.raises(ArgumentError, match=r"model: expected a model that its config rebuilds; got VAE with parts"):
        model.save(tmp_path / "vae")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extra", [{"more": {1, 2}}, {"more": "x" * 2**20}], ids=["no JSON", "too long"])
def test_a_configuration_that_could_not_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    model = vae()
    config = {**model.config, **extra}
    monkeypatch.setattr(pb.VAE, "config", property(lambda self: config))
    monkeypatch.setattr(saving, "_build", lambda name, config, modules: model)
    with pytest.raises(ArgumentError, match=r"^model: expected a (model whose config holds JSON|configuration of)"):
        model.save(tmp_path / "vae")
    assert not list(tmp_path.iterdir())


class Noted(nn.Linear):
    """Its state holds more than tensors."""

    def get_extra_state(self) -> Any:
        return {"note": "mine"}

    def set_extra_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize("make", [lambda: vae(encoder=Noted(9, 4)), lambda: vae().to("meta")], ids=["object", "meta"])
def test_a_state_that_is_no_numbers_is_not_written(tmp_path: Path, make: Callable[[], pb.VAE]) -> None:
    with pytest.raises(ArgumentError, match=r"^model: expected a model whose state is tensors with data; got another"):
        make().save(tmp_path / "vae")
    assert not list(tmp_path.iterdir())


class Counting(nn.Linear):
    """Keeps a count and a sum, the one in integers and the other in double precision, whatever the model's."""

    def __init__(self) -> None:
        super().__init__(9, 4)
        self.register_buffer("count", torch.tensor(2**60 + 1))
        self.register_buffer("total", torch.tensor(1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("convert", [lambda model: model, lambda model: model.double(), lambda model: model.half()])
def test_every_tensor_keeps_its_precision(tmp_path: Path, convert: Callable[[pb.VAE], pb.VAE]) -> None:
    model = convert(vae(encoder=Counting()))
    loaded = pb.load(model.save(tmp_path), encoder=Counting())
    assert same(loaded, model)
    assert {name: x.dtype for name, x in loaded.state_dict().items()} == {
        name: x.dtype for name, x in model.state_dict().items()
    }
    assert loaded.prior.distribution().mean.dtype == model.dtype


def test_a_learned_scale_is_saved(tmp_path: Path) -> None:
    model = pb.VAE(9, 2, 4, {"name": "normal", "learned": True})
    model.fit(torch.randn(20, 9), epochs=3, learning_rate=0.1, seed=0)
    assert model.likelihood.scale.item() != pytest.approx(1.0, abs=1e-3)  # type: ignore[operator, union-attr]
    loaded = pb.load(model.save(tmp_path))
    assert torch.equal(loaded.likelihood.scale, model.likelihood.scale)


def test_devices(tmp_path: Path) -> None:
    folder = vae().save(tmp_path)
    assert pb.load(folder, device=torch.device("cpu")).device.type == "cpu"
    assert pb.load(folder, device="meta").device.type == "meta"
    for device in ("cuda:99", "nowhere", 1.5):
        with pytest.raises(ArgumentError, match=r"^device: expected a device of this machine"):
            pb.load(folder, device=device)  # type: ignore[arg-type]


def test_a_model_from_elsewhere_loads_on_the_cpu(tmp_path: Path) -> None:
    """What is written holds no device; the meta device stands for one that is not here."""
    saved = vae()
    folder = saved.save(tmp_path)
    assert "device" not in (folder / "model.json").read_text()
    assert b"cuda" not in weights_in(folder).read_bytes()
    assert same(pb.load(folder), saved)


@pytest.mark.gpu
def test_a_model_saved_on_a_gpu_loads_on_the_cpu_and_back(tmp_path: Path) -> None:
    model = vae().cuda()
    loaded = pb.load(model.save(tmp_path))
    assert loaded.device.type == "cpu"
    assert same(loaded, model.cpu())
    assert pb.load(tmp_path, device="cuda").device.type == "cuda"


def test_nothing_is_unpickled() -> None:
    """The modules that read models cannot: they import no pickle, and call no `torch.load`."""
    for module in (saving, files, budget):
        tree = ast.parse(Path(module.__file__).read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not imported & {"pickle", "dill", "joblib", "shelve", "marshal"}
        assert not called & {"torch.load", "eval", "exec", "__import__"}
