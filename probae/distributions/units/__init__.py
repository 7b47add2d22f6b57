"""The kinds of units that Boltzmann machines are made of."""

import copy
from typing import Any

from probae.distributions.named import make
from probae.distributions.units.base import Units
from probae.distributions.units.bernoulli import BernoulliUnits
from probae.distributions.units.categorical import CategoricalUnits
from probae.distributions.units.counts import CountUnits
from probae.distributions.units.gaussian import GaussianUnits
from probae.distributions.units.joint import JointUnits
from probae.distributions.units.relu import ReLUUnits
from probae.errors import ArgumentError

HIDDEN_UNITS: dict[str, type[Units]] = {
    "bernoulli": BernoulliUnits,
    "categorical": CategoricalUnits,
    "gaussian": GaussianUnits,
    "relu": ReLUUnits,
}
VISIBLE_UNITS: dict[str, type[Units]] = {**HIDDEN_UNITS, "counts": CountUnits}


def make_units(argument: str, kind: Any, table: dict[str, type[Units]], num_units: int) -> Units:
    """Units by name, configuration, or a copy of those given.

    Raises:
        ArgumentError: names the argument; for units of another number, unknown names and settings.
    """
    units = copy.deepcopy(kind) if isinstance(kind, Units) else make(argument, kind, Units, table, num_units)
    if units.num_units != num_units:
        raise ArgumentError(argument, f"{num_units} units", f"{units.num_units}")
    return units


__all__ = [
    "HIDDEN_UNITS",
    "VISIBLE_UNITS",
    "BernoulliUnits",
    "CategoricalUnits",
    "CountUnits",
    "GaussianUnits",
    "JointUnits",
    "ReLUUnits",
    "Units",
    "make_units",
]
