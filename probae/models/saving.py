"""Models in folders: a JSON configuration and safetensors, written whole or not at all, never unpickled."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
import secrets
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from probae.checks import choice
from probae.errors import ArgumentError
from probae.models import files
from probae.models.base import Model
from probae.models.budget import Budget

FORMAT = 2
_FIELDS = {
    "format": int, "probae": str, "model": str, "config": dict, "own_modules": list, "dtype": str, "weights": str,
    "weights_bytes": int, "weights_sha256": str,
}  # fmt: skip
_LIMIT = 2**20
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def save(model: Model, folder: str | Path) -> Path:
    """Write `model.json` and the weights that it names, `model-(a name of its own).safetensors`, into a folder.

    The weights come first; then one atomic replacement of `model.json` makes the new model the current one, and the old
    weights go. Whatever fails before, a crash of the machine included, leaves the old model as it was, and any number
    of processes may save into one folder and load from it at once: each reads a whole model, one of theirs.

    Returns:
        The folder.

    Raises:
        ArgumentError: names `folder` if it is a file, holds a `model.json` that is no model's, or cannot be written to;
            or the part of the model that could not be read back.
    """
    target = _path(folder)
    old, settings, content = _present(target), _settings(model), _weights(model)
    settings |= {
        "weights": f"model-{secrets.token_hex(8)}.safetensors",
        "weights_bytes": len(content),
        "weights_sha256": _sha256(content),
    }
    text = (json.dumps({**settings, "sha256": _sha256(_canonical(settings))}, indent=2) + "\n").encode()
    if len(text) > _LIMIT:
        raise ArgumentError("model", f"a configuration of at most {_LIMIT} bytes", len(text))
    try:
        target.mkdir(parents=True, exist_ok=True)
        files.commit(target / settings["weights"], content, target / "model.json", text)
        if old is not None:
            (target / old).unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # the latter from a name with a null byte
        raise ArgumentError("folder", "a folder that can be written to", f"{target}: {error}") from error
    return target


def load(folder: str | Path, *, device: str | torch.device = "cpu", **modules: nn.Module) -> Any:
    """Read a model that `model.save(folder)` has written.

    Nothing in the folder is run or unpickled, and what is built is no larger than its weights account for. The digests
    notice every accident; they are no signature, so a folder from a stranger holds the model that the stranger chose.

    Args:
        folder: where it is.
        device: where to put it, whatever device it was saved on.
        modules: `encoder=` and `decoder=` where they were modules of your own.

    Returns:
        The model, in evaluation mode.

    Raises:
        ArgumentError: names `folder` and what is wrong with it: missing, foreign, of another format, truncated or
            altered; or the module that has to be handed in again, or is not like the one that was saved; or the device.

    Example:
        >>> import tempfile
        >>> from probae import VAE
        >>> folder = VAE(9, latent_dim=2, hidden=4).save(tempfile.mkdtemp() + "/vae")
        >>> type(load(folder)).__name__
        'VAE'
    """
    path = _path(folder)
    settings, content = _read_both(path)
    _check_own(settings["own_modules"], modules)
    try:
        model = _rebuild(settings, safetensors.torch.load(content), modules)
    except Exception as error:  # of any kind, since a configuration of another version may break any constructor
        if isinstance(error, ArgumentError) and error.argument in modules:
            raise
        import probae

        got = f"{path}, written by probae {settings['probae'][:20]}: {str(error)[:1000]}"
        raise ArgumentError("folder", f"a model that probae {probae.__version__} can build", got) from error
    try:
        return model.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError("device", "a device of this machine", f"{device!r}: {error}") from error


def _path(folder: Any) -> Path:
    try:
        return Path(folder)
    except TypeError as error:
        raise ArgumentError("folder", "a path", type(folder).__name__) from error


def _present(folder: Path) -> str | None:
    """The name of the weights of the model that is there already, if there is one."""
    try:
        there, empty = folder.is_dir() or not folder.exists(), not (folder / "model.json").exists()
    except (OSError, ValueError) as error:
        raise ArgumentError("folder", "a path that can be looked into", f"{folder}: {error}") from error
    if not there:
        raise ArgumentError("folder", "a folder", f"{folder}, a file")
    return None if empty else _read(folder)["weights"]


def _settings(model: Model) -> dict[str, Any]:
    """What rebuilds the model, the weights aside; it is tried out, so that nothing is written that cannot be read."""
    import probae

    settings = {
        "format": FORMAT,
        "probae": probae.__version__,
        "model": type(model).__name__,
        "config": _json(model.config),
        "own_modules": list(getattr(model, "own_modules", ())),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    own = {name: getattr(model, name) for name in settings["own_modules"]}
    twin = _build(settings["model"], settings["config"], own)
    if type(twin) is not type(model):
        raise ArgumentError("model", "a model of probae", f"another class of the name {settings['model']}")
    choice("dtype", settings["dtype"], _DTYPES)
    if _canonical(twin.config) != _canonical(model.config) or _shapes(twin) != _shapes(model):
        raise ArgumentError("model", "a model that its config rebuilds", f"{settings['model']} with parts that differ")
    return settings


def _check_own(own: list[str], modules: dict[str, nn.Module]) -> None:
    """Refuse a module that was not asked for, and ask for one that is missing."""
    for name in sorted(set(own) ^ modules.keys()):
        wanted = "your own module, with which the model was built" if name in own else "none: the model has its own"
        raise ArgumentError(name, wanted, type(modules[name]).__name__ if name in modules else None)


def _rebuild(settings: dict[str, Any], tensors: dict[str, Tensor], modules: dict[str, Any]) -> Model:
    """The saved model, with each tensor in the dtype in which it was saved."""
    with Budget(tensors.values()):
        model = _build(settings["model"], settings["config"], modules)
    model.to(_DTYPES[choice("dtype", settings["dtype"], _DTYPES)])
    state = model.state_dict(keep_vars=True)
    for name in sorted(state.keys() | tensors.keys()):
        ours, saved = _in_words(state.get(name)), _in_words(tensors.get(name))
        part = name.partition(".")[0]
        if ours != saved and part in modules:
            raise ArgumentError(part, f"the module that was saved, with {saved} as {name}", f"one with {ours}")
        if ours != saved:
            raise ValueError(f"{name} is {saved}, and not {ours}")
        state[name].data = state[name].data.to(tensors[name].dtype)
    model.load_state_dict(tensors)
    return model


def _in_words(x: Tensor | None) -> str:
    """Shape and type of a tensor; all floating-point types are one, since a whole model may be converted."""
    if x is None:
        return "nothing"
    return f"{'floating-point numbers' if x.is_floating_point() else x.dtype} of shape {tuple(x.shape)}"


def _build(name: str, config: dict[str, Any], modules: dict[str, Any]) -> Model:
    """A fresh model of that configuration, on the CPU; the global random state stays as it was."""
    import probae

    models = {key: kind for key, kind in vars(probae).items() if isinstance(kind, type) and issubclass(kind, Model)}
    kind: Any = models[choice("model", name, models)]
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        return kind(**config, **modules)


def _json(config: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise ArgumentError("model", "a model whose config holds JSON values", f"another: {error}") from error


def _shapes(model: Model) -> dict[str, Any]:
    return {name: getattr(x, "shape", None) for name, x in model.state_dict().items()}


def _weights(model: Model) -> bytes:
    """The state as a safetensors file; clones, since tensors that share memory (tied weights) cannot be written."""
    try:
        tensors = {name: x.detach().cpu().contiguous().clone() for name, x in model.state_dict().items()}
        return safetensors.torch.save(tensors)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise ArgumentError("model", "a model whose state is tensors with data", f"another: {error}") from error


def _read_both(folder: Path) -> tuple[dict[str, Any], bytes]:
    """`model.json` and the weights that it names; again, where a new model has taken the place of the old between."""
    settings = _read(folder)
    while True:
        path = folder / settings["weights"]
        try:
            content = files.read(path, settings["weights_bytes"])
        except (OSError, MemoryError) as error:
            newer = _read(folder)
            if newer == settings:
                raise ArgumentError("folder", "a saved model's weights", f"{path}: {error}") from error
            settings = newer
        else:
            break
    if _sha256(content) != settings["weights_sha256"]:
        raise ArgumentError("folder", "the weights that were saved", f"{path}, which is truncated or altered")
    return settings, content


def _read(folder: Path) -> dict[str, Any]:
    """The content of `model.json`, its own digest checked and taken off."""
    path = folder / "model.json"
    try:
        settings = json.loads(files.read(path, _LIMIT).decode())
        digest = settings.pop("sha256", None) if isinstance(settings, dict) else None
        canonical = _canonical(settings)
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError("folder", "a folder with a saved model", f"{path}: {error}") from error
    if not isinstance(settings, dict) or "format" not in settings:
        raise ArgumentError("folder", "a saved model's model.json", f"{path} with other content")
    if settings["format"] != FORMAT:
        raise ArgumentError("folder", f"a model of format {FORMAT}", f"format {reprlib.repr(settings['format'])}")
    whole = digest == _sha256(canonical) and settings.keys() == _FIELDS.keys()
    if not whole or not _well_formed(settings):
        raise ArgumentError("folder", "the model.json that was saved", f"{path}, which is truncated or altered")
    return settings


def _well_formed(settings: dict[str, Any]) -> bool:
    """The types of all fields, and a name of ours: whoever wrote this file does not point us at files elsewhere."""
    typed = all(isinstance(settings[name], kind) for name, kind in _FIELDS.items())
    named = typed and re.fullmatch(r"model-[0-9a-f]{16}\.safetensors", settings["weights"])
    return bool(named) and all(isinstance(name, str) and name.isidentifier() for name in settings["own_modules"])


def _canonical(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


__all__ = ["load", "save"]
