"""Annealed importance sampling: log Z of a Boltzmann machine, from independent units by small steps."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from tqdm import tqdm

from probae import checks
from probae.data.protocol import Protocol
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.tempered import Tempered
from probae.errors import ArgumentError
from probae.evaluation.estimate import Estimate


def ais_log_partition(
    machine: RestrictedBoltzmann,
    base_rates: Tensor,
    *,
    num_chains: int = 100,
    num_temperatures: int | Tensor = 1000,
    length: int | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate log Z by annealed importance sampling from independent units with the data's means.

    Z = Z_0 E[w], the weight w of a chain being the product of p_{t+1}(v_t) / p_t(v_t) along the machines p_t of
    `Tempered`, t from 0 to 1, each taken before v_t moves. For bits p_t(v) ~ exp((1 - t) r'v + t a'v +
    sum_j softplus(t (b_j + (v'W)_j))), r = logit(base rates).

    The mean weight is unbiased at any number of temperatures, so its logarithm is a lower bound in expectation. It is
    never reported as reliable: chains that miss a mode say nothing of it, and weights that agree do not exclude one.

    Args:
        machine: its parameters only; nothing is differentiated.
        base_rates: (D,) means of the visible units; rates of bits are moved a little inward from 0 and 1.
        num_chains: independent chains, at least 2.
        num_temperatures: steps of equal size from 0 to 1, or the inverse temperatures themselves, from 0 up to 1.
        length: of documents, in words; for counts only.
        progress: whether to show a progress bar.

    Returns:
        log Z in nats; `stderr` by the delta method, `ess` of the chains' weights.

    Raises:
        ArgumentError: for arguments of the wrong shape or range.

    Source: Neal (2001), "Annealed importance sampling"; Salakhutdinov and Murray (2008), "On the quantitative analysis
    of deep belief networks", section 4.1.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> ais_log_partition(machine, torch.full((3,), 0.5), num_chains=10, num_temperatures=5).value  # log 2^5
        3.465...
    """
    log_weights = ais_log_weights(
        machine, base_rates, num_chains=num_chains, num_temperatures=num_temperatures, length=length, progress=progress
    )
    steps = num_temperatures if isinstance(num_temperatures, int) else len(num_temperatures) - 1
    value, stderr, ess = log_mean_weight(log_weights)
    reason = (
        "forward AIS alone cannot see a mode that its chains never reach"
        f" (effective sample size {ess:.0f} of {num_chains} chains)"
    )
    return Estimate(
        value,
        quantity="log Z",
        direction="lower",
        stderr=stderr,
        ess=ess,
        lower=value,
        reliable=False,
        reason=reason,
        protocol=Protocol().using(f"AIS over {steps} temperatures", num_chains),
    )


@torch.no_grad()
def ais_log_weights(
    machine: RestrictedBoltzmann,
    base_rates: Tensor,
    *,
    num_chains: int = 100,
    num_temperatures: int | Tensor = 1000,
    length: int | None = None,
    progress: bool = False,
) -> Tensor:
    """The chains' log weights, in nats, float64 of shape (num_chains,); the mean of their exponentials estimates Z.

    Arguments, errors and source: see `ais_log_partition`.

    Example:
        >>> machine = RestrictedBoltzmann(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> ais_log_weights(machine, torch.full((3,), 0.5), num_chains=2, num_temperatures=1).exp()
        tensor([32.0000, 32.0000], dtype=torch.float64)
    """
    checks.positive_int("num_chains", num_chains, minimum=2)
    betas = inverse_temperatures(num_temperatures)
    path = Tempered(machine, base_bias(machine, base_rates))
    words = None if length is None else machine.weight.new_full((num_chains,), float(length))
    log_weights = path.log_partition_of_base(words).double().expand(num_chains).clone()
    v = path.start(num_chains, words)
    for beta, following in tqdm(list(pairwise(betas)), desc="AIS", disable=not progress):
        inputs = machine.hidden_input(v)
        log_weights += path.gain(v, beta, following, inputs)
        v = path.gibbs(v, following, inputs)
    return log_weights


def log_mean_weight(log_weights: Tensor) -> tuple[float, float, float]:
    """The log of the mean weight, its standard error by the delta method, and the weights' effective sample size.

    Args:
        log_weights: (N,) in nats, N at least 2.

    Example:
        >>> log_mean_weight(torch.zeros(4, dtype=torch.float64))
        (0.0, 0.0, 4.0)
    """
    count, log_sum = len(log_weights), log_weights.logsumexp(0)
    relative = (log_weights - log_sum + math.log(count)).exp()
    stderr = relative.std() / math.sqrt(count)
    ess = (2 * log_sum - (2 * log_weights).logsumexp(0)).exp()
    return float(log_sum - math.log(count)), float(stderr), float(ess)


def base_bias(machine: RestrictedBoltzmann, rates: Tensor) -> Tensor:
    """The visible biases of independent units with the given means, (D,), of the machine's dtype and device.

    Raises:
        ArgumentError: names `base_rates`, for another shape or values that are no means of such units.
    """
    num_visible = machine.visible.num_units
    if not isinstance(rates, Tensor) or rates.shape != (num_visible,):
        got = f"shape {tuple(rates.shape)}" if isinstance(rates, Tensor) else type(rates).__name__
        raise ArgumentError("base_rates", f"a tensor of shape ({num_visible},)", got)
    machine.visible.check_means("base_rates", rates)
    return machine.visible.bias_for(rates.double()).to(machine.visible_bias)


def inverse_temperatures(num_temperatures: int | Tensor) -> list[float]:
    """From 0 up to 1: so many equal steps, or those given."""
    if not isinstance(num_temperatures, Tensor):
        steps = checks.positive_int("num_temperatures", num_temperatures)
        return torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
    betas = num_temperatures.detach().double()
    ordered = betas.dim() == 1 and len(betas) > 1 and bool((betas.diff() > 0).all())
    if not ordered or betas[0] != 0 or betas[-1] != 1:
        raise ArgumentError("num_temperatures", "increasing inverse temperatures from 0 to 1", num_temperatures)
    return betas.tolist()
