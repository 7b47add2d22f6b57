"""Points scattered about curves in the plane, and their exact density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

ORDER = 16
REACH = 6.0  # a panel of the quadrature is as long as so many standard deviations of the noise


@dataclass(frozen=True)
class Curves:
    """An even mixture of K curves with Gaussian noise, shifted and scaled to mean 0 and variance 1 on each axis.

        x = (f_k(t) + noise * e - mean) / scale,    k and t in [0, 1] uniform, e ~ Normal(0, 1) on both axes
        p(x) = scale_1 scale_2 / K * sum_k integral_0^1 Normal(y; f_k(t), noise^2) dt,    y = mean + scale * x

    Mean and scale are those of the distribution, not of a sample. The integrals are sums over short Gauss-Legendre
    panels, fine enough for the noise to be exact to about twelve digits wherever there are points.

    Args:
        points: f, from (T,) values of t to (K, T, 2).
        noise: standard deviation on each axis.

    Example:
        >>> circle = Curves(lambda t: np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], -1)[None], noise=0.1)
        >>> x, curve = circle.sample(np.random.RandomState(0), 1000)
        >>> round(circle.log_prob(x).mean().item(), 3)
        -1.598
    """

    points: Callable[[np.ndarray], np.ndarray]
    noise: float

    def sample(self, stream: np.random.RandomState, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) points and the (N,) numbers of their curves."""
        t, noise = stream.random_sample(count), self.noise * stream.standard_normal((count, 2))
        on_each = self.points(t)
        curve = stream.randint(len(on_each), size=count)
        mean, scale = self._moments
        return (on_each[curve, np.arange(count)] + noise - mean) / scale, curve

    def log_prob(self, x: np.ndarray) -> Tensor:
        """log p(x) of (N, 2) points in nats: (N,) in float64."""
        mean, scale = self._moments
        nodes, weights = self._nodes
        y, centres = torch.from_numpy(mean + scale * x), torch.from_numpy(nodes.reshape(-1, 2))
        log_weights = torch.from_numpy(np.log(weights / len(nodes))).repeat(len(nodes))
        constant = float(np.log(scale).sum()) - math.log(2 * math.pi * self.noise**2)
        parts = (self._log_sum(part, centres, log_weights) for part in y.split(512))  # bounds the memory
        return torch.cat(list(parts)) + constant

    def _log_sum(self, y: Tensor, centres: Tensor, log_weights: Tensor) -> Tensor:
        distance = torch.cdist(y, centres, compute_mode="donot_use_mm_for_euclid_dist") / self.noise
        return (log_weights - distance.square() / 2).logsumexp(1)

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """(K, T, 2) points on the curves, and weights (T,) with which their sum is the integral over t."""
        coarse = self.points(np.linspace(0, 1, 1001))
        speed = 1000 * np.linalg.norm(np.diff(coarse, axis=1), axis=-1).max()
        panels = math.ceil(speed / (REACH * self.noise)) + 1
        at, weights = np.polynomial.legendre.leggauss(ORDER)
        t = (np.arange(panels)[:, None] + (at + 1) / 2) / panels
        return self.points(t.flatten()), np.tile(weights / 2, panels) / panels

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        nodes, weights = self._nodes
        mean, square = (np.einsum("kta,t->a", power, weights) / len(nodes) for power in (nodes, nodes**2))
        return mean, np.sqrt(square - mean**2 + self.noise**2)
