"""log Z while a machine trains: annealed importance sampling whose ladder is the training itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self, final

import torch
from torch import Tensor, nn

from probae import checks
from probae.distributions.tempered import Tempered
from probae.errors import NotPreparedError
from probae.inference import stepping
from probae.inference.negative_phases import machine_parameters

if TYPE_CHECKING:
    from probae.distributions.rbm import RestrictedBoltzmann

_EXACT = "energy", "log_weights", "variance"


@final
class RunningWeights(nn.Module):
    """Chains that weigh each change that training makes to a machine.

    They start as exact draws of independent units, whose log Z_0 is known. At each training step, where the parameters
    have come from theta_(t-1) to theta_t,

        log w <- log w + F_(t-1)(v) - F_t(v),

    and then v takes a block Gibbs step under theta_t. This is annealed importance sampling along the parameters that
    training passes instead of along temperatures: the mean of w is Z_t in expectation, at each step, however far the
    chains are from the machine, given the parameters, which do not depend on these chains (they are not the negative
    phase's). Where the weights' effective sample size falls below half of the chains, they are drawn anew in proportion
    to their weights, and all have the mean weight from then on.

    Energies are those of float64 parameters, whatever the precision of the training: rounded anew at each step they
    would pretend to changes that the chains do not follow, and the mean of whose exponentials is above one.

    The variance of log mean w is taken to be the sum of 1/ESS - 1/C over these moments, which holds as far as chains
    mix between them. Where the learning rate is high or the machine mixes slowly, it adds up, and log mean w is then
    below log Z. A training step costs what it costs with 2 C more chains of `PCD`, about.

    Args:
        num_chains: C, at least 2.

    Attributes:
        chains: (C, D). energy: (C,) F of each under the parameters by which it last moved. log_weights: (C,) log w,
            log Z_0 included. variance: what has added up. The last three stay in float64 when the module is cast.

    Raises:
        ArgumentError: for fewer chains.

    Source: Bereux, Decelle, Furtlehner, Rosset and Seoane (2025), "Fast training and sampling of restricted Boltzmann
    machines" (arXiv 2405.15376); Neal (2001), "Annealed importance sampling"; Del Moral, Doucet and Jasra (2006),
    "Sequential Monte Carlo samplers"; Desjardins, Courville and Bengio (2011), "On tracking the partition function",
    for another way.

    Example:
        >>> from probae.distributions.rbm import RestrictedBoltzmann
        >>> running = RunningWeights(num_chains=100)
        >>> running.allocate(RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)))
        >>> running.log_weights[0]  # log 2^5
        tensor(3.4657, dtype=torch.float64)
    """

    chains: Tensor | None
    energy: Tensor
    log_weights: Tensor
    variance: Tensor

    def __init__(self, num_chains: int = 100) -> None:
        super().__init__()
        self.num_chains = checks.positive_int("num_chains", num_chains, minimum=2)
        self.register_buffer("chains", None)
        self._moved_at: int | None = None

    def allocate(self, machine: RestrictedBoltzmann) -> None:
        """Register the buffers, with chains of units without a bias; the model's constructor calls this."""
        like = machine.visible_bias.detach()
        self.register_buffer("chains", like.new_zeros(self.num_chains, len(like)))
        for name, shape in zip(_EXACT, ((self.num_chains,), (self.num_chains,), ()), strict=True):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=like.device))
        self.start(machine, torch.zeros_like(like))

    @torch.no_grad()
    def start(self, machine: RestrictedBoltzmann, base: Tensor) -> None:
        """Start anew from independent units of the machine's kinds with these visible biases, (D,)."""
        chains = self._given()
        chains.copy_(Tempered(machine, base).start(self.num_chains))
        path = Tempered(_exact(machine), base.double())
        self.energy.copy_(path.free_energy(chains.double(), 0.0))
        self.log_weights.copy_(path.log_partition_of_base().expand(self.num_chains))
        self.variance.zero_()

    @torch.no_grad()
    def forward(self, machine: RestrictedBoltzmann) -> None:
        """Weigh the last step of training and move, if this is a new one.

        Raises:
            NotPreparedError: before `allocate`.
        """
        chains = self._given()
        if not self.training or self._moved_at == stepping.now():
            return
        self._moved_at = stepping.now()
        exact = _exact(machine)
        self.log_weights += self.energy - exact.free_energy(chains.double())
        v = machine.gibbs(chains.index_select(0, self._drawn_anew()))
        chains.copy_(v)
        self.energy.copy_(exact.free_energy(v.double()))

    @torch.no_grad()
    def now(self, machine: RestrictedBoltzmann) -> tuple[Tensor, Tensor]:
        """For the machine's parameters of this moment, nothing moves: log w, (C,), and the variance of log mean w."""
        log_weights = self.log_weights + self.energy - _exact(machine).free_energy(self._given().double())
        return log_weights, self.variance + self._spread(log_weights)

    def _spread(self, log_weights: Tensor) -> Tensor:
        """1/ESS - 1/C of weights."""
        return (2 * log_weights.log_softmax(0)).exp().sum() - 1 / self.num_chains

    def _drawn_anew(self) -> Tensor:
        """Which chains go on, (C,): all, unless few weights count; then the weights become one. No value is read."""
        count, total = self.num_chains, self.log_weights.logsumexp(0)
        spread = self._spread(self.log_weights)
        few = spread > 1 / count  # ESS < C / 2
        places = torch.arange(count, device=spread.device)
        teeth = (places + torch.rand((), dtype=spread.dtype, device=spread.device)) / count
        drawn = torch.searchsorted((self.log_weights - total).exp().cumsum(0), teeth).clamp(max=count - 1)
        self.log_weights.copy_(torch.where(few, total - math.log(count), self.log_weights))
        self.variance += torch.where(few, spread, 0.0)
        return torch.where(few, drawn, places)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move to a device, or cast, all but what has to stay in float64."""
        kept = {name: buffer for name in _EXACT if (buffer := self._buffers.get(name)) is not None}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            self._buffers[name] = buffer.to(self._given().device)
        return self

    def _given(self) -> Tensor:
        if self.chains is None:
            raise NotPreparedError("there are no chains yet: call allocate(machine), as the models' constructors do")
        return self.chains

    def extra_repr(self) -> str:
        """The configuration."""
        return f"num_chains={self.num_chains}"


def _exact(machine: RestrictedBoltzmann) -> RestrictedBoltzmann:
    """The machine with its parameters in float64, whose products nobody rounds."""
    return machine.with_parameters(*(parameter.double() for parameter in machine_parameters(machine)))
