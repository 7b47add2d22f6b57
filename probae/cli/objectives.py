"""The objective of a command: any that probae exports, by name, with its settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import probae
from probae import checks
from probae.cli.options import Option, options_of
from probae.distributions.named import make
from probae.errors import ArgumentError
from probae.inference.objective import Objective


def objectives() -> dict[str, type[Objective]]:
    """The objectives that can be written with all that they need, by names in small letters: "elbo", "iwae", ..."""
    found = ((name.lower(), kind) for name, kind in vars(probae).items() if isinstance(kind, type))
    return {name: kind for name, kind in found if issubclass(kind, Objective) and _needed(kind) <= _written(kind)}


def objective_option() -> Option:
    """By default the model's own objective."""
    forms = []
    for name, kind in objectives().items():
        settings = (o.name if o.required else f"{o.name}={o.default}" for o in options_of(kind))
        forms.append(f"{name} ({', '.join(settings)})")
    text = f"what training minimizes, by default the model's own: {' or '.join(forms)}"
    return Option("objective", str | dict[str, Any] | None, text=text)


def complete(given: str | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The objective that is meant with all its settings, those that were not given at their defaults.

    Example:
        >>> complete({"name": "iwae", "num_particles": 5})
        {'name': 'iwae', 'num_particles': 5, 'gradient': 'standard', 'vectorize': True}
    """
    if given is None:
        return None
    settings = {"name": given} if isinstance(given, str) else dict(given)
    return settings | {o.name: o.default for o in options_of(objectives()[settings["name"]]) if o.name not in settings}


def objective(given: str | Mapping[str, Any] | None) -> Objective | None:
    """The objective itself; None for the model's own.

    Raises:
        ArgumentError: names `objective`; for an unknown name or setting, or one without which there is no objective.
    """
    if given is None:
        return None
    settings = {"name": given} if isinstance(given, str) else given
    name = checks.choice("objective", settings.get("name"), objectives())
    for option in options_of(objectives()[name]):
        if option.required and option.name not in settings:
            raise ArgumentError(f"objective.{option.name}", f"{option.values}, which {name} needs", "none")
    return make("objective", settings, Objective, objectives())


def _needed(kind: type[Objective]) -> set[str]:
    """The arguments that have no default."""
    return {name for name, p in inspect.signature(kind).parameters.items() if p.default is p.empty}


def _written(kind: type[Objective]) -> set[str]:
    return {option.name for option in options_of(kind)}
