"""Normalizing flows as Pyro distributions: a standard Normal, bent by a chain of autoregressive maps of zuko."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from probae.checks import choice
from probae.distributions.own_sample import OwnSample, standard_log_prob
from probae.errors import ArgumentError

CONDITIONERS = ("autoregressive", "coupling")
"""Which variables the map of each variable may look at: all before it, or the other half."""


@final
class FlowDistribution(dist.TorchDistribution):
    """z = m + s f(e), e standard Normal, f an invertible map:

        log p(z) = log Normal(e; 0, I) - log |det df/de| - sum_i log s_i,  e = f^-1((z - m) / s)

    A sample's own log-density comes with the sample; that of any other value costs an inversion of f. The mean has no
    closed form.

    Args:
        transform: f, a transform of zuko's over vectors of d variables.
        loc, scale: m and s, (..., d); with a conditional f, of the batch shape of its context.

    Example:
        >>> network = flow_network("flow", 2, transforms=2, hidden=[8], conditioner="coupling")
        >>> FlowDistribution(network(), torch.ones(2), torch.ones(2)).log_prob(torch.ones(2))
        tensor(-1.8379, grad_fn=...)
    """

    arg_constraints: ClassVar[Any] = {
        "loc": dist.constraints.real_vector,
        "scale": dist.constraints.independent(dist.constraints.positive, 1),
    }
    support: ClassVar[Any] = dist.constraints.real_vector
    has_rsample = True
    _own = OwnSample()

    def __init__(self, transform: Any, loc: Tensor, scale: Tensor, *, validate_args: bool | None = None) -> None:
        self.transform = transform
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> FlowDistribution:
        new = self.__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape, new._own = torch.Size(batch_shape), OwnSample()
        new.loc, new.scale = (part.expand(new._extended_shape()) for part in (self.loc, self.scale))
        return new

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        bent, log_det = self.transform.call_and_ladj(noise)
        value = self.loc + self.scale * bent
        self._own = OwnSample(value, standard_log_prob(noise) - log_det - self.scale.log().sum(-1))
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        own = self._own.log_prob(value)
        if own is not None:
            return own
        noise, log_det = self.transform.inv.call_and_ladj((value - self.loc) / self.scale)
        return standard_log_prob(noise) + log_det - self.scale.log().sum(-1)

    @property
    def mean(self) -> Tensor:
        """Not known.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the mean of a flow has no closed form; `centre` (a guide's `code`) stands for it")

    @property
    def centre(self) -> Tensor:
        """Where e = 0 is mapped to, (..., d): the median for a single variable, near the bulk for more."""
        return self.loc + self.scale * self.transform(torch.zeros_like(self.loc))


def flow_network(
    argument: str, size: int, *, transforms: int, hidden: Sequence[int], conditioner: str, context: int = 0
) -> nn.Module:
    """A chain of affine autoregressive maps over `size` variables, the identity at first: a lazy transform of zuko's.

    Each variable is shifted and scaled by what a network says of the variables before it and of the context,
    (..., context); before it in an order that changes from map to map. One direction is one pass through each network,
    its inverse takes `size` passes, or two where the conditioner is a coupling.

    Raises:
        ArgumentError: if zuko is missing, which names `argument`; for arguments that make no flow.
    """
    zuko = import_zuko(argument)
    coupling = choice("conditioner", conditioner, CONDITIONERS) == "coupling"
    maps = [
        zuko.flows.MaskedAutoregressiveTransform(
            size, context, passes=2 if coupling else size, order=_order(index, size, coupling),
            hidden_features=hidden, activation=nn.ELU,
        )
        for index in range(transforms)
    ]  # fmt: skip
    for each in maps:
        # A single variable without a context has constants in place of a network.
        last = [each.hyper[-1].weight, each.hyper[-1].bias] if hasattr(each, "hyper") else list(each.phi)
        for parameter in last:
            nn.init.zeros_(parameter)
    return zuko.lazy.LazyComposedTransform(*maps)


def _order(index: int, size: int, coupling: bool) -> Tensor:
    """The rank of each variable in a map; every second one turns the order round.

    Couplings part the variables by one bit of their number after the other, or those that always stood on the same
    side would never heed each other. Ranks of one side are equal, and as far from the other's as zuko wants them.
    """
    numbers = torch.arange(size)
    if not coupling:
        return numbers.flip(0) if index % 2 else numbers
    bit = index // 2 % max(1, (size - 1).bit_length())
    side = (numbers >> bit) & 1
    return (1 - side if index % 2 else side) * -(-size // 2)


def import_zuko(argument: str) -> Any:
    """The package zuko, an optional one.

    Raises:
        ArgumentError: if it is not installed.
    """
    validates = torch.distributions.Distribution._validate_args
    try:
        import zuko
    except ImportError as error:
        hint = "Install it: pip install 'probae[flows]'"
        raise ArgumentError(argument, "the package zuko, which flows are made of", "none installed", hint) from error
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)  # zuko turns it off for everybody
    return zuko
