"""The restricted Boltzmann machine as a Pyro distribution over its visible units, the hidden ones summed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from probae import checks
from probae.distributions.units import BernoulliUnits, Units
from probae.errors import ArgumentError, DataError, UnnormalizedError

if TYPE_CHECKING:
    from probae.evaluation.estimate import Estimate
    from probae.inference.centering import Centering
    from probae.inference.negative_phases import NegativePhase
    from probae.inference.running import RunningWeights


class RestrictedBoltzmann(TorchDistribution):
    """A restricted Boltzmann machine, a distribution over its visible units v, the hidden units h summed out.

    E(v, h) = E(v; a) + E(h; b) - t(v)'W t(h),  F(v) = -log sum_h exp(-E(v, h)) = E(v; a) - C(b + W't(v), b),
    log p(v) = -F(v) - log Z,

    with the energies E, statistics t and cumulants C of the units (`probae.distributions.units`). For bits,
    E(v, h) = -v'Wh - a'v - b'h and F(v) = -a'v - sum_j softplus(b_j + (v'W)_j). For counts the hidden biases count as
    often as the document has words.

    log Z is known only through a sampler: with s the mean of -F over particles from `negative_phase`, a scalar whose
    gradient estimates that of log Z, `log_prob(v) = -F(v) - (log Z + s - s.detach())` has the right gradient under any
    evidence lower bound.

    Args:
        weight: W, (D, H).
        visible_bias: a, (D,).
        hidden_bias: b, (H,).
        visible: the kind of the visible units, bits by default.
        hidden: the kind of the hidden units, bits by default.
        negative_phase: where the gradient of log Z comes from. Without one a machine that is not training has a value
            (given `log_partition`), and its gradient is that of -F alone.
        log_partition: the current estimate of log Z, in nats. It travels with the distribution.
        training: in training a missing log Z counts as zero, so that the value means nothing and the gradient is right;
            otherwise it is an error. `negative_phase=Exact()` is exact in both.
        centering: offsets that make the gradient that of a centred machine.
        running: chains that keep an estimate of log Z while the machine trains.
        validate_args: whether `log_prob` checks its values; torch's default decides if None.

    Shapes: event (D,); batch () until `expand`. Values may have any batch shape that broadcasts with it.

    Raises:
        ArgumentError: for parameters whose shapes do not fit each other, or the units.

    Source: Smolensky (1986); Freund and Haussler (1992); Hinton (2002), "Training products of experts by minimizing
    contrastive divergence", equation 5 for the gradient; Welling, Rosen-Zvi and Hinton (2004), "Exponential family
    harmoniums", for other units.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> machine.free_energy(torch.tensor([[0.0, 1.0, 1.0]]))
        tensor([-1.3863])
        >>> machine.sample(torch.Size([5])).shape
        torch.Size([5, 3])
    """

    has_rsample = False
    gates: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        *,
        visible: Units | None = None,
        hidden: Units | None = None,
        negative_phase: NegativePhase | None = None,
        log_partition: Estimate | None = None,
        training: bool = False,
        centering: Centering | None = None,
        running: RunningWeights | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if weight.dim() != 2:
            raise ArgumentError("weight", "shape (num_visible, num_hidden)", f"shape {tuple(weight.shape)}")
        biases = {"visible_bias": visible_bias, "hidden_bias": hidden_bias}
        for (name, bias), size in zip(biases.items(), weight.shape, strict=True):
            if bias.shape != (size,):
                wanted = f"shape ({size},) beside weights of shape {tuple(weight.shape)}"
                raise ArgumentError(name, wanted, f"shape {tuple(bias.shape)}")
        self.visible = BernoulliUnits(weight.shape[0]) if visible is None else visible
        self.hidden = BernoulliUnits(weight.shape[1]) if hidden is None else hidden
        for (name, units), size in zip(
            {"visible": self.visible, "hidden": self.hidden}.items(), weight.shape, strict=True
        ):
            if units.num_units != size:
                wanted = f"{size} units beside weights of shape {tuple(weight.shape)}"
                raise ArgumentError(name, wanted, f"{units.num_units} units")
        if log_partition is not None and self.visible.counts:
            raise ArgumentError("log_partition", "None for counts, whose log Z depends on the length", log_partition)
        self.weight, self.visible_bias, self.hidden_bias = weight, visible_bias, hidden_bias
        self.negative_phase, self.log_partition, self.training = negative_phase, log_partition, training
        self.centering, self.running, self.gates = centering, running, None
        super().__init__(torch.Size(), visible_bias.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """None: real parameters need no check."""
        return {}

    @property
    def support(self) -> Any:
        """What Pyro knows of the visible units' values."""
        tails = {part.tail for part in self.visible.parts}
        if self.visible.counts:
            return constraints.independent(constraints.nonnegative_integer, 1)
        if tails == {"bounded"}:
            return constraints.independent(constraints.boolean, 1)
        return constraints.independent(constraints.nonnegative if tails == {"positive"} else constraints.real, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> RestrictedBoltzmann:
        """The same machine for each element of `batch_shape`; a plate calls this at each step, so nothing is checked.

        Example:
            >>> RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)).expand((7,)).batch_shape
            torch.Size([7])
        """
        new = self.__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def with_parameters(self, weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> RestrictedBoltzmann:
        """The same machine with other parameters, of the same shapes; or K of them, (K, D, H), (K, 1, D), (K, 1, H).

        K machines take K batches, (K, M, D), one each.
        """
        new = self.expand(self._batch_shape)
        new.weight, new.visible_bias, new.hidden_bias = weight, visible_bias, hidden_bias
        return new

    def thinned(self, gates: Tensor | None) -> RestrictedBoltzmann:
        """Another machine for each of N values: the weights of hidden unit j times `gates[n, j]`, of shape (N, H).

        It scores and moves N values at a time, and its negative phase gives a particle for each, as `CD` does.
        """
        new = self.expand(self._batch_shape)
        new.gates, new.log_partition = gates, None
        return new

    # The two conditionals.

    def hidden_input(self, v: Tensor) -> Tensor:
        """b + W't(v), what the hidden units get from values (..., D): (..., H)."""
        length, statistic = self.visible.length(v), self.visible.statistic(v)
        if length is None and self.gates is None:
            return affine(statistic, self.weight, self.hidden_bias)
        return self._gated(statistic @ self.weight) + self.hidden_bias_of(v)

    def visible_input(self, h: Tensor) -> Tensor:
        """a + W t(h), what the visible units get from values (..., H): (..., D)."""
        return affine(self._gated(self.hidden.statistic(h)), self.weight.mT, self.visible_bias)

    def hidden_mean(self, v: Tensor) -> Tensor:
        """E[h given v], from (..., D) to (..., H); of bits, p(h_j = 1 | v) = sigmoid(b_j + (v'W)_j)."""
        return self.hidden.mean(self.hidden_input(v))

    def visible_mean(self, h: Tensor, length: Tensor | None = None) -> Tensor:
        """E[v given h], from (..., H) to (..., D); of bits, p(v_i = 1 | h) = sigmoid(a_i + (Wh)_i)."""
        return self.visible.mean(self.visible_input(h), length)

    # The energies.

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) in nats, from (..., D) and (..., H) to the broadcast batch shape."""
        statistic = self._gated(self.hidden.statistic(h))
        paired = (self.visible.statistic(v) @ self.weight * statistic).sum(-1)
        return self.visible.energy(v, self.visible_bias) + self.hidden.energy(h, self.hidden_bias_of(v)) - paired

    def free_energy(self, v: Tensor, hidden_input: Tensor | None = None) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)) in nats, from (..., D) to (...); `hidden_input` if it is known already."""
        inputs = self.hidden_input(v) if hidden_input is None else hidden_input
        summed = self.hidden.cumulant(inputs, self.hidden_bias_of(v))
        return self.visible.energy(v, self.visible_bias) - summed

    def hidden_bias_of(self, v: Tensor) -> Tensor:
        """b, (H,); beside counts, b times the number of words, (..., H)."""
        length = self.visible.length(v)
        return self.hidden_bias if length is None else length.unsqueeze(-1) * self.hidden_bias

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability in nats, from (..., D) to the batch shape; see the class for its meaning in training.

        Counts are scored as counts: the number of orders that their words can have is in it.

        Raises:
            DataError: for values of another shape, or that the units cannot have, when arguments are validated.
            UnnormalizedError: if neither `log_partition` nor the negative phase says what log Z is.

        Example:
            >>> from probae.inference.negative_phases import Exact
            >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2), negative_phase=Exact())
            >>> machine.log_prob(torch.tensor([[0.0, 1.0, 1.0]])).exp()
            tensor([0.1250])
        """
        if self._validate_args:
            self._check(value)
        value = value.to(self.weight.dtype)
        score = self._score(value) + self.visible.log_orders(value)
        return score.expand(torch.broadcast_shapes(score.shape, self._batch_shape))

    def _score(self, value: Tensor) -> Tensor:
        """-F(value) less log Z, or less what stands for it."""
        if self.running is not None and self.training and torch.is_grad_enabled():
            self.running(self.thinned(None))
        phase, known = self.negative_phase, self.log_partition
        if phase is not None and phase.exact:
            machine = self if self.centering is None else self.centering(self)
            return -machine.free_energy(value, machine._followed_input(value)) - phase(machine, value)
        if self.training and phase is None:
            raise UnnormalizedError(
                "the gradient of log Z is unknown: training needs a negative phase, such as negative_phase=PCD()"
            )
        if not self.training and known is None:
            raise UnnormalizedError(
                "log Z is unknown, so that log_prob in eval mode has no value: call log_partition() or "
                "log_likelihood(x) of the model, give log_partition= to the distribution, or use "
                "negative_phase=Exact(); to train on, call train(); to validate, pass fit(monitor=model.monitor())"
            )
        offset = 0.0 if known is None else known.value
        # Without gradients s - s.detach() is zero, so that chains need not move for it.
        if phase is None or not torch.is_grad_enabled():
            return -self.free_energy(value) - offset
        score, s = self._contrast(value, phase(self, value))
        return score - (offset + (s - s.detach()))

    def _contrast(self, value: Tensor, particles: Tensor) -> tuple[Tensor, Tensor]:
        """-F(value), and s: the mean of -F over the particles. Both in one go: one gradient of the weights, not two."""
        states, count = torch.cat([value.reshape(-1, value.shape[-1]), particles]), len(particles)
        machine = self if self.centering is None else self.centering(self)
        if self.gates is not None:
            machine = machine.thinned(torch.cat([self.gates, self.gates]))
        inputs = machine._followed_input(states, len(states) - count)
        score, negative = (-machine.free_energy(states, inputs)).split([len(states) - count, count])
        return score.reshape(value.shape[:-1]), negative.mean()

    def _gated(self, field: Tensor) -> Tensor:
        return field if self.gates is None else field * self.gates

    def _followed_input(self, states: Tensor, count: int | None = None) -> Tensor:
        """What the hidden units get from the states; the offsets follow the first so many of them, the data."""
        inputs = self.hidden_input(states)
        if self.centering is not None and self.training:
            self.centering.follow(self.hidden.mean(inputs[:count].detach()).reshape(-1, inputs.shape[-1]))
        return inputs

    def _check(self, value: Tensor) -> None:
        if value.shape[-1:] != self._event_shape:
            raise DataError("value", f"shape (..., {self._event_shape[0]})", f"shape {tuple(value.shape)}")
        self.visible.check("value", value)

    # Sampling.

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1) -> Tensor:
        """Run block Gibbs sampling, v to h to v, `steps` times from each of the given states.

        Shapes: (..., D) to (..., D); not differentiated through. Documents keep their lengths.

        Example:
            >>> strong = RestrictedBoltzmann(torch.zeros(2, 1), torch.tensor([50.0, -50.0]), torch.zeros(1))
            >>> strong.gibbs(torch.zeros(1, 2), steps=3)
            tensor([[1., 0.]])
        """
        length = self.visible.length(v)
        for _ in range(steps):
            h = self.hidden.sample(self.hidden_input(v))
            v = self.visible.sample(self.visible_input(h), length)
        return v

    def sample(
        self, sample_shape: Any = torch.Size(), *, steps: int = 1000, length: int | None = None  # noqa: B008
    ) -> Tensor:  # fmt: skip
        """Visible values after `steps` Gibbs steps from units without bias: near the distribution, not exactly it.

        A machine that mixes slowly needs more steps, or starts nearer to its modes: see `gibbs`.

        Shapes: (*sample_shape, *batch_shape, D).

        Args:
            length: of documents, in words; only counts have one.

        Raises:
            ArgumentError: if `steps` is not a positive integer.
        """
        input = self.visible_bias.new_zeros(self._extended_shape(torch.Size(sample_shape)))
        words = None if length is None else input.new_full(input.shape[:-1], float(length))
        return self.gibbs(self.visible.sample(input, words), checks.positive_int("steps", steps))


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b, for (..., D), (D, H) and (H,)."""
    # Unlike F.linear, addmm leaves the gradient of `weight` in its own memory layout: one copy of it less a step.
    return torch.addmm(bias, x, weight) if x.dim() == 2 else x @ weight + bias
