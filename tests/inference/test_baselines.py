"""Score-function gradients: unbiased, against sums over all states, and of small variance."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn

from probae.errors import ArgumentError, SiteError
from probae.inference.baselines import Baselines
from probae.inference.elbo import ELBO
from tests.inference import zoo
from tests.inference.draws import assert_mean, draws, flat, t_statistics
from tests.inference.zoo import Pair, ones, param, positive, zeros

COST = -7.0
"""What is added to each example's log-likelihood, so that a baseline has something to do."""


def hidden_bit(x: Tensor) -> Pair:
    """An auxiliary bit `u` of the guide alone, a bit `h` that depends on it, and a Normal that depends on both."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            h = pyro.sample("h", dist.Bernoulli(logits=param("p_h")))
            z = pyro.sample("z", dist.Normal(h * param("p_z"), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("cost", torch.tensor(COST, dtype=torch.float64))

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Bernoulli(logits=param("q_u")), infer={"is_auxiliary": True})
            h = pyro.sample("h", dist.Bernoulli(logits=x + param("q_h") * u))
            pyro.sample("z", dist.Normal(h * param("q_z") + u + x / 2, positive("q_s")))

    return Pair(model, guide, (x,), 1)


def exact_bound(x: Tensor) -> Tensor:
    """Its evidence lower bound: a sum over the bits, and moments of the Normals. (N,)."""
    total = zeros()
    for u, h in product([0.0, 1.0], repeat=2):
        log_q = dist.Bernoulli(logits=param("q_u")).log_prob(torch.tensor(u, dtype=torch.float64))
        log_q = log_q + dist.Bernoulli(logits=x + param("q_h") * u).log_prob(torch.tensor(h, dtype=torch.float64))
        log_p = dist.Bernoulli(logits=param("p_h")).log_prob(torch.tensor(h, dtype=torch.float64)) + COST
        mean, scale = h * param("q_z") + u + x / 2, positive("q_s")
        prior = dist.Normal(h * param("p_z"), 1.0)
        log_p = log_p - torch.distributions.kl_divergence(dist.Normal(mean, scale), prior)
        log_p = log_p + dist.Normal(mean, 1.0).log_prob(x) - scale**2 / 2
        total = total + log_q.exp() * (log_p - log_q)
    return total


FEW = torch.tensor([-0.5, 0.8], dtype=torch.float64)


def expected() -> Tensor:
    loss = -500 * exact_bound(FEW).sum()
    return flat(loss, zoo.gradients(loss))


def repeated(objective: Any, pair: Pair, calls: int = 80) -> Tensor:
    """Two examples, 500 times each, in every call."""
    objective(pair.model, pair.guide, *pair.args)
    with pyro.validation_enabled(False):
        return draws(lambda: objective(pair.model, pair.guide, *pair.args), calls)


@pytest.mark.parametrize("analytic", [True, False])
@pytest.mark.parametrize("baseline", [None, "average"])
@pytest.mark.parametrize("particles", [{}, {"num_particles": 2}, {"num_particles": 2, "vectorize": False}])
def test_gradients_are_those_of_the_sum_over_all_states(
    particles: dict[str, Any], baseline: str | None, analytic: bool
) -> None:
    """80 calls of 1000 examples; false alarm 1e-8."""
    objective = ELBO(baseline=baseline, analytic_kl=analytic, **particles)
    assert_mean(repeated(objective, hidden_bit(FEW.repeat(500))), expected())


def test_pyros_gradient_is_biased_where_an_auxiliary_site_is_scored() -> None:
    """It misses -log q(u) in the cost of u, and nothing else: the entropy's gradient, -s(1 - s) q_u an example."""
    pair = hidden_bit(FEW.repeat(500))
    objective = Trace_ELBO()
    with pyro.validation_enabled(False):
        rows = draws(lambda: objective.differentiable_loss(pair.model, pair.guide, *pair.args), 80)
    wanted, names = expected(), list(pyro.get_param_store().keys())
    position = 1 + names.index("q_u")
    assert t_statistics(rows, wanted)[position].abs() > 10
    share = param("q_u").sigmoid()
    wanted[position] -= (1000 * share * (1 - share) * param("q_u")).detach()
    assert_mean(rows, wanted)


def test_the_average_lowers_the_variance() -> None:
    """By far: the cost has a mean of about -9. The ratio's own error at 80 calls is below a factor of 2."""
    pair = hidden_bit(FEW.repeat(500))
    plain, averaged = ELBO(baseline=None), ELBO()
    repeated(averaged, pair, 30)  # the average forgets its start
    variances = [repeated(objective, pair).var(0) for objective in (plain, averaged)]
    names = list(pyro.get_param_store().keys())
    for name in ("q_u", "q_h"):
        position = 1 + names.index(name)
        assert variances[1][position] < variances[0][position] / 4


def test_the_average_is_that_of_the_cost_and_rests_in_eval_mode() -> None:
    pair, objective = hidden_bit(FEW.repeat(500)), ELBO()
    repeated(objective, pair, 100)
    average = objective.baselines.get_buffer("average_h")
    assert abs(average.item() - exact_bound(FEW).mean().item()) < 0.3
    before = average.clone()
    objective.eval()
    repeated(objective, pair, 3)
    assert torch.equal(before, average)


def test_averages_are_saved_restored_and_copied() -> None:
    pair, objective = hidden_bit(FEW), ELBO()
    repeated(objective, pair, 3)
    state = objective.state_dict()
    assert {"baselines.average_u", "baselines.average_h"} <= state.keys()
    assert all(state[f"baselines.average_{name}"] != 0 for name in "uh")
    fresh, used = ELBO(), ELBO()
    repeated(used, pair, 1)
    for other in (fresh, used, copy.deepcopy(objective)):
        other.load_state_dict(state)
        repeated(other.eval(), pair, 1)
        assert torch.equal(other.baselines.get_buffer("average_h"), state["baselines.average_h"])
    with pytest.raises(RuntimeError, match="average_h"):
        ELBO(baseline=None).load_state_dict(state)


# What a site asks for.


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.unsqueeze(-1)).squeeze(-1)


def constant_cost(baseline: dict[str, Any], register: nn.Module | None = None) -> Pair:
    """A pair whose downstream cost is 3x for whatever bit is drawn: the prior is the guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("h", dist.Bernoulli(0.5 * ones()))
            pyro.factor("cost", 3 * x)

    def guide(x: Tensor) -> None:
        if register is not None:
            pyro.module("net", register)
        with pyro.plate("data", len(x)):
            pyro.sample("h", dist.Bernoulli(logits=0 * param("q")), infer={"baseline": baseline})

    return Pair(model, guide, (zoo.tensor(6),), 1)


@pytest.mark.parametrize("particles", [{}, {"num_particles": 3}, {"num_particles": 3, "vectorize": False}])
def test_a_network_is_trained_by_its_squared_error(particles: dict[str, Any]) -> None:
    net, x = Net(), zoo.tensor(6)
    pair = constant_cost({"nn_baseline": net, "nn_baseline_input": x * param("detached")})
    loss = ELBO(baseline=None, **particles)(pair.model, pair.guide, *pair.args)
    torch.testing.assert_close(loss, -3 * x.sum())  # it adds nothing to the value
    found = torch.autograd.grad(loss, [*net.parameters(), param("detached")], allow_unused=True)
    wanted = torch.autograd.grad((3 * x - net(x * param("detached").detach())).pow(2).sum(), list(net.parameters()))
    torch.testing.assert_close(found[:2], wanted, rtol=1e-10, atol=1e-10)
    assert found[2] is None


def test_a_value_is_trained_by_its_squared_error() -> None:
    value = param("value", 6)
    pair = constant_cost({"baseline_value": value})
    loss = ELBO(baseline=None)(pair.model, pair.guide, *pair.args)
    (found,) = torch.autograd.grad(loss, value)
    torch.testing.assert_close(found, 2 * (value - 3 * pair.args[0]).detach(), rtol=1e-10, atol=1e-10)


def test_svi_trains_a_network_until_it_knows_the_cost() -> None:
    net, x = Net(), zoo.tensor(6)
    pair = constant_cost({"nn_baseline": net, "nn_baseline_input": x}, register=net)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.1}), loss=ELBO())
    for _ in range(300):
        svi.step(x)
    torch.testing.assert_close(net(x), 3 * x, rtol=0, atol=0.05)


def test_a_network_leaves_the_gradient_unbiased_and_lowers_its_variance() -> None:
    """80 calls of 1000 examples; false alarm 1e-8."""
    pair = hidden_bit(FEW.repeat(500))
    net = Net()
    with torch.no_grad():
        net.linear.bias.fill_(COST - 2)
    options = {"nn_baseline": net, "nn_baseline_input": pair.args[0]}
    configured = pyro.poutine.infer_config(pair.guide, lambda site: {"baseline": options})  # type: ignore[typeddict-item]
    rows = repeated(ELBO(baseline=None), Pair(pair.model, configured, pair.args, 1))
    assert_mean(rows, expected())
    plain = repeated(ELBO(baseline=None), pair)
    position = 1 + list(pyro.get_param_store().keys()).index("q_u")
    assert rows.var(0)[position] < plain.var(0)[position] / 4


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"nn_baseline": lambda _: zoo.tensor(6, 1)}, r"'h'.* shape \(6, 1\), but its downstream cost \(6,\)"),
        ({"baseline_value": zoo.tensor(4)}, r"'h'.* shape \(4,\)"),
        ({"neural": None}, "'h': unknown baseline option 'neural'"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused(baseline: dict[str, Any], message: str) -> None:
    pair = constant_cost(baseline)
    with pytest.raises(SiteError, match=message):
        ELBO()(pair.model, pair.guide, *pair.args)


def test_pyros_other_options_are_accepted() -> None:
    pair = constant_cost({"use_decaying_avg_baseline": True, "baseline_beta": 0.5})
    ELBO()(pair.model, pair.guide, *pair.args)


def test_the_kind_is_checked_at_the_door() -> None:
    with pytest.raises(ArgumentError, match=r"^baseline: expected 'average' or None"):
        Baselines("mean")


def test_buffers_are_made_once() -> None:
    baselines = Baselines()
    baselines.allocate(("a.b", "c"))
    baselines.get_buffer("average_c").fill_(3.0)
    baselines.allocate(("c", "d"))
    assert {name: b.item() for name, b in baselines.named_buffers()} == {
        "average_a_b": 0.0, "average_c": 3.0, "average_d": 0.0
    }  # fmt: skip
