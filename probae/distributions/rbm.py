"""The restricted Boltzmann machine as a Pyro distribution over its visible bits, the hidden ones summed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from probae import checks
from probae.distributions.bits import random_bits
from probae.errors import ArgumentError, DataError, UnnormalizedError

if TYPE_CHECKING:
    from probae.evaluation.estimate import Estimate
    from probae.inference.negative_phases import NegativePhase


class RestrictedBoltzmann(TorchDistribution):
    """A Bernoulli-Bernoulli restricted Boltzmann machine, a distribution over v in {0, 1}^D.

    E(v, h) = -v'Wh - a'v - b'h,  F(v) = -log sum_h exp(-E(v, h)) = -a'v - sum_j softplus(b_j + (v'W)_j),
    log p(v) = -F(v) - log Z.

    log Z is known only through a sampler: with s the mean of -F over particles from `negative_phase`, a scalar whose
    gradient estimates that of log Z, `log_prob(v) = -F(v) - (log Z + s - s.detach())` has the right gradient under any
    evidence lower bound.

    Args:
        weight: W, (D, H).
        visible_bias: a, (D,).
        hidden_bias: b, (H,).
        negative_phase: where the gradient of log Z comes from. Without one a machine that is not training has a value
            (given `log_partition`), and its gradient is that of -F alone.
        log_partition: the current estimate of log Z, in nats. It travels with the distribution.
        training: in training a missing log Z counts as zero, so that the value means nothing and the gradient is right;
            otherwise it is an error. `negative_phase=Exact()` is exact in both.
        validate_args: whether `log_prob` checks that its values are bits; torch's default decides if None.

    Shapes: event (D,); batch () until `expand`. Values may have any batch shape that broadcasts with it.

    Raises:
        ArgumentError: for parameters whose shapes do not fit each other.

    Source: Smolensky (1986); Freund and Haussler (1992); Hinton (2002), "Training products of experts by minimizing
    contrastive divergence", equation 5 for the gradient.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> machine.free_energy(torch.tensor([[0.0, 1.0, 1.0]]))
        tensor([-1.3863])
        >>> machine.sample(torch.Size([5])).shape
        torch.Size([5, 3])
    """

    has_rsample = False

    def __init__(
        self,
        weight: Tensor,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        *,
        negative_phase: NegativePhase | None = None,
        log_partition: Estimate | None = None,
        training: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if weight.dim() != 2:
            raise ArgumentError("weight", "shape (num_visible, num_hidden)", f"shape {tuple(weight.shape)}")
        biases = {"visible_bias": visible_bias, "hidden_bias": hidden_bias}
        for (name, bias), size in zip(biases.items(), weight.shape, strict=True):
            if bias.shape != (size,):
                wanted = f"shape ({size},) beside weights of shape {tuple(weight.shape)}"
                raise ArgumentError(name, wanted, f"shape {tuple(bias.shape)}")
        self.weight, self.visible_bias, self.hidden_bias = weight, visible_bias, hidden_bias
        self.negative_phase, self.log_partition, self.training = negative_phase, log_partition, training
        super().__init__(torch.Size(), visible_bias.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """None: real parameters need no check."""
        return {}

    @property
    def support(self) -> Any:
        """Vectors of bits."""
        return constraints.independent(constraints.boolean, 1)

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

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) = -v'Wh - a'v - b'h in nats, from (..., D) and (..., H) to the broadcast batch shape."""
        return -(_affine(v, self.weight, self.hidden_bias) * h).sum(-1) - v @ self.visible_bias

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -a'v - sum_j softplus(b_j + (v'W)_j) in nats, from (..., D) to (...)."""
        return -(softplus(_affine(v, self.weight, self.hidden_bias)).sum(-1) + v @ self.visible_bias)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability in nats, from (..., D) to the batch shape; see the class for its meaning in training.

        Raises:
            DataError: for values of another shape, or other than bits, when arguments are validated.
            UnnormalizedError: if neither `log_partition` nor the negative phase says what log Z is.

        Example:
            >>> from probae.inference.negative_phases import Exact
            >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2), negative_phase=Exact())
            >>> machine.log_prob(torch.tensor([[0.0, 1.0, 1.0]])).exp()
            tensor([0.1250])
        """
        if self._validate_args:
            self._check_bits(value)
        score = self._score(value.to(self.weight.dtype))
        return score.expand(torch.broadcast_shapes(score.shape, self._batch_shape))

    def _score(self, value: Tensor) -> Tensor:
        """-F(value) less log Z, or less what stands for it."""
        phase, known = self.negative_phase, self.log_partition
        if phase is not None and phase.exact:
            return -self.free_energy(value) - phase(self, value)
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
        states = torch.cat([value.reshape(-1, value.shape[-1]), particles])
        score, negative = (-self.free_energy(states)).split([len(states) - len(particles), len(particles)])
        return score.reshape(value.shape[:-1]), negative.mean()

    def _check_bits(self, value: Tensor) -> None:
        if value.shape[-1:] != self._event_shape:
            raise DataError("value", f"shape (..., {self._event_shape[0]})", f"shape {tuple(value.shape)}")
        if not bool(((value == 0) | (value == 1)).all()):
            raise DataError("value", "bits: zeros and ones", "other values", "Binarize the data first")

    def hidden_mean(self, v: Tensor) -> Tensor:
        """p(h_j = 1 | v) = sigmoid(b_j + (v'W)_j), from (..., D) to (..., H)."""
        return _affine(v, self.weight, self.hidden_bias).sigmoid()

    def visible_mean(self, h: Tensor) -> Tensor:
        """p(v_i = 1 | h) = sigmoid(a_i + (Wh)_i), from (..., H) to (..., D)."""
        return _affine(h, self.weight.t(), self.visible_bias).sigmoid()

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1) -> Tensor:
        """Run block Gibbs sampling, v to h to v, `steps` times from each of the given states.

        Shapes: (..., D) to (..., D); not differentiated through.

        Example:
            >>> strong = RestrictedBoltzmann(torch.zeros(2, 1), torch.tensor([50.0, -50.0]), torch.zeros(1))
            >>> strong.gibbs(torch.zeros(1, 2), steps=3)
            tensor([[1., 0.]])
        """
        for _ in range(steps):
            v = random_bits(self.visible_mean(random_bits(self.hidden_mean(v))))
        return v

    def sample(self, sample_shape: Any = torch.Size(), *, steps: int = 1000) -> Tensor:  # noqa: B008
        """Visible bits after `steps` Gibbs steps from independent fair coins: near the distribution, not exactly it.

        A machine that mixes slowly needs more steps, or starts nearer to its modes: see `gibbs`.

        Shapes: (*sample_shape, *batch_shape, D).

        Raises:
            ArgumentError: if `steps` is not a positive integer.
        """
        coins = self.visible_bias.new_full(self._extended_shape(torch.Size(sample_shape)), 0.5)
        return self.gibbs(random_bits(coins), checks.positive_int("steps", steps))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), elementwise, without overflow.

    By default torch's own returns x itself from 20 on, 2e-9 away in float64; from 40 on nothing is lost.

    Example:
        >>> softplus(torch.tensor([-1000.0, 0.0, 100.0]))
        tensor([  0.0000,   0.6931, 100.0000])
    """
    return F.softplus(x, threshold=40.0)


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    # Unlike F.linear, addmm leaves the gradient of `weight` in its own memory layout: one copy of it less a step.
    return torch.addmm(bias, x, weight) if x.dim() == 2 else x @ weight + bias
