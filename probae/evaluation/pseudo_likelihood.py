"""The pseudo-likelihood: each unit given all others, whose probability needs no log Z."""

from __future__ import annotations

import torch
from torch import Tensor

from probae import checks
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.units import BernoulliUnits, CategoricalUnits
from probae.distributions.units.functions import softplus
from probae.errors import NoLikelihoodError


@torch.no_grad()
def pseudo_log_likelihood(machine: RestrictedBoltzmann, v: Tensor, *, num_units: int = 8) -> Tensor:
    """A cheap stochastic estimate of log PL(v) = sum_i log p(v_i | all other v), which needs no log Z.

    Of a bit, log p(v_i | rest) = -softplus(F(v) - F(v with bit i flipped)); of a categorical unit, -F(v) less the
    logarithm of the sum of exp(-F) over its K values. Each example gets D / n times the sum over n random units of D.
    Unbiased for each example, and exact for n = D. Its variance is kept low: units are dealt out like cards, so that no
    example gets one twice and over the whole batch each is used equally often, give or take one; and as another value
    of a unit shifts W'v by rows of W, all of them together cost about one matrix product.

    It is a monitor, not a likelihood, and can prefer the wrong model.

    Args:
        machine: its parameters only; nothing is differentiated. Its hidden units may be of any kind.
        v: (N, D) bits, or one-hot vectors of categorical units.
        num_units: n, at most as many as there are.

    Returns:
        (N,) in nats, higher is better.

    Raises:
        DataError: for another shape or type of `v`.
        ArgumentError: if `num_units` is not a positive integer.
        NoLikelihoodError: for other visible units, of which p(v_i | rest) has no closed form.

    Source: Besag (1975), "Statistical analysis of non-lattice data"; one random bit an example: the deep learning
    tutorials of LISA lab (2008-2013).

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> pseudo_log_likelihood(machine, torch.zeros(1, 3))  # 3 log(1/2)
        tensor([-2.0794])
    """
    if not has_conditionals(machine):
        raise NoLikelihoodError("one unit given all others has a closed form for bits and categorical units only")
    count = checks.positive_int("num_units", num_units)
    v = checks.examples("v", v, (machine.visible.num_units,)).to(machine.weight)
    machine.visible.check("v", v)
    return pseudo_scores(machine, v, min(count, _num_variables(machine)))


def has_conditionals(machine: RestrictedBoltzmann) -> bool:
    """Whether p(v_i | all other v) has a closed form."""
    return isinstance(machine.visible, (BernoulliUnits, CategoricalUnits))


def pseudo_scores(machine: RestrictedBoltzmann, v: Tensor, count: int = 1) -> Tensor:
    """The same from so many units an example, unchecked: no value is looked at, so that it can be recorded."""
    score = _score_of_categories if isinstance(machine.visible, CategoricalUnits) else _score_of_bits
    size = _num_variables(machine)
    deck = torch.randperm(size, device=v.device)
    first = torch.arange(len(v), device=v.device) * count
    inputs = machine.hidden_input(v)
    summed = _summed(machine, inputs)
    total = torch.zeros_like(summed)
    for card in range(count):
        total += score(machine, v, deck[(first + card) % size], inputs, summed)
    return total * (size / count)


@torch.no_grad()
def conditional_log_probs(machine: RestrictedBoltzmann, v: Tensor) -> Tensor:
    """log p(v_i | all other v) of each bit, exactly: (N, D) for bits (N, D), unchecked. Their sum is log PL(v).

    It takes D times as long as the free energy, in memory for one of them.
    """
    inputs, change = machine.hidden_input(v), 1 - 2 * v
    summed = _summed(machine, inputs)
    flipped = [
        _summed(machine, torch.addcmul(inputs, change[:, i, None], row)) for i, row in enumerate(machine.weight)
    ]
    return -softplus(torch.stack(flipped, -1) - summed.unsqueeze(-1) + change * machine.visible_bias)


def _num_variables(machine: RestrictedBoltzmann) -> int:
    return machine.visible.num_units // getattr(machine.visible, "num_categories", 1)


def _summed(machine: RestrictedBoltzmann, inputs: Tensor) -> Tensor:
    """What the hidden units, summed out, add to -F: (...,) for inputs (..., H)."""
    return machine.hidden.cumulant(inputs, machine.hidden_bias)


def _score_of_bits(machine: RestrictedBoltzmann, v: Tensor, bit: Tensor, inputs: Tensor, summed: Tensor) -> Tensor:
    """log p(v_i | rest) of one bit an example, (N,)."""
    change = 1 - 2 * v.gather(1, bit.unsqueeze(1))
    flipped = _summed(machine, torch.addcmul(inputs, change, machine.weight[bit]))
    return -softplus(flipped - summed + change.squeeze(1) * machine.visible_bias[bit])


def _score_of_categories(
    machine: RestrictedBoltzmann, v: Tensor, unit: Tensor, inputs: Tensor, summed: Tensor
) -> Tensor:
    """log p(v_i | rest) of one categorical unit an example, (N,); its present value has its -F from `summed`."""
    values = machine.visible.num_units // _num_variables(machine)
    places = unit.unsqueeze(1) * values + torch.arange(values, device=v.device)
    now = v.gather(1, places)
    biases = machine.visible_bias[places]
    rows = machine.weight[places]
    present = (now.unsqueeze(1) @ rows).squeeze(1)
    logits = _summed(machine, (inputs - present).unsqueeze(1) + rows) + biases
    return summed + (now * biases).sum(1) - logits.logsumexp(1)
