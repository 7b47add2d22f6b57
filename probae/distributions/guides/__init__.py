"""Guide families q(z given x): what an encoder's outputs mean."""

from probae.distributions.guides.base import GuideFamily
from probae.distributions.guides.delta import Delta
from probae.distributions.guides.diagonal_normal import DiagonalNormal

GUIDES: dict[str, type[GuideFamily]] = {"diagonal": DiagonalNormal, "delta": Delta}

__all__ = ["GUIDES", "Delta", "DiagonalNormal", "GuideFamily"]
