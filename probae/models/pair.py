"""The pair behind every autoencoder: an encoder, a decoder, and what stands in the four places of the ELBO."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from probae import checks
from probae.data import Dataset
from probae.distributions.guides import GuideFamily
from probae.distributions.likelihoods import LIKELIHOODS, Likelihood
from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Prior
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor
from probae.errors import ArgumentError, DataError
from probae.models.base import Model
from probae.models.labels import Labels
from probae.models.layers import UpperLayers
from probae.models.making import check_size, families, own_module, widths
from probae.models.observed import Observed, check_lengths, check_mask, observed
from probae.models.rows import joined, labelled, outputs_of, pair_of
from probae.networks import NETWORKS, Network
from probae.networks.mlp import mlp


class LatentPair(Model, ABC):
    """p(z) p(x given z) with a guide q(z given x): the shape of every autoencoder here.

    Final classes fix what stands in the four places and add the verbs that only they have.

    Args:
        data_shape: of one example.
        latent_dim: length of the latent vector z.
        upper_dims: of the stochastic layers above it, none for a single layer.
        hidden: widths of the hidden layers of the encoder; the decoder mirrors them.
        likelihood, prior, guide, network: names, configurations or objects.
        labels: how many class labels there are, and whether they are "condition" or "latent"; None without labels.
        encoder: a module of one's own, (N, D) -> (N, guide.num_outputs), the one-hot label behind the D values.
        decoder: likewise, (N, latent_dim) -> (N, num_outputs); N counts particles and examples alike.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        *,
        latent_dim: int,
        upper_dims: tuple[int, ...] = (),
        hidden: Sequence[int] | int,
        likelihood: str | dict[str, Any] | Likelihood,
        prior: str | dict[str, Any] | Prior,
        guide: str | dict[str, Any] | GuideFamily,
        network: str | dict[str, Any] | Network,
        labels: tuple[int, str] | None = None,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        activation: str,
    ) -> None:
        super().__init__(data_shape)
        dims = (checks.positive_int("latent_dim", latent_dim), *upper_dims)
        self.latent_dim, self.latent_dims = dims[0], dims
        self.hidden, self.activation = widths(hidden), activation
        self.likelihood = make("likelihood", likelihood, Likelihood, LIKELIHOODS, self.num_visible)
        self.prior = make("prior", prior, Prior, PRIORS, dims[-1])
        self.prior.attach(self.num_visible)
        layers = families(guide, dims)
        self.family, self.network = layers[0], make("network", network, Network, NETWORKS)
        check_size("likelihood", "dimensions", self.likelihood.num_visible, self.num_visible)
        check_size("prior", "latent variables", self.prior.latent_dim, dims[-1])
        own = {"encoder": encoder, "decoder": decoder}
        self.own_modules = tuple(name for name, module in own.items() if own_module(name, module))
        self.labels = None if labels is None else Labels(labels[0], self._classifier(*labels))
        context = 0 if self.labels is None else self.labels.num_labels
        self.encoder = self._encoder(self.family.num_outputs, context) if encoder is None else encoder
        self.decoder = self._decoder(dims[0] + context) if decoder is None else decoder
        self.upper = UpperLayers(dims, layers, self._between) if upper_dims else None
        if (bias := self._output_bias()) is not None:
            nn.init.zeros_(bias)  # `prepare` knows by it that nothing was trained

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(x, z): z from the prior, x from the likelihood given the decoder's outputs. Returns x, (N, D).

        With labels, p(x, z given y) where they are a condition, p(x, y, z) where they are latent. With a mask or with
        lengths of sequences x stands for the values that they show: the others are integrated out.
        """
        if x is None:
            self.refuse(mask=mask, lengths=lengths)
        self.register()
        seen = None if x is None else self._observed(x, mask, lengths)
        size = num_examples if seen is None else len(seen.x)
        with self.plate(size):
            label = None if self.labels is None else self.labels.generate(y, size, observed=x is not None)
            prior = self.prior.distribution(self._posterior)
            z = pyro.sample("z", prior) if self.upper is None else self.upper.generate(prior)
            likelihood = self._likelihood(self._decode(z, label), seen)
            return pyro.sample("x", likelihood, obs=None if seen is None else seen.x)

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """q(z given x): z from the guide family with the encoder's outputs. Returns z, (N, latent_dim).

        With labels, q(z given x, y), after q(y given x) where they are latent. What is not observed the encoder reads
        as zero.
        """
        if x is None:
            raise ArgumentError("x", "examples to encode", None)
        self.register()
        seen = self._observed(x, mask, lengths)
        with self.plate(len(seen.x)):
            label = None if self.labels is None else self.labels.infer(seen.x, y)
            posterior = self.family.distribution(self._encode(self._seen(seen), label))
            return pyro.sample("z", posterior) if self.upper is None else self.upper.infer(posterior)

    # What it declares.

    def check(self, argument: str, x: Tensor) -> None:
        self.likelihood.check(argument, x)

    def arguments(self, argument: str, data: Any) -> Any:
        """The data, checked; with labels, a mask or lengths, everything that the callables take of them."""
        x, y = pair_of(data)
        if not isinstance(x, (Dataset, Tensor, np.ndarray)):
            return data  # a stream of batches
        parts = _parts(data)
        seen = self.observed(argument, x, **parts)
        if self.labels is not None:
            y = self._known_labels(argument, y, len(seen.x))
        if seen.mask is not None and not isinstance(x, Dataset):
            x = seen.x  # without the NaN that may stand where nothing is observed
        if self.labels is not None:
            x = labelled(x, y)
        if seen.mask is not None:
            more = dict(data) if isinstance(data, Mapping) else {}
            shown = {name: part for name, part in parts.items() if part is not None and name == "lengths"}
            shown |= {} if parts["mask"] is None else {"mask": check_mask(parts["mask"], len(seen.x), self.data_shape)}
            return {**more, "x": x, **({} if y is None or self.labels is None else {"y": y}), **shown}
        if self.labels is None:
            return data
        if isinstance(data, Mapping):
            return {**data, "x": x, "y": y}
        more = data.tensors if isinstance(data, TensorDataset) else data if isinstance(data, tuple) else ()
        return (x, y, *more[2:])

    def prepare(self, data: Any) -> Self:
        """Set what training starts from, where nothing was trained yet.

        The decoder's output bias at the data's mean (a decoder of your own is left alone), a learned scale at its
        spread, what the prior wants to know of it, and the rates of labels (those of a data set, or of a pair).
        """
        (_, y), seen, bias = pair_of(data), self._whole(data), self._output_bias()
        if bias is not None and not bool(bias.any()):
            with torch.no_grad():
                bias.copy_(self.likelihood.outputs_for(seen.mean()))
        self.likelihood.prepare(seen.filled())
        self.prior.prepare(seen.filled())
        if self.labels is not None and y is not None:
            self.labels.prepare(self.labels.check("data", y, len(seen.x)))
        return self

    def monitor(self) -> Monitor:
        """The plain ELBO; for a deterministic model, which has none, the log p(x, z) at its codes that MAP maximizes.

        Reconstructions alone would choose the epoch that heeded the prior least.
        """
        if self.family.has_density:
            return super().monitor()

        def score(batch: Batch) -> Tensor:
            seen = self._observed_in(batch)
            code = self.family.code(self._encode(self._seen(seen)))
            likelihood = self._likelihood(self._decode(code), seen).log_prob(seen.x)
            return (likelihood + self.prior.distribution().log_prob(code)).mean()

        return Monitor.of_scores("log_joint", score)

    # What it is given.

    def observed(self, argument: str, x: Any, mask: Any = None, lengths: Any = None) -> Observed:
        """Examples and what of them is observed, checked, on the model's device and in its dtype.

        Args:
            argument: what errors call the examples.
            x: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            mask, lengths: as in `encode`.

        Raises:
            DataError: names the argument; for a wrong shape or dtype, observed values outside the support or not
                finite.
            ArgumentError: names `mask` or `lengths`; for another shape or dtype, lengths below 1, an example of which
                nothing is observed.
        """
        seen = self._numbers(argument, x, mask, lengths)
        shown = seen.x if seen.mask is None else torch.where(seen.mask, seen.x, self.likelihood.placeholder(seen.x))
        self.check(argument, shown)
        return Observed(seen.x.to(self.device, self.dtype), None if seen.mask is None else seen.mask.to(self.device))

    def _numbers(self, argument: str, x: Any, mask: Any = None, lengths: Any = None) -> Observed:
        """The same for any finite numbers, whether or not they are in the support; as they came, where they are."""
        if lengths is None and isinstance(x, Dataset):
            lengths = x.lengths
        arrays = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
        x = x.tensor if isinstance(x, Dataset) else torch.tensor(checks.unmasked(argument, x)) if arrays else x
        rows = checks.rows(argument, x, self.data_shape)
        if mask is None and lengths is None:
            return Observed(checks.finite(argument, rows))
        mask = None if mask is None else check_mask(mask, len(rows), self.data_shape).to(rows.device)
        lengths = None if lengths is None else check_lengths(lengths, len(rows), self.data_shape).to(rows.device)
        seen = observed(rows, mask, lengths, self.data_shape)
        if seen.mask is None or not bool(seen.mask.any(-1).all()):
            raise ArgumentError("mask", "at least one observed value in each example", "one without any")
        self.likelihood.check_mask("mask", seen.mask)
        checks.finite(argument, seen.x)
        return seen

    def _observed(self, x: Tensor, mask: Tensor | None, lengths: Tensor | None) -> Observed:
        """What a callable is given; checked where Pyro validates, as in the first step of training."""
        if mask is None and lengths is None:
            return Observed(self.rows(x))
        if is_validation_enabled():
            return self.observed("x", x, mask, lengths)
        return observed(x.flatten(1), mask, lengths, self.data_shape)

    def _observed_in(self, batch: Any) -> Observed:
        """What a call was given, from its arguments: a `Batch`, or what a penalty sees."""
        args, kwargs = (batch.args, batch.kwargs) if isinstance(batch, Batch) else ((), batch)
        if not isinstance(kwargs, Mapping):
            args, kwargs = kwargs if isinstance(kwargs, tuple) else (kwargs,), {}
        return self._observed(args[0] if args else kwargs["x"], kwargs.get("mask"), kwargs.get("lengths"))

    def _whole(self, data: Any) -> Observed:
        """All examples of what a user calls data."""
        return self.observed("data", pair_of(data)[0], **_parts(data))

    def _known_labels(self, argument: str, y: Any, size: int) -> Tensor:
        labels: Any = self.labels
        if y is None:
            wanted = "examples with labels" + (" (-1 where unknown)" if labels.latent else "")
            raise DataError(argument, f"{wanted}, since the model has num_labels", "none with them")
        return labels.check(argument, y, size)

    # How the parts act together.

    def _likelihood(self, outputs: Tensor, seen: Observed | None) -> dist.TorchDistribution:
        if seen is None or seen.mask is None:
            return self.likelihood.distribution(outputs)
        return self.likelihood.observed(outputs, seen.mask)

    def _seen(self, seen: Observed) -> Tensor:
        """What the guide's encoder sees of the examples, zero where nothing is observed."""
        return seen.x

    def _encode(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return outputs_of("encoder", self.encoder, joined(x, label), self.family.num_outputs)

    def _decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return outputs_of("decoder", self.decoder, joined(z, label), self.likelihood.num_outputs)

    def _posterior(self, x: Tensor) -> dist.TorchDistribution:
        return self.family.distribution(self._encode(x))

    def _output_bias(self) -> nn.Parameter | None:
        if "decoder" in self.own_modules:
            return None
        return self.decoder[-1].bias  # type: ignore[index, return-value, union-attr]

    # How they are made.

    def _encoder(self, num_outputs: int, context: int = 0) -> nn.Module:
        shape, hidden = self.data_shape, self.hidden
        return self.network.encoder(shape, num_outputs, hidden=hidden, activation=self.activation, context=context)

    def _decoder(self, num_inputs: int) -> nn.Module:
        shape, outputs = self.data_shape, self.likelihood.num_outputs
        return self.network.decoder(num_inputs, shape, outputs, hidden=self.hidden, activation=self.activation)

    def _classifier(self, num_labels: int, role: str) -> nn.Module | None:
        if checks.choice("labels", role, ("condition", "latent")) == "condition":
            return None
        return self._encoder(checks.positive_int("num_labels", num_labels, minimum=2))

    def _between(self, inputs: int, outputs: int) -> nn.Module:
        return mlp([inputs, *self.hidden, outputs], self.activation)

    @property
    def shared_config(self) -> dict[str, Any]:
        """The arguments that all latent models have in common."""
        return {
            "data_shape": list(self.data_shape),
            "latent_dim": self.latent_dim,
            "hidden": list(self.hidden),
            "likelihood": self.likelihood.config,
            "activation": self.activation,
        }


def _parts(data: Any) -> dict[str, Any]:
    """The mask and the lengths in what a user calls data; a data set brings its own lengths."""
    x, _ = pair_of(data)
    given = data if isinstance(data, Mapping) else {}
    lengths = given.get("lengths")
    return {"mask": given.get("mask"), "lengths": x.lengths if lengths is None and isinstance(x, Dataset) else lengths}
