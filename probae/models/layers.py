"""Stochastic layers above the first: p(z_L) ... p(z_1 given z_2), and the way up, q(z_2 given z_1) ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from probae.distributions.guides import DiagonalNormal, GuideFamily


class UpperLayers(nn.Module):
    """Latent vectors z_2, ..., z_L above z_1, each a diagonal Normal given the one above, z_L under the prior.

        p(z) = p(z_L) prod_l p(z_l given z_(l+1)),  q(z given x) = q(z_1 given x) prod_l q(z_(l+1) given z_l)

    Each map is a network of its own; the sites are "z1", ..., "zL", z1 nearest to the data.

    Args:
        sizes: of z_1, ..., z_L.
        families: the guide family of each.
        network: from sizes (inputs, outputs) to a module, from (N, inputs) to (N, outputs).

    Source:
        Rezende et al. 2014 (arXiv 1401.4082), section 3; Burda et al. 2016 (arXiv 1509.00519), section 5.
    """

    def __init__(
        self, sizes: Sequence[int], families: Sequence[GuideFamily], network: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        pairs = list(zip(sizes, sizes[1:], families[1:], strict=False))
        self.families = nn.ModuleList(families[1:])
        self.conditionals = nn.ModuleList(DiagonalNormal(size) for size in sizes[:-1])
        self.up = nn.ModuleList(network(low, family.num_outputs) for low, _, family in pairs)
        self.down = nn.ModuleList(network(high, 2 * low) for low, high, _ in pairs)

    def generate(self, prior: TorchDistribution) -> Tensor:
        """Sample z_L, ..., z_1 in a model. Returns z_1."""
        z = pyro.sample(f"z{len(self.up) + 1}", prior)
        for layer in reversed(range(len(self.down))):
            conditional = self.conditionals[layer].distribution(_rows(self.down[layer], z))  # type: ignore[operator]
            z = pyro.sample(f"z{layer + 1}", conditional)
        return z

    def infer(self, posterior: TorchDistribution) -> Tensor:
        """Sample z_1, ..., z_L in a guide, z_1 from its posterior. Returns z_1."""
        first = z = pyro.sample("z1", posterior)
        for layer, (network, family) in enumerate(zip(self.up, self.families, strict=True)):
            z = pyro.sample(f"z{layer + 2}", family.distribution(_rows(network, z)))  # type: ignore[operator]
        return first


def _rows(network: nn.Module, z: Tensor) -> Tensor:
    return network(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], -1)
