"""Models in folders: a JSON configuration and safetensors, written whole or not at all, never unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from probae.checks import choice
from probae.errors import ArgumentError
from probae.models.base import Model
from probae.models.rbm import RBM
from probae.models.sparse import SparseAutoencoder
from probae.models.vae import VAE

FORMAT = 1
MODELS: dict[str, type[Model]] = {model.__name__: model for model in (VAE, RBM, SparseAutoencoder)}


def save(model: Model, folder: str | Path) -> Path:
    """Write `model.json` and `model.safetensors` into a folder that then replaces the one of that name.

    Returns:
        The folder.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not (target / "model.json").exists() and any(target.iterdir()):
        raise ArgumentError("folder", "a new folder, or one with a saved model", f"{target}, which holds something else")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as made:
        fresh, old = Path(made) / "new", Path(made) / "old"
        fresh.mkdir()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, fresh / "model.safetensors")
        settings = {
            "format": FORMAT,
            "model": type(model).__name__,
            "config": model.config,
            "own_modules": list(getattr(model, "own_modules", ())),
            "sha256": _digest(fresh / "model.safetensors"),
        }
        (fresh / "model.json").write_text(json.dumps(settings, indent=2) + "\n")
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
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
            altered; or the module that has to be handed in again.

    Example:
        >>> import tempfile
        >>> folder = VAE(9, latent_dim=2, hidden=4).save(tempfile.mkdtemp() + "/vae")
        >>> type(load(folder)).__name__
        'VAE'
    """
    path = Path(folder)
    settings = _settings(path)
    missing = set(settings["own_modules"]) - modules.keys()
    if missing or modules.keys() - set(settings["own_modules"]):
        wanted = f"the model's own modules ({', '.join(settings['own_modules']) or 'it has none'})"
        raise ArgumentError((sorted(missing) or sorted(modules))[0], wanted, ", ".join(modules) or "none of them")
    model = MODELS[choice("folder", settings["model"], MODELS)](**settings["config"], **modules)
    weights = path / "model.safetensors"
    try:
        if _digest(weights) != settings["sha256"]:
            raise ArgumentError("folder", "the weights that were saved", f"{weights}, which is truncated or altered")
        model.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ArgumentError("folder", "a saved model's weights", f"{weights}: {error}") from error
    return model.to(device).eval()


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "model.json").read_text())
    except (OSError, ValueError) as error:
        raise ArgumentError("folder", "a folder with a saved model", f"{folder}: {error}") from error
    fields = {"format", "model", "config", "own_modules", "sha256"}
    if not isinstance(settings, dict) or settings.keys() != fields or not isinstance(settings["config"], dict):
        raise ArgumentError("folder", "a saved model's model.json", f"{folder / 'model.json'} with other content")
    if settings["format"] != FORMAT:
        raise ArgumentError("folder", f"a model of format {FORMAT}", f"format {settings['format']!r}")
    return settings


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


__all__ = ["MODELS", "load", "save"]
