"""What every likelihood obeys: it is normalized, has the mean it says, draws what it says, and never gives a NaN."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from probae.distributions.likelihoods import LIKELIHOODS, Likelihood
from probae.distributions.named import make
from probae.errors import ArgumentError, DataError
from tests.distributions.likelihoods.cases import CASES, SIZE, Case
from tests.no_sync import no_sync

every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def test_every_name_has_a_case() -> None:
    assert {type(case.make(SIZE)) for case in CASES.values()} == set(LIKELIHOODS.values())


@every_case
def test_shapes(case: Case) -> None:
    likelihood = case.make(SIZE).double()
    assert (likelihood.num_visible, likelihood.num_outputs) == (SIZE, SIZE)
    for batch in ((), (5,), (2, 5)):
        p = likelihood.distribution(case.some_outputs(*batch, SIZE))
        assert (p.batch_shape, p.event_shape) == (batch, (SIZE,))
        assert likelihood.mean(case.some_outputs(*batch, SIZE)).shape == (*batch, SIZE)
        assert p.variance.shape == (*batch, SIZE)
        draws = p.sample(torch.Size([3]))
        assert draws.shape == (3, *batch, SIZE)
        assert p.log_prob(draws).shape == (3, *batch)
        likelihood.check("x", draws.reshape(-1, SIZE))


@every_case
def test_it_is_normalized(case: Case) -> None:
    """Two units of different outputs, over all pairs of values or by quadrature."""
    likelihood = case.make(2 * case.unit).double()
    values, weights = case.points()
    i, j = torch.cartesian_prod(torch.arange(len(values)), torch.arange(len(values))).T
    for outputs in case.some_outputs(5, 2 * case.unit):
        mass = likelihood.distribution(outputs).log_prob(torch.cat([values[i], values[j]], -1)).exp()
        assert (mass * weights[i] * weights[j]).sum().item() == pytest.approx(1, abs=1e-10)


@every_case
def test_mean_and_variance(case: Case) -> None:
    likelihood = case.make(case.unit).double()
    values, weights = case.points()
    for outputs in case.some_outputs(7, case.unit):
        p = likelihood.distribution(outputs)
        mass = p.log_prob(values).exp() * weights
        mean = mass @ values
        torch.testing.assert_close(p.mean, mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(likelihood.mean(outputs), mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(p.variance, mass @ values**2 - mean**2, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.atoms is not None])
def test_draws_have_the_probabilities(name: str) -> None:
    """Chi-square of 40,000 draws of a unit, at least 50 expected in each cell; false alarm 1e-8, 24 times."""
    case, count = CASES[name], 40_000
    likelihood, values = case.make(case.unit).double(), case.points()[0]
    for outputs in case.some_outputs(4, case.unit):
        p = likelihood.distribution(outputs)
        draws = p.expand(torch.Size([count // 2])).sample(torch.Size([2])).reshape(-1, case.unit)
        observed = (draws[:, None] - values).abs().sum(-1).lt(1e-6).double().sum(0)
        assert observed.sum() == count, "each draw is one of the values"
        expected = count * p.log_prob(values).exp().detach()
        rare = expected < 50
        observed, expected = (torch.cat([x[~rare], x[rare].sum()[None]]) for x in (observed, expected))
        if expected[-1] < 50:  # too few for chi-square: Poisson, nearly, and counted as it is
            assert stats.poisson.sf(observed[-1] - 1, expected[-1]) > 1e-8 or observed[-1] == 0
            observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / expected[:-1].sum()
        if len(expected) > 1:
            assert stats.chisquare(observed, expected).pvalue > 1e-8


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.atoms is None])
def test_draws_have_the_density(name: str) -> None:
    """Kolmogorov-Smirnov of 40,000 draws against the density's integral; false alarm 1e-8, 16 times."""
    case = CASES[name]
    likelihood = case.make(1).double()
    grid = torch.linspace(*case.interval, 20_001, dtype=torch.float64)
    for outputs in case.some_outputs(4, 1):
        p = likelihood.distribution(outputs)
        cdf = torch.cumulative_trapezoid(p.log_prob(grid[:, None]).exp().detach(), grid)
        draws = p.expand(torch.Size([20_000])).sample(torch.Size([2])).flatten()
        fraction = np.interp(draws, grid, torch.cat([torch.zeros(1), cdf]))
        assert stats.kstest(fraction, "uniform").pvalue > 1e-8


@every_case
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    likelihood = case.make(SIZE).double()
    outputs = case.some_outputs(3, SIZE).requires_grad_()
    x = likelihood.distribution(outputs).sample()
    inputs = (outputs, *likelihood.parameters())
    assert torch.autograd.gradcheck(lambda o, *_: likelihood.distribution(o).log_prob(x), inputs)
    assert torch.autograd.gradcheck(lambda o, *_: likelihood.mean(o), inputs)


@every_case
def test_extreme_outputs_have_finite_densities_and_gradients(case: Case) -> None:
    """Float32, with values from both ends of the support, against float64."""
    likelihood, exact = case.make(SIZE), case.make(SIZE).double()
    values = case.points()[0][[0, -1]].repeat(1, SIZE // case.unit)
    for size in (1e2, 1e4, 1e18, 1e30):
        outputs = min(size, case.largest) * torch.tensor([[1.0] * 3 + [-1.0] * 3, [-1.0, 1.0] * 3])
        leaf = outputs.clone().requires_grad_()
        log_prob = likelihood.distribution(leaf[:, None]).log_prob(values.float())
        gradients = torch.autograd.grad(log_prob.sum(), [leaf, *likelihood.parameters()])
        assert log_prob.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients[: 1 if size > 1e4 else None])
        wanted = exact.distribution(outputs.double()[:, None]).log_prob(values.float().double())
        torch.testing.assert_close(log_prob.double(), wanted, rtol=1e-5, atol=1e-5)
        assert likelihood.mean(outputs).isfinite().all()
        draws = likelihood.distribution(outputs).sample()
        likelihood.check("x", draws)


@every_case
def test_float32_is_float64_rounded(case: Case) -> None:
    single, double = case.make(SIZE), case.make(SIZE).double()
    outputs = case.some_outputs(5, SIZE)
    x = double.distribution(outputs).sample()
    p, exact = single.distribution(outputs.float()), double.distribution(outputs)
    for result, wanted in ((p.log_prob(x.float()), exact.log_prob(x)), (p.mean, exact.mean), (p.sample(), None)):
        assert result.dtype == torch.float32
        if wanted is not None:
            torch.testing.assert_close(result, wanted.float(), rtol=1e-4, atol=2e-6)


@every_case
def test_it_expands_under_a_plate(case: Case) -> None:
    likelihood = case.make(SIZE).double()
    outputs = case.some_outputs(SIZE)

    def model(x: Tensor | None = None) -> Tensor:
        with pyro.plate("particles", 2, dim=-2), pyro.plate("data", 7):
            return pyro.sample("x", likelihood.distribution(outputs), obs=x)

    draws = model()
    assert draws.shape == (2, 7, SIZE)
    assert len(draws.reshape(-1, SIZE).unique(dim=0)) > 1, "each element of the plate is drawn anew"
    trace = pyro.poutine.trace(model).get_trace(draws)
    wanted = likelihood.distribution(outputs.expand(2, 7, SIZE)).log_prob(draws)
    torch.testing.assert_close(trace.nodes["x"]["fn"].log_prob(draws), wanted)
    assert trace.log_prob_sum().item() == pytest.approx(wanted.sum().item())


@every_case
def test_a_step_waits_for_no_device_and_can_be_recorded(case: Case) -> None:
    likelihood = case.make(SIZE).double()

    def step(outputs: Tensor, x: Tensor) -> Tensor:
        outputs = outputs.detach().requires_grad_()
        return torch.autograd.grad(likelihood.distribution(outputs).log_prob(x).sum(), outputs)[0]

    first, second = case.some_outputs(5, SIZE), 0.1 + 0.7 * case.some_outputs(5, SIZE)
    x, y = (likelihood.distribution(outputs).sample() for outputs in (first, second))
    with no_sync():
        wanted = step(second, y)
        recorded = make_fx(step)(first, x)
    torch.testing.assert_close(recorded(second, y), wanted)


@every_case
def test_outputs_for_a_mean_have_that_mean(case: Case) -> None:
    likelihood = case.make(SIZE).double()
    mean = likelihood.mean(0.99 * case.some_outputs(SIZE)).detach()
    outputs = likelihood.outputs_for(mean)
    assert (outputs.shape, outputs.dtype, outputs.requires_grad) == ((SIZE,), mean.dtype, False)
    torch.testing.assert_close(likelihood.mean(outputs), mean, rtol=1e-6, atol=1e-9)


@every_case
def test_outputs_for_the_ends_are_finite(case: Case) -> None:
    likelihood = case.make(SIZE)
    values = case.points()[0][[0, -1]].repeat(1, SIZE // case.unit).float()
    for mean in values:
        outputs = likelihood.outputs_for(mean)
        assert outputs.isfinite().all()
        assert outputs.dtype == torch.float32
        torch.testing.assert_close(likelihood.mean(outputs), mean, rtol=0, atol=0.021)


@every_case
def test_its_configuration_rebuilds_it(case: Case) -> None:
    likelihood = case.make(SIZE)
    config = json.loads(json.dumps(likelihood.config))
    twin = make("likelihood", config, Likelihood, LIKELIHOODS, SIZE)
    assert type(twin) is type(likelihood)
    assert twin.config == config
    twin.load_state_dict(likelihood.state_dict())
    least = {name: config[name] for name in ("name", *case.least)}
    assert type(make("likelihood", least, Likelihood, LIKELIHOODS, SIZE)) is type(likelihood)


@every_case
def test_values_outside_the_support_are_refused(case: Case) -> None:
    if case.bad is None:
        case.make(SIZE).check("data", torch.tensor([[-1e5, 1e5, 0.0]]))  # any real value is one
        return
    likelihood = case.make(SIZE).double()
    p = likelihood.distribution(case.some_outputs(5, SIZE))
    for bad in (case.bad, -1.0, 2.0):
        x = p.sample()
        x[3, 4] = bad
        with pytest.raises(DataError, match=r"^data: expected .*, ?(?:since|flattened).*; got .*\. [A-Z].*"):
            likelihood.check("data", x)
        with pytest.raises(ValueError, match="support"), pyro.validation_enabled():
            likelihood.distribution(case.some_outputs(5, SIZE)).log_prob(x)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "3"])
def test_sizes_are_checked(size: Any) -> None:
    for case in CASES.values():
        with pytest.raises(ArgumentError, match=r"^num_visible: "):
            case.make(size)
