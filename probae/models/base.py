"""What every model is: a Pyro pair with a data shape, and the verbs that all of them share."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyro
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from probae import checks
from probae.data import Dataset
from probae.data.protocol import Protocol
from probae.engine.batches import Batch
from probae.engine.fit import fit
from probae.engine.monitor import Monitor, bound_monitor, elbo_monitor
from probae.engine.randomness import check_seed, stream
from probae.engine.run import Run
from probae.errors import ArgumentError, DataError, NoLikelihoodError, SiteError
from probae.evaluation.estimate import Estimate
from probae.inference import stepping
from probae.inference.elbo import ELBO
from probae.inference.objective import Objective

Data = Dataset | Tensor | np.ndarray
"""N examples that are all here: a data set, or a tensor or an array of shape (N, D) or (N, *data_shape)."""

_PRECISIONS = {torch.float32: "float32", torch.float64: "float64"}
_numbers = itertools.count()


class _Identity:
    """A name of one's own, also after a deepcopy: two modules under one name would share Pyro's parameters."""

    def __init__(self) -> None:
        self.number = next(_numbers)

    def __reduce__(self) -> tuple[type[_Identity], tuple[()]]:
        return _Identity, ()  # copied or unpickled, a new number


class Model(nn.Module, ABC):
    """A probabilistic model of examples of a fixed shape, as a pair of Pyro callables.

    To write a new model, subclass this (or `LatentModel`) once, mark the class final, and implement

    - `model(x=None, y=None, *, mask=None, lengths=None, num_examples=1)`: p(x, z), generating where x is None,
    - `guide(...)` with the same arguments: q(z given x),
    - `config`: the JSON values that rebuild it, `log_likelihood` and `sample`,

    calling `self.register()` first in both callables, and `self.refuse(mask=mask, lengths=lengths)` for what it has no
    use for. Override `check`, `prepare`, `objective` and `monitor` only where the defaults (finite data; nothing to
    prepare; the ELBO; the plain ELBO) are not right, and `fit_defaults` where Adam at 1e-3 is not. All state that
    training changes is a parameter or a buffer. Then enter it in `probae/__init__.py`, in `tests/contracts/` and in
    the README.

    Args:
        data_shape: of one example; data of shape (N, D) and (N, *data_shape) are both accepted.
    """

    fit_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, data_shape: int | tuple[int, ...]) -> None:
        super().__init__()
        self.data_shape = checks.shape("data_shape", data_shape)
        self.num_visible = int(torch.Size(self.data_shape).numel())
        self._identity = _Identity()
        self._plate: Any = None
        self.register_buffer("_home", torch.empty(0), persistent=False)  # of models that have no other tensor

    # What a model declares.

    @abstractmethod
    def model(self, x: Tensor | None = None, y: Tensor | None = None, **options: Any) -> Any:
        """The decoder: p(x, z) as a Pyro program; without x it generates."""

    @abstractmethod
    def guide(self, x: Tensor | None = None, y: Tensor | None = None, **options: Any) -> Any:
        """The encoder: q(z given x) as a Pyro program."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""

    @abstractmethod
    def log_likelihood(self, data: Data, **options: Any) -> Estimate:
        """An estimate of the mean log p(x) over the data, in nats per example."""

    @abstractmethod
    def sample(self, num_examples: int = 1, **options: Any) -> Tensor:
        """Examples drawn from the model: (num_examples, D)."""

    def check(self, argument: str, x: Tensor) -> None:
        """Refuse examples outside the model's support, with a DataError that names `argument`."""
        return None

    def arguments(self, argument: str, data: Any) -> Any:
        """What `fit` hands to the callables for the data that it was given, checked; `argument` names it in errors.

        Batches that come one by one are checked by the first step, which is validated.
        """
        if (x := examples_in(data)) is not None:
            self.examples(argument, x)
        return data

    def prepare(self, data: Any) -> Self:
        """Set what must be known of the data before training; what is trained already stays. `fit` calls it once.

        Args:
            data: all that `fit` takes, if it is all here.
        """
        self.arguments("data", data)
        return self

    def objective(self) -> Objective:
        """What `fit` minimizes unless told otherwise."""
        return ELBO()

    def monitor(self) -> Monitor:
        """What `fit` judges validation data by unless told otherwise; higher is better.

        Where it is the ELBO, `fit` takes what `pb.IWAE` trains instead, if that is the objective.
        """
        return elbo_monitor(self.model, self.guide)

    # What a model can do.

    def fit(self, data: Any, *, valid: Any = None, **settings: Any) -> Run:
        """Train on the data; see `pb.fit` for all settings.

        Data that is all here (not a stream of batches) is checked against the model's support and shape before
        anything changes, and `prepare` looks at it, once, before the first step (not on resume). Parameters are
        trained on from what they are. The model ends in evaluation mode.

        Args:
            data: a data set, a tensor or an array (N, D) or (N, *data_shape), or an iterable of batches.
            valid: likewise; the best epoch by `monitor()` is kept.
            settings: of `pb.fit`: epochs, batch_size, objective, optimizer, learning_rate, seed, ... A learning rate
                without an optimizer is that of the model's own.

        Returns:
            The run.

        Raises:
            ArgumentError, DataError: name the argument.
        """
        checks.options(settings, fit, without=("model", "guide", "data", "valid"))
        data, valid = self.arguments("data", data), None if valid is None else self.arguments("valid", valid)
        settings = self._settings(settings, monitored=valid is not None)
        before = deepcopy(self.state_dict())
        try:
            if examples_in(data) is not None and settings.get("resume") is None:
                with stream(settings["seed"] + 1, self.device):  # other noise than the first step's
                    self.prepare(data)
            run = fit(self.model, self.guide, data, valid=valid, **settings)
        except (ArgumentError, SiteError) as error:
            if not error.trained:  # not for an epoch, so nothing is left prepared either
                self.load_state_dict(before)
            raise
        finally:
            self.eval()
        return run

    def anomaly_score(self, x: Data, **options: Any) -> Tensor:
        """How strange each example is, (N,), in nats; higher is stranger: -log p(x) where a model says nothing else.

        Args:
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            options: of the model's `log_likelihood`.
        """
        self.examples("x", x)
        scores = self.log_likelihood(x, **options).per_example
        if scores is None:
            raise NoLikelihoodError(f"the estimates of {type(self).__name__} have no value for each example")
        return -scores.to(self.dtype)

    def anomaly_map(self, x: Data) -> Tensor:
        """How strange each dimension of each example is, (N, D), in nats; higher is stranger.

        Raises:
            NoLikelihoodError: for a model that has no likelihood of single dimensions.
        """
        self.examples("x", x)
        raise NoLikelihoodError(f"{type(self).__name__} has no likelihood of single dimensions: use anomaly_score")

    def save(self, folder: str | Path) -> Path:
        """Write the model into a folder, whole or not at all; `pb.load(folder)` reads it back.

        Other files in the folder are left alone; a model that was there is replaced.

        Returns:
            The folder.

        Raises:
            ArgumentError: names `folder` if something other than a model is there; or the part of the model, such as
                a likelihood of your own, that could not be read back.
        """
        from probae.models.saving import save

        return save(self, folder)

    # What models are built with.

    def register(self) -> None:
        """Tell whoever trains of the parameters: the engine, or Pyro's optimizers."""
        stepping.register(f"probae.{type(self).__name__}.{self._identity.number}", self)

    def plate(self, size: int) -> Any:
        """`pyro.plate("data", size)`; where nothing is validated the last one again, which is cheaper."""
        if is_validation_enabled():  # Pyro's checks look for the making of a plate in both traces
            return pyro.plate("data", size, dim=-1)
        if self._plate is None or self._plate.size != size:
            self._plate = pyro.plate("data", size, dim=-1)
        return self._plate

    def rows(self, x: Tensor) -> Tensor:
        """The examples of a callable as (N, D), from (N, D) or (N, *data_shape).

        Raises:
            DataError: for another shape; in validated runs, such as the first step of training, for all that the verbs
                refuse too.
        """
        if is_validation_enabled():
            x = checks.examples("x", x, self.data_shape)
            self.check("x", x)
        if x.dim() < 2 or x.shape[1:].numel() != self.num_visible:
            raise DataError("x", checks.shape_of_examples(self.data_shape), f"shape {tuple(x.shape)}")
        return x.flatten(1)

    def refuse(self, **options: Any) -> None:
        """Refuse arguments that this model would have to ignore.

        Raises:
            ArgumentError: names the first one that is not None.
        """
        for name, value in options.items():
            if value is not None:
                raise ArgumentError(name, f"None, since {type(self).__name__} has no use for it", type(value).__name__)

    def examples(self, argument: str, data: Data | None) -> Tensor:
        """The data as a checked (N, D) tensor of the model's device and dtype.

        Raises:
            DataError: names the argument; for a wrong shape or dtype, NaN or infinity, values outside the support.
        """
        if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
            data = torch.tensor(checks.unmasked(argument, data))
        tensor = data.tensor if isinstance(data, Dataset) else data
        tensor = checks.examples(argument, tensor, self.data_shape)
        self.check(argument, tensor)
        return tensor.to(self.device, self.dtype)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._any_tensor().device

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self._any_tensor().dtype

    @contextmanager
    def evaluating(self) -> Generator[None, None, None]:
        """In evaluation mode, without gradients, without registering parameters; and back."""
        before = [(part, part.training) for part in self.modules()]
        self.eval()
        try:
            with torch.no_grad(), stepping.engine():
                yield
        finally:
            for part, was in before:
                part.training = was

    def extra_repr(self) -> str:
        """The configuration."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())

    def _any_tensor(self) -> Tensor:
        return next(x for x in itertools.chain(self.parameters(), self.buffers()) if x.is_floating_point())

    def _judge(self, objective: Any) -> Monitor:
        """The model's monitor; where that is the plain ELBO, the bound that the objective asked for trains."""
        own = self.monitor()
        return bound_monitor(self.model, self.guide, objective) if own.name == "elbo" else own

    def _settings(self, given: dict[str, Any], *, monitored: bool) -> dict[str, Any]:
        """What `pb.fit` is told: the model's own choices where nothing else was asked."""
        own = {"objective": self.objective(), "precision": _PRECISIONS.get(self.dtype)}
        own |= {"monitor": self._judge(given.get("objective"))} if monitored else {}
        own = {name: value for name, value in own.items() if given.get(name) is None}
        settings = {**self.fit_defaults, **given, **own}
        if given.get("learning_rate") is not None and "optimizer" in self.fit_defaults and "optimizer" not in given:
            rate = checks.real("learning_rate", settings.pop("learning_rate"), low=0.0)
            settings["optimizer"] = partial(self.fit_defaults["optimizer"], lr=rate)
        if settings.get("resume") is None:
            settings["seed"] = check_seed(settings.get("seed"))
        return settings


def examples_in(data: Any) -> Data | None:
    """What the model will get as `x`, if it is all here; None for batches that come one by one."""
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (tuple, Mapping)):
        data = data.get("x") if isinstance(data, Mapping) else data[0] if data else None
    return data if isinstance(data, (Dataset, Tensor, np.ndarray)) else None


def examples_of(batch: Batch) -> Tensor:
    """The examples of a batch, (N, D)."""
    return (batch.args[0] if batch.args else batch.kwargs["x"]).flatten(1)


def protocol_of(data: Data) -> Protocol:
    """The protocol that a data set knows; "unknown" for a bare tensor."""
    return data.protocol if isinstance(data, Dataset) else Protocol()
