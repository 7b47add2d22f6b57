"""Priors on weights, and how often hidden units are on, as penalties of an objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch.distributions as dist
import torch.nn.functional as F
from torch import Tensor, nn

from probae.checks import choice, positive_int, real
from probae.distributions.units import BernoulliUnits
from probae.errors import ArgumentError

PRIORS: dict[str, type[dist.Laplace | dist.Normal]] = {"laplace": dist.Laplace, "normal": dist.Normal}


@final
class WeightPrior:
    """L1 or L2 on weights: minus the log-density of a Laplace or Normal prior on them, shared out among N examples.

    Beside the ELBO of each example, as one of `pb.ELBO(penalties=...)`, it makes training MAP in the weights:

        sum over the examples of ELBO(x) + log p(W),  p(W) = product of Laplace(w; 0, scale) or Normal(w; 0, scale)

    so a batch of B examples counts B / N of it. Laplace is L1 of weight 1 / scale, Normal L2 of weight
    1 / (2 scale^2), in nats. The weights are a module's parameters of two dimensions or more: matrices and kernels,
    no biases; of a layer with a bound on its weights, those that it applies.

    Args:
        module: whose weights, such as `model`, `model.encoder`, or a layer.
        num_examples: N, the number of training examples.
        prior: "normal" or "laplace".
        scale: of the prior.

    Raises:
        ArgumentError: names the argument.

    Example:
        >>> from probae import ELBO, Autoencoder
        >>> import torch
        >>> x, model = torch.rand(100, 9), Autoencoder(9, 2, hidden=16)
        >>> run = model.fit(x, objective=ELBO(penalties=WeightPrior(model, 100, "laplace", scale=0.1)), epochs=2)
    """

    def __init__(self, module: nn.Module, num_examples: int, prior: str = "normal", scale: float = 1.0) -> None:
        if not isinstance(module, nn.Module) or not _weights(module):
            got = "one without any" if isinstance(module, nn.Module) else type(module).__name__
            raise ArgumentError("module", "a torch.nn.Module with weights", got)
        self.module, self.num_examples = module, positive_int("num_examples", num_examples)
        self.prior, self.scale = choice("prior", prior, PRIORS), real("scale", scale, low=0.0, open_low=True)

    def __call__(self, batch: Any, guide_trace: Any) -> Tensor:
        """-log p(W) / N, a scalar: an example's share."""
        total: Any = 0.0
        for weight in _weights(self.module):
            prior = PRIORS[self.prior](weight.new_zeros(()), self.scale, validate_args=False)
            total = total - prior.log_prob(weight).sum()
        return total / self.num_examples


@final
class TargetRate:
    """A target for how often the hidden units of a Boltzmann machine are on, over each batch.

    strength * sum_j KL(Bernoulli(r) to Bernoulli(q_j)), q_j the mean of p(h_j = 1 given x) over the batch: zero where
    each unit is on for a share r of the examples. With a small r, units become features of their own, and none stays
    dead. One of `pb.ELBO(penalties=...)`; what it adds is in nats per example.

    Args:
        model: an RBM, or whatever has `distribution()`, with Bernoulli hidden units.
        rate: r, strictly between 0 and 1.
        strength: of the penalty, from zero up.

    Raises:
        ArgumentError: names the argument.

    Source: Lee, Ekanadham and Ng (2008), "Sparse deep belief net model for visual area V2"; the divergence instead of
    their square: Hinton (2010), "A practical guide to training restricted Boltzmann machines", section 11.

    Example:
        >>> from probae import ELBO, RBM
        >>> import torch
        >>> x, rbm = torch.rand(100, 9).round(), RBM(9, 4)
        >>> run = rbm.fit(x, objective=ELBO(penalties=TargetRate(rbm, 0.1, strength=2.0)), epochs=2)
    """

    def __init__(self, model: Any, rate: float = 0.1, strength: float = 1.0) -> None:
        machine = model.distribution() if callable(getattr(model, "distribution", None)) else None
        if machine is None or not isinstance(getattr(machine, "hidden", None), BernoulliUnits):
            raise ArgumentError("model", "a Boltzmann machine with Bernoulli hidden units", type(model).__name__)
        self.model, self.strength = model, real("strength", strength, low=0.0)
        self.rate = real("rate", rate, low=0.0, high=1.0, open_low=True)
        if self.rate == 1.0:
            raise ArgumentError("rate", "a number strictly between 0 and 1", rate)

    def __call__(self, batch: Any, guide_trace: Any) -> Tensor:
        """The penalty of a batch, a scalar."""
        machine = self.model.distribution()
        x = batch["x"] if isinstance(batch, Mapping) else batch[0] if isinstance(batch, tuple) else batch
        x = x.flatten(1).to(machine.weight.dtype)
        inputs = machine.hidden_input(x)
        on, off = (F.logsigmoid(signed).logsumexp(0) - math.log(len(x)) for signed in (inputs, -inputs))
        entropy = self.rate * math.log(self.rate) + (1 - self.rate) * math.log1p(-self.rate)
        return self.strength * (entropy - self.rate * on - (1 - self.rate) * off).sum()


def _weights(module: nn.Module) -> list[Tensor]:
    """Each once, as it is applied: a bounded layer's `weight` is made of its `raw_weight`."""
    found: dict[Tensor, Tensor] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.dim() > 1:
                found[parameter] = getattr(part, "weight") if name == "raw_weight" else parameter  # noqa: B009
    return list(found.values())
