"""KL terms of single latent sites: in closed form where that is right, and with free bits."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence, register_kl

from probae.errors import SiteError
from probae.inference.traces import log_prob, unscaled_log_prob


def analytic_kl(site: dict[str, Any], prior: dict[str, Any]) -> Tensor | None:
    """log q - log p of a traced guide site, integrated in closed form, for each element of its batch shape.

    Guide and model may scale and mask the site differently: what the closed form does not cover is then sampled.

    Returns:
        The term, scaled and masked; None where torch knows no closed form, where the guide is not reparameterized (its
        gradient then needs the score function of the sampled term), or where it is a Delta (torch would drop its
        `log_density`).
    """
    q, p = site["fn"], prior["fn"]
    if not q.has_rsample or isinstance(base_distribution(q), dist.Delta) or not _same_masks(q, p):
        return None
    if (kl := _closed_form(q, p)) is None:
        return None
    if not isinstance(kl, Tensor):  # a mask of False makes it the number 0
        kl = site["value"].new_full((), kl)
    kl = kl.expand(q.batch_shape) * site["scale"]
    if not _equal(site["scale"], prior["scale"]):
        kl = kl - (prior["scale"] - site["scale"]) * unscaled_log_prob(prior)
    if _equal(site["mask"], prior["mask"]):
        return scale_and_mask(kl, mask=site["mask"])
    both = scale_and_mask(scale_and_mask(torch.ones_like(kl), mask=site["mask"]), mask=prior["mask"])
    return torch.where(both > 0, kl, log_prob(site) - log_prob(prior))


def _equal(a: Any, b: Any) -> bool:
    """Whether two scales or masks are known to be equal; comparing the values of tensors would wait for the device."""
    return a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b)


def _same_masks(q: Any, p: Any) -> bool:
    """Whether `.mask()` hides the same in both; Pyro's KL takes what is hidden in either as zero."""
    ours, theirs = _masks(q), _masks(p)
    return len(ours) == len(theirs) and all(_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _masks(d: Any) -> list[Any]:
    found = []
    while hasattr(d, "base_dist"):
        found += [d._mask] if isinstance(d, dist.MaskedDistribution) else []
        d = d.base_dist
    return found


def free_bits_kl(site: dict[str, Any], prior: dict[str, Any], free_bits: float, exact: bool) -> Tensor:
    """KL of a site in which each latent dimension's mean over the batch counts at least `free_bits` nats.

    Dimensions are those of an `Independent` (`.to_event()`) in model and guide; otherwise the site is one group.

    Returns:
        A scalar, multiplied by batch elements and scale, so that it stands beside sums over the batch.

    Raises:
        SiteError: if the site is not reparameterized, or is masked, or guide and model scale it differently.

    Source:
        Kingma et al. 2016 (arXiv 1606.04934), eq. 15.
    """
    q, p, value = site["fn"], prior["fn"], site["value"]
    if not q.has_rsample or isinstance(base_distribution(q), dist.Delta):
        raise SiteError(f"free_bits needs reparameterized latent sites with a density; {site['name']!r} is not one")
    if any(mask is not None for mask in (site["mask"], prior["mask"], *_masks(q), *_masks(p))):
        raise SiteError(f"free_bits does not go with the mask on site {site['name']!r}")
    if not _equal(site["scale"], prior["scale"]):
        raise SiteError(f"free_bits needs one scale on site {site['name']!r}, the same in model and guide")
    pair = isinstance(q, Independent) and isinstance(p, Independent)
    if pair and q.reinterpreted_batch_ndims == p.reinterpreted_batch_ndims:
        q, p = q.base_dist, p.base_dist
    batch_dims = len(site["fn"].batch_shape)
    kl = _closed_form(q, p) if exact else None
    kl = q.log_prob(value) - p.log_prob(value) if kl is None else kl
    kl = kl.expand(torch.broadcast_shapes(kl.shape, site["fn"].batch_shape + kl.shape[batch_dims:]))
    mean = kl.mean(dim=tuple(range(batch_dims))) if batch_dims else kl
    return mean.clamp(min=free_bits).sum() * site["scale"] * site["fn"].batch_shape.numel()


@register_kl(MultivariateNormal, Independent)
def _from_correlated(q: MultivariateNormal, p: Independent[Any]) -> Tensor:
    """KL(q to p) for independent p_i: the KLs of q's marginals, and q's total correlation. torch lacks this pair.

    KL(q to p) = sum_i KL(q_i to p_i) + sum_i log s_i - sum_i log L_ii,  s_i^2 = (L L')_ii
    """
    if p.reinterpreted_batch_ndims != 1 or len(p.event_shape) != 1:
        raise NotImplementedError
    scale = q.variance.sqrt()
    correlation = scale.log().sum(-1) - q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return kl_divergence(Normal(q.loc, scale), p.base_dist).sum(-1) + correlation


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
