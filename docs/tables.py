"""Tables of what the library has, read off the code, so that no list in the site can be out of date.

Each function of `TABLES` returns a Markdown table. What a model takes in the four places of the ELBO is seen by trying
its constructor; what it has there already, from the smallest model that the constructor makes, or from the grammar.
"""

import inspect
import itertools
import json
from pathlib import Path

import probae as pb
from docs.docstrings import markdown, section, summary
from docs.grammar import grammar_table, sentence_of
from docs.reference import models, modules, public
from docs.uses import uses_table
from probae.data.load import SOURCES
from probae.inference.negative_phases import NegativePhase
from probae.inference.objective import Objective
from probae.models.latent import LatentModel

PLACES = {"prior": "PRIORS", "guide": "GUIDES", "likelihood": "LIKELIHOODS"}
"""The arguments of constructors, and the dictionaries of what goes there by name."""

_ATTRIBUTES = {"guide": "family"}
_SMALLEST = {"data_shape": 4, "latent_dim": 2}


def model_table():
    rows = []
    for name, kind in models().items():
        source = markdown(section(kind, "Source").rstrip(".")) or "this library"
        rows.append([link(name, kind), sentence(kind), likelihood_of(kind), source])
    return table(["model", "what it is", "log p(x)", "source"], rows)


def place_table():
    rows = [
        [link(name, kind), *(place(kind, argument) for argument in PLACES)] for name, kind in models().items()
    ]
    return table(["model", "prior p(z)", "guide q(z given x)", "likelihood p(x given z)"], rows)


def named_table(dictionary):
    """What goes by name in one place: its name, its class, its settings."""
    rows = []
    for name, part in named(dictionary).items():
        code = f"[`{name!r}`](#{full_name(part)})".replace("'", '"')
        rows.append([code, sentence(part), settings(part)])
    return table(["name", "what it is", "settings"], rows)


def data_table():
    rows = [[f'`"{name}"`', sentence(source), settings(source)] for name, source in SOURCES.items()]
    return table(["name", "what it is", "options"], rows)


def class_table(base):
    """The exported subclasses of a class."""
    found = {name: getattr(pb, name) for name in pb.__all__}
    kinds = {n: kind for n, kind in found.items() if isinstance(kind, type) and issubclass(kind, base)}
    return table(["name", "what it is"], [[link(name, kind), sentence(kind)] for name, kind in kinds.items()])


def anomaly_table():
    """What `benchmarks/anomalies.py` measured: AUROC by model and by the class held out."""
    path = Path(__file__).parents[1] / "benchmarks" / "results" / "anomalies.json"
    found = json.loads(path.read_text(encoding="utf-8"))["results"]["models"]
    digits = list(next(iter(found.values()))["auroc"])
    rows = [[name, *(f"{r['auroc'][d]:.3f}" for d in digits), f"{r['mean']:.3f}"] for name, r in found.items()]
    return table(["model", *digits, "mean"], rows)


def hashing_table():
    """What `benchmarks/hashing.py` measured: precision at k, and what rounding costs; means over the seeds."""
    path = Path(__file__).parents[1] / "benchmarks" / "results" / "hashing.json"
    found = json.loads(path.read_text(encoding="utf-8"))["results"]["codes"]
    rows = [[name, *_precisions(several), *_rounding(several)] for name, several in found.items()]
    right = ["right at 1", "at 10", "at 100"]
    return table(["32 bits", *right, "among the 100 nearest", "saturated", "squared error", "from the bits"], rows)


def _precisions(runs):
    by_label = [_mean(run["by_label"][k]["value"] for run in runs) for k in ("1", "10", "100")]
    near = _mean(run["by_exact_neighbours"]["100"]["value"] for run in runs)
    return [f"{value:.3f}" for value in (*by_label, near)]


def _rounding(runs):
    shown = {"saturated": "{:.0%}", "error_from_codes": "{:.1f}", "error_from_bits": "{:.1f}"}
    return [form.format(_mean(r[key] for r in runs)) if key in runs[0] else "–" for key, form in shown.items()]


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


TABLES = {
    "anomalies": anomaly_table,
    "grammar": grammar_table,
    "hashing": hashing_table,
    "models": model_table,
    "places": place_table,
    "likelihoods": lambda: named_table("LIKELIHOODS"),
    "priors": lambda: named_table("PRIORS"),
    "guides": lambda: named_table("GUIDES"),
    "networks": lambda: named_table("NETWORKS"),
    "corruptions": lambda: named_table("CORRUPTIONS"),
    "units": lambda: named_table("VISIBLE_UNITS"),
    "data": data_table,
    "uses": uses_table,
    "objectives": lambda: class_table(Objective),
    "phases": lambda: class_table(NegativePhase),
}


def tutorials():
    """Links to the notebooks that are here; not all trees of the repository have them."""
    names = sorted(path.stem for path in (Path(__file__).parent / "tutorials").glob("*.ipynb"))
    return "```{toctree}\n" + "\n".join(names) + "\n```\n" if names else "There are none in this tree.\n"


def table(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def named(dictionary):
    """The dictionary of parts by name, wherever in the library it is."""
    places = itertools.chain.from_iterable(map(modules, ("distributions", "networks")))
    return next(vars(module)[dictionary] for module in places if dictionary in vars(module))


def full_name(thing):
    """The name under which the reference has it."""
    return next(name for name, other in public().items() if other is thing)


def link(name, thing):
    return f"[`pb.{name}`](#{full_name(thing)})"


def sentence(thing):
    return markdown(summary(thing))


def settings(part):
    """The arguments besides sizes that the model knows: with their defaults, or without where they must be given."""
    needed = [f"`{name}=`" for name in _needed(part)]
    parameters = [p for p in inspect.signature(part).parameters.values() if p.default is not p.empty]
    return ", ".join([*needed, *(f"`{p.name}={p.default!r}`".replace("'", '"') for p in parameters)]) or "none"


def place(kind, argument):
    """What may stand in one place of a model: the names that its constructor takes, or what is always there."""
    parameters = inspect.signature(kind).parameters
    if argument in parameters:
        default = parameters[argument].default
        names = sorted(accepted(kind, argument), key=lambda name: name != default)
        return ", ".join(f'`"{name}"`' for name in names)
    if issubclass(kind, LatentModel):
        part = type(getattr(smallest(kind), _ATTRIBUTES.get(argument, argument)))
        return f"[{part.__name__}](#{full_name(part)})"
    return markdown(sentence_of(kind.__name__)[argument])


def accepted(kind, argument):
    """The names of parts that a constructor does not refuse."""
    return [name for name, part in named(PLACES[argument]).items() if not _refuses(kind, argument, name, part)]


def likelihood_of(kind):
    """How a model's log-likelihood is estimated, if it has one."""
    if hasattr(kind, "log_partition"):
        return "-F(x) - log Z, with log Z exact or annealed"
    if issubclass(kind, LatentModel) and "log_likelihood" not in vars(kind):
        model = smallest(kind)
        if model.family.has_density and model.prior.proper:
            return "importance sampling"
        offered = accepted(kind, "guide") if "guide" in inspect.signature(kind).parameters else []
        stochastic = any(named("GUIDES")[name].has_density for name in offered)
        return "importance sampling, where the guide has a density" if stochastic else "none: deterministic"
    return sentence(kind.log_likelihood)


def smallest(kind, **options):
    """A model with as little as its constructor needs."""
    return kind(**{name: _SMALLEST[name] for name in _required(kind)}, **options)


def _refuses(kind, argument, name, part):
    others = dict.fromkeys(_needed(part), 2)
    try:
        smallest(kind, **{argument: {"name": name, **others}})
    except pb.errors.ArgumentError:
        try:  # a part that cannot be made by itself either lacks something that is not installed: no refusal
            part(*[4] * (len(_required(part)) - len(others)), **others)
        except pb.errors.ArgumentError:
            return False
        return True
    return False


def _needed(part):
    """The settings that a configuration must give; sizes are the model's to give."""
    return [name for name in _required(part) if name not in ("latent_dim", "num_visible")]


def _required(thing):
    return [p.name for p in inspect.signature(thing).parameters.values() if p.default is p.empty]
