"""Guide families q(z given x): what an encoder's outputs mean."""

from probae.distributions.guides.base import GuideFamily
from probae.distributions.guides.delta import Delta
from probae.distributions.guides.diagonal_normal import DiagonalNormal
from probae.distributions.guides.flow import Flow
from probae.distributions.guides.full_normal import FullNormal
from probae.distributions.guides.shared_normal import SharedNormal

GUIDES: dict[str, type[GuideFamily]] = {
    "diagonal": DiagonalNormal,
    "shared": SharedNormal,
    "full": FullNormal,
    "flow": Flow,
    "delta": Delta,
}

__all__ = ["GUIDES", "Delta", "DiagonalNormal", "Flow", "FullNormal", "GuideFamily", "SharedNormal"]
