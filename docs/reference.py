"""The API reference, from the code: a page for each room of the library and for each model, and the names to link to.

Public are the names of `pb.__all__`, of `pb.applications`, `pb.data`, `pb.plots`, `pb.sklearn` and `pb.errors`, the
classes that make up distributions, the networks, and the abstract bases of all these.
"""

import importlib
import inspect
import pkgutil
import re
from collections import defaultdict
from pathlib import Path

import probae as pb
from docs.docstrings import restructured, summary
from probae.engine.batches import Batch
from probae.engine.loggers import Logger
from probae.errors import ProbaeError
from probae.inference.traces import Structure
from probae.models.base import Model

README = Path(__file__).parents[1] / "README.md"

ROOMS = {
    "models": "Models",
    "engine": "Training",
    "inference": "Objectives and negative phases",
    "evaluation": "Estimates",
    "data": "Data",
    "distributions": "Distributions",
    "networks": "Networks",
    "applications": "Applications",
    "plots": "Pictures",
    "sklearn": "In scikit-learn",
    "errors": "Errors",
}
"""Their titles, in the order of the sidebar; a room that is missing here comes last, under its own name."""

SUPPORTING = (Batch, Logger, Structure)
"""What users meet who write a monitor, a logger or an objective."""


def models():
    """The model classes that `import probae as pb` offers, by their name, in the order of the README's table."""
    found = {name: getattr(pb, name) for name in pb.__all__}
    kinds = {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Model)}
    listed = readme_rows()
    return dict(sorted(kinds.items(), key=lambda item: listed.index(item[0]) if item[0] in listed else len(listed)))


def readme_rows():
    """The names that begin a row of a table in the README."""
    return re.findall(r"^\| `pb\.(\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)


def modules(package):
    """A package of the library and all in it, outer ones first, packages before modules."""
    outer = importlib.import_module(f"probae.{package}")
    inner = [importlib.import_module(info.name) for info in pkgutil.walk_packages(outer.__path__, outer.__name__ + ".")]
    return sorted([outer, *inner], key=lambda module: (module.__name__.count("."), not hasattr(module, "__path__")))


def parts(package):
    """The classes and functions of a package, each under the shortest name that it can be imported by."""
    found = {}
    for module in modules(package):
        for name, thing in vars(module).items():
            if _is_ours(module, name, thing) and all(other is not thing for other in found.values()):
                found[f"{module.__name__}.{name}"] = thing
    return found


def public():
    """Everything that is documented, by the name that a user writes, `probae.` first."""
    found = {f"probae.{name}": getattr(pb, name) for name in pb.__all__ if not inspect.ismodule(getattr(pb, name))}
    for namespace in (pb.applications, pb.data, pb.plots, pb.sklearn):
        found |= {f"{namespace.__name__}.{name}": getattr(namespace, name) for name in namespace.__all__}
    kinds = {name: kind for name, kind in vars(pb.errors).items() if isinstance(kind, type)}
    found |= {f"probae.errors.{name}": kind for name, kind in kinds.items() if issubclass(kind, ProbaeError)}
    found |= {name: thing for name, thing in parts("distributions").items() if isinstance(thing, type)}
    found |= parts("networks")
    found |= {f"{kind.__module__}.{kind.__name__}": kind for kind in SUPPORTING}
    known = {id(thing) for thing in found.values()}
    for thing in list(found.values()):
        for base in thing.__mro__ if isinstance(thing, type) else ():
            if base.__module__.startswith("probae.") and not base.__name__.startswith("_") and id(base) not in known:
                known.add(id(base))
                found[f"{base.__module__}.{base.__name__}"] = base
    return found


def rooms():
    """For each room its public names, abstract bases last, else as they are ordered in the code."""
    found = defaultdict(dict)
    for name, thing in public().items():
        found[_room(thing)][name] = thing
    order = [*ROOMS, *sorted(found.keys() - ROOMS.keys())]
    return {room: found[room] for room in order if room in found}


def pages():
    """The pages of the reference by their path under `api/`, as reStructuredText."""
    written = {"index.rst": _index()}
    for room, names in rooms().items():
        own = {name: thing for name, thing in names.items() if _has_page(thing)}
        text = [_title(ROOMS.get(room, room.title())), _lead(room)]
        if own:
            text += [_summaries(own), _toctree([_page(name) for name in own])]
        text += _entries({name: thing for name, thing in names.items() if name not in own})
        written[f"{room}.rst"] = "\n".join(text)
        written |= {f"{_page(name)}.rst": _title(_page(name)) + _entry(name, thing) for name, thing in own.items()}
    return written


def links():
    """What code in the text links to: the full name for each short one that means only one thing."""
    found = {name.replace("probae.", "pb.", 1): name for name in public()}
    short = defaultdict(set)
    for name, thing in public().items():
        if isinstance(thing, type) and (name.count(".") == 1 or inspect.isabstract(thing)):
            short[name.rpartition(".")[2]].add(name)
    found |= {name: full.pop() for name, full in short.items() if len(full) == 1}
    for name, thing in public().items():
        if isinstance(thing, type):
            members = {f"{name}.{member}" for member in vars(thing) if not member.startswith("_")}
            found |= {member.replace("probae.", "pb.", 1): member for member in members}
    return found


def _is_ours(module, name, thing):
    """Whether it is a class or a function that the module or one below it defines."""
    defined = inspect.isclass(thing) or inspect.isfunction(thing)
    return defined and not name.startswith("_") and f"{thing.__module__}.".startswith(f"{module.__name__}.")


def _room(thing):
    return thing.__module__.split(".")[1]


def _entries(names):
    """The entries of a page, under the titles of the modules that they are in where there are several."""
    chapters = defaultdict(list)
    for name, thing in names.items():
        chapters[".".join(name.split(".")[:3]) if name.startswith("probae.distributions") else ""].append(
            _entry(name, thing)
        )
    text = []
    for module, entries in chapters.items():
        if module:
            title = inspect.getdoc(importlib.import_module(module)).partition("\n")[0].partition(":")[0].rstrip(".")
            text += [_title(title, "-")]
        text += entries
    return text


def _has_page(thing):
    return isinstance(thing, type) and issubclass(thing, Model)


def _page(name):
    return name.rpartition(".")[2]


def _title(text, line="="):
    return f"{text}\n{line * len(text)}\n"


def _lead(room):
    text = inspect.getdoc(importlib.import_module(f"probae.{room}")) or ""
    return "\n".join([*restructured(text.splitlines()), ""])


def _toctree(entries):
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {entry}\n" for entry in entries)


def _summaries(names):
    """A table: what there is, and its first sentence."""
    rows = [".. list-table::", "   :widths: 30 70", ""]
    for name, thing in names.items():
        rows += [f"   * - {_reference(name, thing)}", f"     - {_plain(summary(thing))}"]
    return "\n".join([*rows, ""])


def _plain(text):
    return " ".join(restructured([text])).strip()


def _reference(name, thing):
    role = "class" if isinstance(thing, type) else "func"
    return f":py:{role}:`{_shown(name)} <{name}>`"


def _shown(name):
    """As a user writes it, or what tells it apart on the page of its room."""
    namespace, _, last = name.removeprefix("probae.").rpartition(".")
    if not namespace or namespace in ("applications", "data", "plots", "sklearn", "errors"):
        return name.replace("probae.", "pb.", 1)
    return f"{namespace.partition('.')[2]}.{last}".lstrip(".") if namespace.startswith("distributions") else last


def _entry(name, thing):
    """What autodoc writes of one name; of a model also where to find what it inherits."""
    if not isinstance(thing, type):
        return f".. autofunction:: {name}\n"
    ours = any(base.__module__.startswith("probae.") for base in thing.__bases__)
    lines = [f".. autoclass:: {name}", "   :members:", "   :exclude-members: extra_repr"]
    lines += ["   :show-inheritance:", ""] if ours else [""]
    inherited = _inherited(name, thing) if _has_page(thing) else ""
    return "\n".join([*lines, inherited, ""])


def _inherited(name, kind):
    lines, seen = [], set(vars(kind))
    for base in kind.__mro__[1:]:
        if base.__module__.startswith("probae."):
            full = f"{base.__module__}.{base.__name__}"
            members = [m for m, thing in vars(base).items() if _is_verb(m, thing) and m not in seen]
            seen |= vars(base).keys()
            roles = ", ".join(f":py:obj:`{m} <{full}.{m}>`" for m in members)
            lines += [f"Inherited from :py:class:`{base.__name__} <{full}>`: {roles}.", ""] if members else []
    return "\n".join(lines)


def _is_verb(name, thing):
    callable_or_value = callable(thing) or isinstance(thing, property)
    return not name.startswith("_") and callable_or_value and bool(thing.__doc__)


def _index():
    lines = [_title("API reference"), "What ``import probae as pb`` offers, and what its models are made of.\n"]
    for room, names in rooms().items():
        title = ROOMS.get(room, room.title())
        lines += [_title(title, "-"), f":doc:`Details <{room}>`", "", _summaries(names)]
    return "\n".join([*lines, _toctree(rooms())])
