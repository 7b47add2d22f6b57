"""Models with a latent vector: an encoder, a decoder, and what stands in the four places of the ELBO."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.guides import GUIDES, GuideFamily
from probae.distributions.likelihoods import LIKELIHOODS, Likelihood
from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Prior
from probae.engine.batches import Batch
from probae.engine.monitor import Monitor, mean_over
from probae.errors import ArgumentError
from probae.evaluation.estimate import Estimate
from probae.models.base import Data, Model, examples_of, protocol_of
from probae.networks.mlp import mlp


class LatentModel(Model, ABC):
    """p(z) p(x given z) with a guide q(z given x): the shape of every autoencoder here.

    Final classes fix what stands in the four places and add the verbs that only they have.

    Args:
        data_shape: of one example.
        latent_dim: length of the latent vector.
        hidden: widths of the hidden layers of the encoder; the decoder mirrors them.
        likelihood, prior, guide: names, configurations or objects.
        encoder: a module of one's own, (N, D) -> (N, guide.num_outputs).
        decoder: likewise, (N, latent_dim) -> (N, D) or (N, *data_shape); N counts particles and examples alike.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        data_shape: int | tuple[int, ...],
        *,
        latent_dim: int,
        hidden: Sequence[int] | int,
        likelihood: str | dict[str, Any] | Likelihood,
        prior: str | dict[str, Any] | Prior,
        guide: str | dict[str, Any] | GuideFamily,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        activation: str,
    ) -> None:
        super().__init__(data_shape)
        self.latent_dim = checks.positive_int("latent_dim", latent_dim)
        self.hidden = _widths(hidden)
        self.activation = activation
        self.likelihood = make("likelihood", likelihood, Likelihood, LIKELIHOODS, self.num_visible)
        self.prior = make("prior", prior, Prior, PRIORS, self.latent_dim)
        self.family = make("guide", guide, GuideFamily, GUIDES, self.latent_dim)
        for name, part in (("prior", self.prior), ("guide", self.family)):
            if part.latent_dim != self.latent_dim:
                raise ArgumentError(name, f"one over {self.latent_dim} latent variables", f"one over {part.latent_dim}")
        self.own_modules = tuple(n for n, m in (("encoder", encoder), ("decoder", decoder)) if m is not None)
        up = (self.num_visible, *self.hidden, self.family.num_outputs)
        down = (self.latent_dim, *self.hidden[::-1], self.num_visible)
        self.encoder = _network("encoder", encoder, up, activation)
        self.decoder = _network("decoder", decoder, down, activation)
        if (bias := self._output_bias()) is not None:
            nn.init.zeros_(bias)  # `prepare` knows by it that nothing was trained

    # The pair.

    def model(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """p(x, z): z from the prior, x from the likelihood given the decoder's outputs. Returns x, (N, D)."""
        self.refuse(mask=mask, lengths=lengths)
        self.register()
        with self.plate(num_examples if x is None else x.shape[0]):
            z = pyro.sample("z", self.prior.distribution())
            observed = None if x is None else self.rows(x)
            return pyro.sample("x", self.likelihood.distribution(self._decode(z)), obs=observed)

    def guide(
        self, x: Tensor | None = None, y: Tensor | None = None, *, mask: Tensor | None = None,
        lengths: Tensor | None = None, num_examples: int = 1,
    ) -> Tensor:  # fmt: skip
        """q(z given x): z from the guide family with the encoder's outputs. Returns z, (N, latent_dim)."""
        if x is None:
            raise ArgumentError("x", "examples to encode", None)
        self.refuse(mask=mask, lengths=lengths)
        self.register()
        with self.plate(x.shape[0]):
            return pyro.sample("z", self.family.distribution(self._encode(self.rows(x))))

    # What it declares.

    def check(self, argument: str, x: Tensor) -> None:
        self.likelihood.check(argument, x)

    def prepare(self, data: Data) -> Self:
        """Set the decoder's output bias, if it is still zero, so that outputs start at the data's mean.

        A decoder of your own is left alone.
        """
        x, bias = self.examples("data", data), self._output_bias()
        if bias is not None and not bool(bias.any()):
            with torch.no_grad():
                bias.copy_(self.likelihood.outputs_for(x.mean(0)))
        return self

    def monitor(self) -> Monitor:
        """The plain ELBO; for a deterministic model, which has none, the log p(x, z) at its codes that MAP maximizes.

        Reconstructions alone would choose the epoch that heeded the prior least.
        """
        if self.family.has_density:
            return super().monitor()

        def score(batch: Batch) -> Tensor:
            x = examples_of(batch)
            code = self.family.distribution(self._encode(x)).mean
            likelihood = self.likelihood.distribution(self._decode(code)).log_prob(x)
            return (likelihood + self.prior.distribution().log_prob(code)).mean()

        return Monitor("log_joint", lambda batches: mean_over(batches, score))

    # Its verbs.

    def encode(self, x: Data) -> dist.TorchDistribution:
        """q(z given x) for examples (N, D): a distribution of batch shape (N,), event shape (latent_dim,)."""
        with self.evaluating():
            return self.family.distribution(self._encode(self.examples("x", x)))

    def decode(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z) for latent vectors (..., latent_dim): a distribution of event shape (D,)."""
        if not isinstance(z, Tensor) or z.dim() == 0 or z.shape[-1] != self.latent_dim:
            got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise ArgumentError("z", f"a tensor (..., {self.latent_dim})", got)
        checks.finite("z", z)
        with self.evaluating():
            return self.likelihood.distribution(self._decode(z.to(self.device, self.dtype)))

    def embed(self, x: Data) -> Tensor:
        """The mean code of each example: (N, latent_dim)."""
        return self.encode(x).mean

    def reconstruct(self, x: Data) -> Tensor:
        """The mean of p(x given the mean code), for each example: (N, D)."""
        with self.evaluating():
            return self.likelihood.mean(self._decode(self.embed(x)))

    def sample(self, num_examples: int = 1, *, mean: bool = False) -> Tensor:
        """Draw z from the prior, then x from the likelihood.

        Args:
            num_examples: how many.
            mean: return the mean of p(x given z) instead of a draw, as pictures usually show.

        Returns:
            (num_examples, D).
        """
        count = checks.positive_int("num_examples", num_examples)
        with self.evaluating():
            outputs = self._decode(self.prior.distribution().sample((count,)))
            return self.likelihood.mean(outputs) if mean else self.likelihood.distribution(outputs).sample()

    def log_likelihood(self, data: Data, method: str = "importance", **options: Any) -> Estimate:
        """Estimate the mean log p(x) by importance sampling from the guide; see `pb.log_likelihood`.

        Args:
            data: a data set, or a tensor or an array (N, D) or (N, *data_shape).
            method: "importance".
            options: num_samples, seed, ... of `pb.log_likelihood`.

        Raises:
            NoLikelihoodError: for a deterministic guide, which has no density.
        """
        from probae.evaluation.log_likelihood import log_likelihood

        checks.options(options, log_likelihood, without=("model", "guide", "data", "method", "protocol"))
        x = self.examples("data", data)
        with self.evaluating():
            return log_likelihood(self.model, self.guide, x, method=method, protocol=protocol_of(data), **options)

    def _encode(self, x: Tensor) -> Tensor:
        return _outputs("encoder", self.encoder, x, self.family.num_outputs)

    def _decode(self, z: Tensor) -> Tensor:
        return _outputs("decoder", self.decoder, z, self.num_visible)

    def _output_bias(self) -> nn.Parameter | None:
        if "decoder" in self.own_modules or not isinstance(self.decoder, nn.Sequential):
            return None
        last = self.decoder[-1]
        return last.bias if isinstance(last, nn.Linear) else None

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


def _network(argument: str, module: nn.Module | None, sizes: tuple[int, ...], activation: str) -> nn.Module:
    if module is None:
        return mlp(sizes, activation)
    if not isinstance(module, nn.Module):
        raise ArgumentError(argument, "a torch.nn.Module", type(module).__name__)
    return module


def _outputs(argument: str, network: nn.Module, inputs: Tensor, size: int) -> Tensor:
    """Outputs (..., size) for inputs (..., n); the network itself sees (N, n), since not every layer broadcasts."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    outputs = network(rows)
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != rows.shape[:1] or outputs.numel() != len(rows) * size:
        got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        wanted = f"a module with outputs of shape ({len(rows)}, {size}) for inputs of shape {tuple(rows.shape)}"
        raise ArgumentError(argument, wanted, got)
    return outputs.reshape(*inputs.shape[:-1], size)


def _widths(hidden: Any) -> tuple[int, ...]:
    sizes = (hidden,) if isinstance(hidden, Integral) else hidden
    if not isinstance(sizes, (tuple, list)):
        raise ArgumentError("hidden", "a positive integer or a sequence of them", repr(hidden))
    return tuple(checks.positive_int("hidden", size) for size in sizes)
