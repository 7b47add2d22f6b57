"""A Boltzmann machine over examples and a label, as a distribution of the examples alone."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import JointUnits
from probae.errors import ArgumentError


class LabelledBoltzmann(TorchDistribution):
    """Examples x of a machine over x and a label y, with y and the hidden units summed out.

    With the free energy F(x, y) = E(x; a) - d_y - C(b + W't(x) + U_y, b) of the joint machine, d the biases and U_y the
    weights of the label's units,

    p(x) = sum_y exp(-F(x, y)) / Z,  p(y given x) = softmax over y of -F(x, y).

    The second is exact. The first is taken from log p(x) = log p(x, y) - log p(y given x), which holds for each y, so
    that log Z and its gradient come from the joint machine's negative phase.

    Args:
        joint: the machine, of `JointUnits` on its visible side, the label's last.
        label: (..., K) one-hot labels of the examples that will be scored, all zero where unknown: the y of that
            formula. Where it is unknown y is drawn from p(y given x). It decides nothing but where CD starts.

    Shapes: event (D,), without the label; batch () until `expand`.

    Raises:
        ArgumentError: for a machine whose visible units are of one kind.

    Source: Larochelle, Mandel, Pascanu and Bengio (2012), "Learning algorithms for the classification restricted
    Boltzmann machine", equations 2 to 6.

    Example:
        >>> from probae.distributions.units import BernoulliUnits, CategoricalUnits
        >>> units = JointUnits([BernoulliUnits(4), CategoricalUnits(3, 3)])
        >>> joint = RestrictedBoltzmann(torch.zeros(7, 2), torch.zeros(7), torch.zeros(2), visible=units)
        >>> LabelledBoltzmann(joint).label_logits(torch.zeros(1, 4)).softmax(-1)
        tensor([[0.3333, 0.3333, 0.3333]])
    """

    has_rsample = False

    def __init__(self, joint: RestrictedBoltzmann, label: Tensor | None = None) -> None:
        if not isinstance(joint.visible, JointUnits):
            raise ArgumentError("joint", "a machine of JointUnits, the label's last", type(joint.visible).__name__)
        examples, self.label_units = joint.visible.parts
        size = examples.num_units
        self.joint, self.label = joint, label
        self.unlabelled = RestrictedBoltzmann(
            joint.weight[:size], joint.visible_bias[:size], joint.hidden_bias, visible=examples, hidden=joint.hidden
        )
        self.label_weight, self.label_bias = joint.weight[size:], joint.visible_bias[size:]
        self._scored: tuple[Tensor, Tensor] | None = None
        super().__init__(torch.Size(), torch.Size([size]), validate_args=joint._validate_args)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        """None: real parameters need no check."""
        return {}

    @property
    def support(self) -> Any:
        """What Pyro knows of the examples' values."""
        return self.unlabelled.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> LabelledBoltzmann:
        """The same machine for each element of `batch_shape`."""
        new = self.__new__(type(self)) if _instance is None else _instance
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def hidden_inputs(self, x: Tensor) -> Tensor:
        """What the hidden units get from x and each label, from (..., D) to (..., K, H)."""
        return self.unlabelled.hidden_input(x).unsqueeze(-2) + self.label_weight

    def label_logits(self, x: Tensor) -> Tensor:
        """d_y + C(b + W't(x) + U_y, b), which is -F(x, y) + E(x; a): from (..., D) to (..., K).

        For the tensor that was asked for last they are known: the model asks for p(x) and p(y given x).
        """
        if self._scored is None or self._scored[0] is not x:
            self._scored = x, self.logits_of(self.hidden_inputs(x))
        return self._scored[1]

    def logits_of(self, hidden_inputs: Tensor) -> Tensor:
        """The same from hidden inputs, (..., K, H)."""
        return self.label_bias + self.joint.hidden.cumulant(hidden_inputs, self.joint.hidden_bias)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability in nats, from (..., D) to the batch shape; in training what the joint machine's means.

        Raises:
            DataError: for values of another shape, or that the units cannot have, when arguments are validated.
            UnnormalizedError: see `RestrictedBoltzmann.log_prob`.
        """
        if self._validate_args:
            self.unlabelled._check(value)
        logits = self.label_logits(value)
        label = self.label_units.sample(logits)
        if self.label is not None:
            label = torch.where(self.label.any(-1, keepdim=True), self.label, label)
        joint = self.joint.log_prob(torch.cat([value.to(label), label.expand(*value.shape[:-1], -1)], -1))
        score = joint - (label * logits.log_softmax(-1)).sum(-1)
        return score.expand(torch.broadcast_shapes(score.shape, self._batch_shape))

    def sample(self, sample_shape: Any = torch.Size(), *, steps: int = 1000) -> Tensor:  # noqa: B008
        """Examples after `steps` Gibbs steps over x, y and h: see `RestrictedBoltzmann.sample`."""
        machine = self.joint.expand(self._batch_shape)
        return machine.sample(sample_shape, steps=steps)[..., : self._event_shape[0]]
