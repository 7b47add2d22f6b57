"""What the units of one side of a Boltzmann machine are: an energy, and what follows from their input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from probae import checks
from probae.errors import ArgumentError

Tail = Literal["bounded", "positive", "real"]
"""Where the values of units can go: nowhere, to plus infinity, to both infinities."""


class Units(nn.Module, ABC):
    """The units u of one side of a restricted Boltzmann machine, independent given the other side.

    All kinds have the same form. Given the other side, the energy is E(u) - t(u)'x, with E(u) the units' own energy,
    t(u) the statistic that the weights multiply, and x what comes from there; with the input m, the bias plus what
    comes from the other side,

        p(u given m) = exp(-E(u; m)) / integral of the same,   C(m, b) = log of the integral of exp(-E(u; b) + t(u)'x),

    where C is the cumulant: what a machine needs to sum these units out. The samplers, the estimators and the
    enumeration of a machine know of nothing else, so that a new kind of unit is a subclass of this:

    - `energy(u, bias)`: E(u; b), summed over the units;
    - `cumulant(input, bias)`: C, summed over the units;
    - `mean(input)` and `sample(input)`: of p(u given m);
    - `check(argument, u)`: refuses values that the units cannot have, by a `DataError`;
    - `bias_for(mean)`: the bias at which the units alone have (about) these means;
    - `tail`, `linear`, `config`; `statistic`, where it is not u itself; `num_states` and `states`, where there are
      finitely many.

    Args:
        num_units: how many numbers there are on this side; of categorical units, those of all one-hot vectors.

    Shapes: values, inputs, means (..., num_units); biases (num_units,), or (..., num_units) in documents;
        energies and cumulants (...,).

    Source: Welling, Rosen-Zvi and Hinton (2004), "Exponential family harmoniums".
    """

    tail: ClassVar[Tail] = "bounded"
    linear: ClassVar[bool] = True  # whether E(u; b) is -b'u
    counts: ClassVar[bool] = False  # whether values have lengths

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.num_units = checks.positive_int("num_units", num_units)

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The name and arguments that rebuild them, as JSON values."""

    @abstractmethod
    def check(self, argument: str, u: Tensor) -> None:
        """Raise a DataError that names the argument, if there are values that the units cannot have."""

    @abstractmethod
    def energy(self, u: Tensor, bias: Tensor) -> Tensor:
        """E(u; b): (...,) in nats, summed over the units."""

    @abstractmethod
    def cumulant(self, input: Tensor, bias: Tensor, length: Tensor | None = None) -> Tensor:
        """C(m, b): (...,) in nats, summed over the units."""

    def cumulant_change(self, input: Tensor, new: Tensor, bias: Tensor, new_bias: Tensor) -> Tensor:
        """C at a new input and bias less C at the old ones: (...,) float64, exact where they are close."""
        return self.cumulant(new.double(), new_bias.double()) - self.cumulant(input.double(), bias.double())

    @abstractmethod
    def mean(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        """E[u given m], (..., num_units)."""

    @abstractmethod
    def sample(self, input: Tensor, length: Tensor | None = None) -> Tensor:
        """Draw from p(u given m), (..., num_units), not differentiated through."""

    @abstractmethod
    def bias_for(self, mean: Tensor) -> Tensor:
        """The bias of units on their own that have about these means, (num_units,); finite for any means."""

    @property
    def parts(self) -> list[Units]:
        """The kinds that these units are of, in their order: one, but for joint units."""
        return [self]

    def check_means(self, argument: str, mean: Tensor) -> None:
        """Raise an ArgumentError that names the argument, for what cannot be means of the units, (num_units,)."""
        if not bool(mean.isfinite().all()):
            raise ArgumentError(argument, "finite means", "NaN or infinity")

    def check_mask(self, argument: str, mask: Tensor) -> None:
        """Raise an ArgumentError that names the argument, if units cannot be observed as the mask says, (..., D)."""

    def statistic(self, u: Tensor) -> Tensor:
        """t(u), what the weights multiply, (..., num_units): u itself, but for units with a scale."""
        return u

    def start(self, u: Tensor) -> None:
        """Set the units' own parameters, if they have some, to where training on values (N, num_units) begins."""

    def length(self, u: Tensor) -> Tensor | None:
        """(...,) how many draws each value counts; None, but for counts."""
        return None

    def log_orders(self, u: Tensor) -> Tensor | float:
        """(...,) the log of how many ordered lists each value stands for: 0, but for counts."""
        return 0.0

    @property
    def num_states(self) -> int | None:
        """How many values the units can have; None for infinitely many."""
        return None

    def states(self, numbers: Tensor) -> Tensor:
        """The values with the given numbers, from 0 to `num_states`: (S, num_units) float64 for numbers (S,)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The configuration."""
        settings = [f"{name}={value!r}" for name, value in self.config.items() if name != "name"]
        return ", ".join([str(self.num_units), *settings])
