"""A deep autoencoder as a stack of shallow ones: a model for each layer, whose weights the deep one takes over."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from probae import checks
from probae.data import Dataset
from probae.distributions.likelihoods import Likelihood, Normal
from probae.engine.fit import fit
from probae.engine.randomness import check_seed, stream
from probae.engine.run import Run
from probae.errors import ArgumentError
from probae.inference.pretraining import LayerSettings, greedily
from probae.models.autoencoder import Autoencoder
from probae.models.base import examples_in
from probae.models.contractive import ContractiveAutoencoder
from probae.models.denoising import DenoisingAutoencoder
from probae.models.rbm import RBM
from probae.networks.mlp import NONLINEARITIES
from probae.networks.tied import TransposedLinear
from probae.networks.unrolled import Layer, Unrolled, affine

if TYPE_CHECKING:
    from probae.models.latent import LatentModel

SHALLOW: dict[str, type[Any]] = {
    "autoencoder": Autoencoder, "contractive": ContractiveAutoencoder, "denoising": DenoisingAutoencoder, "rbm": RBM,
}  # fmt: skip
"""The models of one layer, by name."""

_UNITS = {"sigmoid": "bernoulli"}  # of an RBM, by the nonlinearity that gives their mean
_OF_THE_PLACE = (
    "activation", "data_shape", "decoder", "dropout", "encoder", "hidden", "latent_dim", "likelihood", "network",
    "nonlinearity", "num_hidden", "tied", "visible",
)  # fmt: skip
_OF_THE_LAYER = ("model", "guide", "data", "valid", "objective", "monitor", "logger", "resume")


def pretrain(
    model: LatentModel, data: Any, by: Any, *, valid: Any, seed: int | None, callbacks: Any, progress: bool | None,
    settings: dict[str, Any],
) -> list[Run]:  # fmt: skip
    """See `LatentModel.pretrain`."""
    checks.options(settings, fit, without=_OF_THE_LAYER)
    places = _places(model)
    each = {name: _each(name, given, len(places)) for name, given in {"by": by, **settings}.items()}
    told = [{name: given[index] for name, given in each.items()} for index in range(len(places))]
    x, judged = _whole(model, "data", data), None if valid is None else _whole(model, "valid", valid)
    seed, before = check_seed(seed), copy.deepcopy(model.state_dict())
    try:
        with stream(seed + 1, model.device):  # other noise than the first step's
            model.prepare(x)
            models = [place.made(options.pop("by")) for place, options in zip(places, told, strict=True)]
        layers = [LayerSettings(one.to(x.device, x.dtype), its) for one, its in zip(models, told, strict=True)]
        runs = greedily(layers, x, valid=judged, seed=seed, callbacks=callbacks, progress=progress)
    except Exception:
        model.load_state_dict(before)
        raise
    for one, place, _ in zip(models, places, runs, strict=False):  # runs are fewer where Ctrl-C came
        place.take(one.unrolled())
    model.eval()
    return runs


@dataclass(frozen=True)
class Place:
    """Where the model of one layer belongs.

    Attributes:
        up, down: the layer of the encoder, and that of the decoder which undoes it.
        likelihood: of what comes in, given the outputs of `down`.
    """

    up: Layer
    down: Layer
    likelihood: Likelihood

    def made(self, by: Any) -> Any:
        """The model of this layer: from a name, a configuration, or a function of what it has to be.

        Raises:
            ArgumentError: names `by`, or a setting that the model does not have.
        """
        if isinstance(by, (str, Mapping)):
            settings = {"name": by} if isinstance(by, str) else dict(by)
            kind = SHALLOW[checks.choice("by", settings.pop("name", None), SHALLOW)]
            checks.options(settings, kind, without=_OF_THE_PLACE)
            return self._machine(**settings) if kind is RBM else self._autoencoder(kind, **settings)
        if not callable(by):
            raise ArgumentError("by", f"a name ({', '.join(SHALLOW)}), a configuration or a function", repr(by))
        return self._checked(by(*self._sizes, self.up.nonlinearity))

    def take(self, trained: Unrolled) -> None:
        """Put the weights of the trained model here."""
        self.up.set(trained.encoder[0])
        self.down.set(trained.decoder[0])

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.up.num_inputs, self.up.num_outputs

    def _autoencoder(self, kind: type[Any], **settings: Any) -> Any:
        """One of these layers themselves, copied: ties and bounds come along."""
        up, down = copy.deepcopy((self.up.affine, self.down.affine))
        likelihood, nonlinearity = copy.deepcopy(self.likelihood), self.up.nonlinearity
        model = kind(*self._sizes, hidden=(), likelihood=likelihood, nonlinearity=nonlinearity, **settings)
        model.encoder = nn.Sequential(up if self.up.first is None else affine(self.up.weight, self.up.bias))
        model.decoder = nn.Sequential(down)
        nn.init.zeros_(down.bias)  # `prepare` starts it at the mean: a relu that begins silent never learns
        return model

    def _machine(self, **settings: Any) -> RBM:
        if self.up.nonlinearity not in _UNITS:
            wanted = f"another model for {self.up.nonlinearity} units: those of an RBM are {', '.join(_UNITS)}"
            raise ArgumentError("by", wanted, "'rbm'", "A list names one for each layer")
        return self._checked(RBM(*self._sizes, hidden=_UNITS[self.up.nonlinearity], **settings))

    def _checked(self, model: Any) -> Any:
        """A model with layers of its own, if these can become the deep model's."""
        if not hasattr(model, "unrolled"):
            raise ArgumentError("by", "a model with an encoder and a decoder", type(model).__name__)
        found: Unrolled = model.unrolled()
        if found.sizes != list(self._sizes):
            raise ArgumentError("by", f"a model of one layer, {self._sizes}", found.sizes)
        (up,), (down,) = found
        outputs = torch.linspace(-3, 3, down.num_outputs)
        means = outputs if down.nonlinearity == "linear" else self.likelihood.mean(outputs)
        if up.nonlinearity != self.up.nonlinearity:
            raise ArgumentError("by", f"a model whose codes are {self.up.nonlinearity}", up.nonlinearity)
        if not torch.equal(NONLINEARITIES[down.nonlinearity](outputs), means):
            wanted = "another model for inputs that are not made by such units"
            of_data = isinstance(self.likelihood, Normal) and self.likelihood.nonlinearity == "linear"
            rates = of_data and down.nonlinearity == "sigmoid"
            hint = "likelihood={'name': 'normal', 'nonlinearity': 'sigmoid'} makes rates by them" if rates else ""
            raise ArgumentError("by", wanted, f"{type(model).__name__} of {down.nonlinearity} ones", hint)
        tied = isinstance(self.down.affine, TransposedLinear) and torch.equal(down.weight, up.weight.T)
        if not (self.down.free or tied or isinstance(down.affine, type(self.down.affine))):
            raise ArgumentError("by", "a model whose decoder is tied or bounded as this one is", type(model).__name__)
        return model


def _places(model: LatentModel) -> list[Place]:
    """The layers of a deep model, that nearest to the data first.

    Raises:
        ArgumentError: names what has no layers to pretrain.
    """
    if model.labels is not None:
        raise ArgumentError("num_labels", "None: layers are trained without labels", model.labels.num_labels)
    unrolled, likelihood = model.unrolled(), model.likelihood
    up, down = unrolled.encoder, unrolled.decoder[::-1]
    if len(up) == 1:
        raise ArgumentError("hidden", "at least one hidden layer; a single layer is trained by fit", "none")
    there, back = ([(layer.num_inputs, layer.num_outputs) for layer in layers] for layers in (up, down))
    if [size[::-1] for size in back[1:]] != there[1:] or back[0][0] != there[0][1]:
        raise ArgumentError("decoder", f"the encoder's layers in reverse, {there[::-1]}", back[::-1])
    if down[0].nonlinearity != "linear":
        hint = "likelihood={'name': 'normal', 'nonlinearity': 'sigmoid'} does the same"
        raise ArgumentError("decoder", "nothing behind its last layer", down[0].nonlinearity, hint)
    means = [Normal(layer.num_outputs, nonlinearity=layer.nonlinearity) for layer in down[1:]]
    return [Place(*place) for place in zip(up, down, [likelihood, *means], strict=True)]


def _each(argument: str, given: Any, count: int) -> list[Any]:
    """A setting for each layer."""
    if not isinstance(given, (list, tuple)):
        return [given] * count
    if len(given) != count:
        raise ArgumentError(argument, f"one, or {count}: one for each layer", len(given))
    return list(given)


def _whole(model: LatentModel, argument: str, data: Any) -> Dataset:
    """All examples, checked, without what stands beside them."""
    given = model.arguments(argument, data)
    x = examples_in(given)
    if x is None:
        raise ArgumentError(argument, "data that is all here: its codes train the next layer", type(data).__name__)
    if isinstance(given, Mapping) and (given.get("mask") is not None or given.get("lengths") is not None):
        raise ArgumentError(argument, "examples that are observed whole", "a mask or lengths")
    return x.to(model.device, model.dtype) if isinstance(x, Dataset) else Dataset(model.examples(argument, x))
