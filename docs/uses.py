"""Which model is good for what: each application is tried on a small trained model of each kind."""

import inspect
import math

import numpy as np
import torch

import probae as pb
from docs.reference import models

SHAPE = (2, 4, 4)
_OBSERVED = torch.arange(32) < 16


def _clusters(model, data):
    return pb.applications.clusters(model, data, 2)


def _probe(model, data):
    return pb.applications.linear_probe(model, data, data)


def _partly(model, data):
    model.fit({"x": data, "mask": _OBSERVED.expand(len(data), -1)}, epochs=1, progress=False)
    return model.embed(data, mask=_OBSERVED)


def _fine_tuned(model, data):
    return model.classifier(2).fit((data, data.labels), epochs=1, progress=False)


def _faced(model, data):
    return pb.sklearn.AutoencoderTransformer(model, epochs=1, random_state=0).fit_transform(data.tensor.numpy())


USES = {
    "log p(x)": lambda model, data: model.log_likelihood(data),
    "samples": lambda model, data: model.sample(2),
    "codes, maps": lambda model, data: model.embed(data),
    "interpolation, traversal": lambda model, data: model.decode(model.embed(data)),
    "anomaly score": lambda model, data: model.anomaly_score(data),
    "anomaly map": lambda model, data: model.anomaly_map(data),
    "denoising": lambda model, data: model.denoise(data),
    "in-painting, colorization": lambda model, data: model.inpaint(data, _OBSERVED),
    "clusters, linear probe": lambda model, data: (_clusters(model, data), _probe(model, data)),
    "hashing": lambda model, data: model.binary_codes(data),
    "layerwise pretraining": lambda model, data: model.pretrain(data, epochs=1, progress=False),
    "classifier on top": _fine_tuned,
    "missing values": _partly,
    "scikit-learn": _faced,
}
"""The uses, each a call that fails where a model cannot do it, or whose result is not finite."""

VERBS = {
    "interpolation, traversal": "decode",
    "denoising": "denoise",
    "in-painting, colorization": "inpaint",
    "hashing": "binary_codes",
    "layerwise pretraining": "pretrain",
    "classifier on top": "classifier",
}
"""The methods that not every model has."""

_BITS = {"name": "delta", "nonlinearity": "sigmoid"}
VARIANTS = ({}, {"nonlinearity": "sigmoid"}, {"guide": "diagonal"}, {"target_rate": 0.1}, {"guide": _BITS})
"""Settings under which a model may do what it cannot without."""

_SIZES = {"data_shape": SHAPE, "latent_dim": 3, "hidden": (6,), "num_hidden": 6, "num_labels": 2}


def uses_table():
    """A row for each use, a column for each model; a cell says yes, or with which setting, or nothing."""
    found = uses()
    lines = ["| | " + " | ".join(f"`pb.{name}`" for name in found) + " |", "|---" * (len(found) + 1) + "|"]
    for use in USES:
        lines.append(f"| {use} | " + " | ".join(_cell(cells[use]) for cells in found.values()) + " |")
    return "\n".join(lines) + "\n"


def uses():
    """For each model and use, the settings with which it works, or None."""
    data = _data()
    return {name: {use: _first(kind, use, data) for use in USES} for name, kind in models().items()}


def _first(kind, use, data):
    call = USES[use]
    for settings in VARIANTS:
        model = _trained(kind, settings, data)
        if model is not None and hasattr(model, VERBS.get(use, "fit")) and _works(call, model, data):
            return settings
    return None


_known = {}


def _trained(kind, settings, data):
    """A small model of a kind after one epoch; None if it does not take the settings."""
    if (key := (kind, repr(settings))) not in _known:
        takes = inspect.signature(kind).parameters
        options = {**{name: size for name, size in _SIZES.items() if name in takes}, **settings}
        labelled = takes.get("num_labels") is not None and takes["num_labels"].default is inspect.Parameter.empty
        for name in () if labelled else ("num_labels",):
            options.pop(name, None)
        for name in () if "latent_dim" in takes or labelled else ("hidden",):
            options.pop(name, None)  # of a machine they are units
        model = None
        if options.keys() <= takes.keys() and _works(lambda kind, options: kind(**options), kind, options):
            torch.manual_seed(0)
            model = kind(**options)
            model.fit((data, data.labels) if labelled else data, epochs=1, progress=False)
        _known[key] = model
    return _known[key]


def _works(call, *given):
    try:
        return _finite(call(*given))
    except pb.errors.ProbaeError:
        return False


def _finite(result):
    """Whether all numbers are finite, in so far as a result is numbers."""
    if isinstance(result, tuple):
        return all(map(_finite, result))
    if isinstance(result, pb.Estimate):
        return math.isfinite(result.value)
    result = getattr(result, "mean", result) if isinstance(result, torch.distributions.Distribution) else result
    return not isinstance(result, torch.Tensor | np.ndarray) or bool(torch.as_tensor(result).isfinite().all())


def _cell(settings):
    if settings is None:
        return "–"
    return ", ".join(f"`{name}={value!r}`".replace("'", '"') for name, value in settings.items()) or "yes"


def _data():
    """Two kinds of pictures in two colours, and a little noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    x = torch.where((torch.arange(32) % 2 == labels.unsqueeze(1)), 1.0, 0.0)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.1, 1 - x, x)
    return pb.data.Dataset(x, labels, SHAPE)
