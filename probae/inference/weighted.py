"""An objective that weighs the sites of a model: p(y given x) more than p(x), say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from probae import checks
from probae.errors import ArgumentError
from probae.inference.elbo import ELBO
from probae.inference.objective import Objective
from probae.inference.traces import Structure


@final
class Weighted(Objective):
    """The loss of an ELBO in which observed sites of the model count as often as their weights say.

    loss = -sum over observed sites s of weight_s log p(x_s given what came before) + KL terms

    What weighs nothing is not scored at all. Weights other than one make no bound of a likelihood.

    Args:
        weights: of sites by name; 1 where it says nothing.
        settings: of the ELBO.

    Raises:
        ArgumentError: names `weights`, for negative ones.

    Source: McCallum, Pal, Druck and Wang (2006), "Multi-conditional learning"; Larochelle and Bengio (2008),
    "Classification using discriminative restricted Boltzmann machines", section 4.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
        >>> def guide(x): ...
        >>> x = torch.ones(3)
        >>> bool(Weighted({"x": 0.5})(model, guide, x) == 0.5 * ELBO()(model, guide, x))
        True
    """

    def __init__(self, weights: Mapping[str, float], **settings: Any) -> None:
        super().__init__()
        if not isinstance(weights, Mapping):
            raise ArgumentError("weights", "a mapping from names of sites to weights", type(weights).__name__)
        self.weights = {name: checks.real("weights", weight, low=0.0) for name, weight in weights.items()}
        self.elbo = ELBO(**settings)

    def allocate(self, structure: Structure) -> None:
        self.elbo.allocate(structure)

    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any],
        structure: Structure,
    ) -> Tensor:  # fmt: skip
        scaled = poutine.block(_Weights(self.weights)(model), hide=[name for name, w in self.weights.items() if w == 0])
        return self.elbo.loss(scaled, guide, args, kwargs, structure)


class _Weights(Messenger):
    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def _pyro_sample(self, msg: Any) -> None:
        msg["scale"] = msg["scale"] * self.weights.get(msg["name"], 1.0)
