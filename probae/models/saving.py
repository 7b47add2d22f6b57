"""Models in folders: a JSON configuration and safetensors, written whole or not at all, never unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from probae.checks import choice
from probae.errors import ArgumentError
from probae.models.base import Model

FORMAT = 1
_FIELDS = {"format", "model", "config", "own_modules", "dtype", "weights", "weights_sha256"}
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def save(model: Model, folder: str | Path) -> Path:
    """Write `model.json` and the weights that it names, `model-(digest).safetensors`, into a folder.

    The weights come first, under a name that no other content has; then one atomic replacement of `model.json` makes
    the new model the current one, and the old weights go. Whatever fails before leaves the old model as it was.

    Returns:
        The folder.

    Raises:
        ArgumentError: names `folder` if it is a file, or holds a `model.json` that is no model's; or the part of the
            model that could not be read back.
    """
    target = Path(folder)
    old = _present(target)
    settings = _settings(model)
    # Clones, since tensors that share memory (tied weights) cannot be written.
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in model.state_dict().items()}
    target.mkdir(parents=True, exist_ok=True)
    written = target / f".model-{os.getpid()}.tmp"
    try:
        save_file(tensors, written)
        digest = _sha256(written.read_bytes())
        settings |= {"weights": f"model-{digest[:16]}.safetensors", "weights_sha256": digest}
        os.replace(written, target / settings["weights"])
        written.write_text(json.dumps({**settings, "sha256": _sha256(_canonical(settings))}, indent=2) + "\n")
        os.replace(written, target / "model.json")
    finally:
        written.unlink(missing_ok=True)
    if old is not None and old != settings["weights"]:
        (target / old).unlink(missing_ok=True)
    return target


def load(folder: str | Path, *, device: str | torch.device = "cpu", **modules: nn.Module) -> Any:
    """Read a model that `model.save(folder)` has written.

    Args:
        folder: where it is.
        device: where to put it, whatever device it was saved on.
        modules: `encoder=` and `decoder=` where they were modules of your own.

    Returns:
        The model, in evaluation mode.

    Raises:
        ArgumentError: names `folder` and what is wrong with it: missing, foreign, of another format, truncated or
            altered; or the module that has to be handed in again; or the device.

    Example:
        >>> import tempfile
        >>> from probae import VAE
        >>> folder = VAE(9, latent_dim=2, hidden=4).save(tempfile.mkdtemp() + "/vae")
        >>> type(load(folder)).__name__
        'VAE'
    """
    path = Path(folder)
    settings = _read(path)
    own = settings["own_modules"]
    odd = sorted(set(own) ^ modules.keys())
    if odd:
        wanted = "your own module, with which the model was built" if odd[0] in own else "none: the model has its own"
        raise ArgumentError(odd[0], wanted, type(modules[odd[0]]).__name__ if odd[0] in modules else None)
    model = _build(settings["model"], settings["config"], modules).to(_DTYPES[settings["dtype"]])
    weights = path / settings["weights"]
    try:
        if _sha256(weights.read_bytes()) != settings["weights_sha256"]:
            raise ArgumentError("folder", "the weights that were saved", f"{weights}, which is truncated or altered")
        model.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ArgumentError("folder", "a saved model's weights", f"{weights}: {error}") from error
    try:
        return model.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ArgumentError("device", "a device of this machine", f"{device!r}: {error}") from error


def _present(folder: Path) -> str | None:
    """The name of the weights of the model that is there already, if there is one."""
    if folder.exists() and not folder.is_dir():
        raise ArgumentError("folder", "a folder", f"{folder}, a file")
    return _read(folder)["weights"] if (folder / "model.json").exists() else None


def _settings(model: Model) -> dict[str, Any]:
    """What rebuilds the model, the weights aside; it is tried out, so that nothing is written that cannot be read."""
    settings = {
        "format": FORMAT,
        "model": type(model).__name__,
        "config": json.loads(json.dumps(model.config)),
        "own_modules": list(getattr(model, "own_modules", ())),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    own = {name: getattr(model, name) for name in settings["own_modules"]}
    if type(_build(settings["model"], settings["config"], own)) is not type(model):
        raise ArgumentError("model", "a model of probae", f"another class of the name {settings['model']}")
    return settings


def _build(name: str, config: dict[str, Any], modules: dict[str, Any]) -> Model:
    """A fresh model of that configuration; the global random state stays as it was."""
    import probae

    models = {key: kind for key, kind in vars(probae).items() if isinstance(kind, type) and issubclass(kind, Model)}
    kind: Any = models[choice("model", name, models)]
    with torch.random.fork_rng(devices=[]):
        return kind(**config, **modules)


def _read(folder: Path) -> dict[str, Any]:
    """The content of `model.json`, its own digest checked and taken off."""
    path = folder / "model.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError("folder", "a folder with a saved model", f"{folder}: {error}") from error
    if not isinstance(settings, dict) or "format" not in settings:
        raise ArgumentError("folder", "a saved model's model.json", f"{path} with other content")
    if settings["format"] != FORMAT:
        raise ArgumentError("folder", f"a model of format {FORMAT}", f"format {settings['format']!r}")
    digest = settings.pop("sha256", None)
    whole = settings.keys() == _FIELDS and digest == _sha256(_canonical(settings))
    # A name of ours and nothing else: whoever wrote this file does not point us at files elsewhere.
    if not whole or not re.fullmatch(r"model-[0-9a-f]{16}\.safetensors", str(settings["weights"])):
        raise ArgumentError("folder", "the model.json that was saved", f"{path}, which is truncated or altered")
    return settings


def _canonical(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


__all__ = ["load", "save"]
