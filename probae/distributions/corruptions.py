"""Ways to spoil examples: the corruption C(x~ given x) of a denoising autoencoder."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor, nn

from probae.checks import real
from probae.distributions.bits import random_bits


class Corruption(nn.Module, ABC):
    """A distribution over spoiled examples x~ given the clean x, both (..., D).

    To write a new one, subclass this, implement `distribution` and `config`, and hand the object to the model. Any
    Pyro distribution will do: `dist.Laplace(x, 0.1).to_event(1)`. A function from x to it will do as well (`Drawn`).
    """

    @abstractmethod
    def distribution(self, x: Tensor) -> TorchDistribution:
        """C(x~ given x), of event shape (D,)."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild it."""


@final
class Masking(Corruption):
    """Each dimension is set to zero with a probability, its rate.

    Source: Vincent, Larochelle, Bengio and Manzagol (2008), "Extracting and composing robust features with denoising
    autoencoders".

    Example:
        >>> Masking(rate=1.0).distribution(torch.ones(1, 3)).sample()
        tensor([[0., 0., 0.]])
    """

    def __init__(self, rate: float = 0.3) -> None:
        super().__init__()
        self.rate = real("rate", rate, low=0.0, high=1.0)

    def distribution(self, x: Tensor) -> TorchDistribution:
        return Replaced(x, self.rate, 0.0, 0.0)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "masking", "rate": self.rate}


@final
class SaltAndPepper(Corruption):
    """Each dimension is replaced with a probability, its rate: by `low` or by `high`, each as often.

    Source: Vincent, Larochelle, Lajoie, Bengio and Manzagol (2010), "Stacked denoising autoencoders", section 3.3.

    Example:
        >>> noisy = SaltAndPepper(rate=1.0).distribution(torch.full((1, 3), 0.5)).sample()
        >>> bool(((noisy == 0) | (noisy == 1)).all())
        True
    """

    def __init__(self, rate: float = 0.3, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.rate = real("rate", rate, low=0.0, high=1.0)
        self.low = real("low", low)
        self.high = real("high", high, low=self.low, open_low=True)

    def distribution(self, x: Tensor) -> TorchDistribution:
        return Replaced(x, self.rate, self.low, self.high)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "salt_and_pepper", "rate": self.rate, "low": self.low, "high": self.high}


@final
class Gaussian(Corruption):
    """Normal noise of one scale (standard deviation) is added. Only with it does a denoiser know the score.

    Source: Alain and Bengio (2014), "What regularized auto-encoders learn from the data-generating distribution".

    Example:
        >>> Gaussian(scale=0.5).distribution(torch.zeros(1, 2)).base_dist.scale
        tensor([[0.5000, 0.5000]])
    """

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        self.scale = real("scale", scale, low=0.0, open_low=True)

    def distribution(self, x: Tensor) -> TorchDistribution:
        return dist.Normal(x, self.scale).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "gaussian", "scale": self.scale}


@final
class Drawn(Corruption):
    """What a function of your own says: from x (..., D) to a distribution of event shape (D,).

    A model with one cannot be saved, since a function cannot be written down.

    Example:
        >>> Drawn(lambda x: dist.Laplace(x, 0.1).to_event(1)).distribution(torch.zeros(1, 2)).base_dist.scale
        tensor([[0.1000, 0.1000]])
    """

    def __init__(self, function: Callable[[Tensor], TorchDistribution]) -> None:
        super().__init__()
        self.function = function

    def distribution(self, x: Tensor) -> TorchDistribution:
        return self.function(x)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": f"a function of your own, {getattr(self.function, '__name__', type(self.function).__name__)}"}


CORRUPTIONS: dict[str, type[Corruption]] = {
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "gaussian": Gaussian,
}


class Replaced(TorchDistribution):
    """Each dimension of x, or with a probability one of two values instead.

    log p(x~) is that of a discrete distribution, with a mass of 1 - rate at x and rate / 2 at each of the two values.

    Args:
        x: (..., D).
        rate: the probability of a replacement.
        low, high: what replaces, each as often; the same twice, if it is to be one value.

    Example:
        >>> Replaced(torch.tensor([1.0, 1.0]), 0.25, 0.0, 0.0).log_prob(torch.tensor([1.0, 0.0])).exp()
        tensor(0.1875)
    """

    arg_constraints: ClassVar[Any] = {}
    support = constraints.real_vector  # type: ignore[assignment]

    def __init__(
        self, x: Tensor, rate: float, low: float, high: float, *, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        self.x, self.rate, self.low, self.high = x, rate, low, high
        super().__init__(x.shape[:-1], x.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Replaced:
        return Replaced(self.x.expand(*batch_shape, *self._event_shape), self.rate, self.low, self.high)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        x = self.x.expand(self._extended_shape(torch.Size(sample_shape)))
        replaced = random_bits(torch.full_like(x, self.rate)).bool()
        if self.low == self.high:
            return x.masked_fill(replaced, self.low)
        rises = random_bits(torch.full_like(x, 0.5)).bool()
        return x.masked_fill(replaced & rises, self.high).masked_fill(replaced & ~rises, self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        mass = (1 - self.rate) * (value == self.x).to(self.x.dtype)
        for other in (self.low, self.high):
            mass = mass + 0.5 * self.rate * (value == other).to(self.x.dtype)
        return torch.where(mass > 0, mass.log(), -math.inf).sum(-1)
