"""KL terms of single latent sites: in closed form where that is right, and with free bits."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from probae.errors import SiteError


def analytic_kl(site: dict[str, Any], prior: dict[str, Any]) -> Tensor | None:
    """KL(q to p) of a traced guide site, in closed form, for each element of its batch shape.

    Returns:
        The KL, scaled and masked; None where torch knows no closed form, where the guide is not reparameterized (its
        gradient then needs the score function of the sampled term), or where it is a Delta (torch would drop its
        `log_density`).
    """
    q, p = site["fn"], prior["fn"]
    if not q.has_rsample or isinstance(base_distribution(q), dist.Delta):
        return None
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        return None
    if not isinstance(kl, Tensor):  # a mask of False makes it the number 0
        kl = site["value"].new_full((), kl)
    return scale_and_mask(kl.expand(q.batch_shape), site["scale"], site["mask"])


def free_bits_kl(site: dict[str, Any], prior: dict[str, Any], free_bits: float, exact: bool) -> Tensor:
    """KL of a site in which each latent dimension's mean over the batch counts at least `free_bits` nats.

    Dimensions are those of an `Independent` (`.to_event()`) in model and guide; otherwise the site is one group.

    Returns:
        A scalar, multiplied by batch elements and scale, so that it stands beside sums over the batch.

    Raises:
        SiteError: if the site is not reparameterized or masked.

    Source:
        Kingma et al. 2016 (arXiv 1606.04934), eq. 15.
    """
    q, p, value = site["fn"], prior["fn"], site["value"]
    if not q.has_rsample or isinstance(base_distribution(q), dist.Delta):
        raise SiteError(f"free_bits needs reparameterized latent sites with a density; {site['name']!r} is not one")
    if site["mask"] is not None:
        raise SiteError(f"free_bits does not go with the mask on site {site['name']!r}")
    if isinstance(q, Independent) and isinstance(p, Independent) and p.event_shape == q.event_shape:
        q, p = q.base_dist, p.base_dist
    batch_dims = len(site["fn"].batch_shape)
    kl = _closed_form(q, p) if exact else None
    kl = q.log_prob(value) - p.log_prob(value) if kl is None else kl
    kl = kl.expand(torch.broadcast_shapes(kl.shape, site["fn"].batch_shape + kl.shape[batch_dims:]))
    mean = kl.mean(dim=tuple(range(batch_dims))) if batch_dims else kl
    return mean.clamp(min=free_bits).sum() * site["scale"] * site["fn"].batch_shape.numel()


def _closed_form(q: Any, p: Any) -> Tensor | None:
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def base_distribution(d: Any) -> Any:
    """The distribution inside `to_event`, `expand` and `mask`."""
    while hasattr(d, "base_dist"):
        d = d.base_dist
    return d
