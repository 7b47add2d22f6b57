"""Annealing up and back, against exact partition functions; and whether the estimate knows when it is wrong."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from tqdm import tqdm

import probae as pb
from probae.distributions.rbm import RestrictedBoltzmann
from probae.distributions.tempered import Tempered
from probae.distributions.units import HIDDEN_UNITS, VISIBLE_UNITS, make_units
from probae.errors import ArgumentError
from probae.evaluation.ais import Ladder, ais_log_partition, inverse_temperatures
from probae.evaluation.doubts import Doubts, states_bound

FALSE_ALARM = 1e-7
BAR = tqdm(disable=True)


def machine(
    visible: Any = "bernoulli", hidden: Any = "bernoulli", scale: float = 0.6, seed: int = 0
) -> RestrictedBoltzmann:
    torch.manual_seed(seed)
    units = [
        make_units("units", kind, table, size).double()
        for kind, table, size in ((visible, VISIBLE_UNITS, 4), (hidden, HIDDEN_UNITS, 2))
    ]
    parameters = [scale * torch.randn(shape, dtype=torch.float64) for shape in ((4, 2), (4,), (2,))]
    return RestrictedBoltzmann(*parameters, visible=units[0], hidden=units[1])


def exact_draws(m: RestrictedBoltzmann, count: int) -> tuple[Tensor, float]:
    """Samples of v without any chain, by enumerating the hidden units; and log Z."""
    h = m.hidden.states(torch.arange(m.hidden.num_states or 0))
    scores = -m.hidden.energy(h, m.hidden_bias) + m.visible.cumulant(m.visible_input(h), m.visible_bias)
    drawn = h[torch.multinomial(scores.softmax(0), count, replacement=True)]
    return m.visible.sample(m.visible_input(drawn)), scores.logsumexp(0).item()


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "relu", {"name": "categorical", "num_categories": 2}])
@pytest.mark.parametrize("temperatures", [1, 3])
def test_the_mean_weight_of_the_way_back_is_one_over_z(visible: Any, temperatures: int) -> None:
    """From exact starts, at any number of temperatures; a z-test over 40,000 chains, false alarm 1e-7."""
    m = machine(visible, scale=0.4)
    start, log_z = exact_draws(m, 40_000)
    path = Tempered(m, m.visible.bias_for(torch.full((4,), 0.4).double()))
    back, _ = Ladder(path, inverse_temperatures(temperatures), BAR).down(start)
    weights = (back - path.log_partition_of_base() + log_z).exp()
    assert abs(weights.mean() - 1) < stats.norm.isf(FALSE_ALARM / 2) * weights.std() / 200 + 1e-9
    assert weights.std() < 3


def test_the_way_up_is_biased_down_and_the_way_back_up() -> None:
    """The mean log-weight of 4,000 runs of 2 chains over few temperatures: on its side by seven standard errors."""
    m = machine(scale=2.0)
    path = Tempered(m, torch.zeros(4).double())
    start, log_z = exact_draws(m, 8000)
    ladder, log_base = Ladder(path, inverse_temperatures(4), BAR), path.log_partition_of_base().item()
    up = ladder.up(path.start(8000))[0].reshape(-1, 2).logsumexp(1) - math.log(2) + log_base - log_z
    back = log_base - log_z - (ladder.down(start)[0].reshape(-1, 2).logsumexp(1) - math.log(2))
    assert up.mean() < -7 * up.std() / 4000**0.5
    assert back.mean() > 7 * back.std() / 4000**0.5


def test_a_second_mode_far_from_the_data_is_found_out() -> None:
    """60 units and one hidden one, which holds a mode 30 nats above all else, out of the data's sight."""
    rbm = pb.RBM(60, 1).set_parameters(torch.full((60, 1), 6.0), torch.full((60,), -3.0), torch.full((1,), -150.0))
    rbm.prepare(torch.bernoulli(torch.full((500, 60), 0.05)))
    estimate, exact = rbm.log_partition("ais"), rbm.log_partition("exact").value
    assert estimate.value < exact - 29
    assert estimate.ess == pytest.approx(100, abs=1), "the weights themselves tell nothing"
    assert not estimate.reliable
    assert estimate.stderr > 30, "half of what the ways differ by"
    assert rbm.log_partition("ais", examine=False).stderr < 0.01
    assert "states that alone weigh more" in estimate.reason
    assert estimate.lower is not None
    assert 30 < estimate.lower <= exact + 1e-6


def real_valued_modes() -> pb.RBM:
    """Of 60 real units; that of the hidden unit switched on is 30 nats heavier than the one that the data are in."""
    rbm = pb.RBM(60, 1, "gaussian")
    rbm.set_parameters(torch.full((60, 1), 20 / 60**0.5), torch.zeros(60), torch.full((1,), -170.0))
    return rbm.prepare(torch.randn(500, 60))


def wide_modes() -> pb.RBM:
    """Of 300 bits: in the heavier mode, by 30 nats, there are so many states that a few of them weigh nothing."""
    rbm = pb.RBM(300, 1)
    rbm.set_parameters(torch.full((300, 1), 2.0), torch.zeros(300), torch.full((1,), -400.2))
    return rbm.prepare(torch.rand(500, 300).round())


@pytest.mark.parametrize("make", [real_valued_modes, wide_modes])
@pytest.mark.parametrize("method", ["ais", "bridge"])
@pytest.mark.parametrize("chains", [20, 100])
def test_single_chains_from_a_heavier_mode_are_seen(make: Callable[[], pb.RBM], method: str, chains: int) -> None:
    """Half of the starts are in the mode that the estimate has found, so that their mean hardly shows the other one."""
    torch.manual_seed(0)
    rbm = make()
    exact = rbm.log_partition("exact").value
    for seed in range(3 if method == "ais" else 1):
        estimate = rbm.log_partition(method, num_chains=chains, seed=seed)
        assert not estimate.reliable or abs(estimate.value - exact) < 0.5
        if method == "ais":
            assert estimate.value < exact - 25
            assert "at states heavier than any" in estimate.reason


def test_a_way_back_with_large_errors_does_not_excuse_itself() -> None:
    """A standard error of one, as of a single chain that counts, covers no three nats."""
    doubts = Doubts(0.0, 0.1, 90.0, 100, highest=1.0, ran=True)
    doubts.returned("from somewhere", 2.9, 1.0, torch.zeros(100))
    assert not doubts.verdict()[0]
    assert doubts.error == pytest.approx(1.45)


@pytest.mark.parametrize(("beyond", "reliable"), [(3, True), (4, False)])
def test_a_few_chains_may_be_beyond_all_others(beyond: int, reliable: bool) -> None:
    doubts = Doubts(0.0, 0.1, 90.0, 100, highest=1.0, ran=True)
    doubts.returned("from somewhere", 0.0, 0.1, torch.zeros(100).index_fill(0, torch.arange(beyond), 4.1))
    assert doubts.verdict()[0] == reliable


def test_what_was_found_is_a_bound_where_it_is_clearly_more() -> None:
    """The larger one of two numbers would be above log Z in expectation, where both are near it."""
    for floor, lower in ((-1.0, 0.0), (0.2, 0.0), (0.4, 0.4)):
        doubts = Doubts(0.0, 0.1, 90.0, 100)
        doubts.found(floor)
        assert doubts.lower == lower


def test_what_is_called_reliable_is_right() -> None:
    """48 machines of 30 x 1 to 30 x 10 units with one or several modes, base rates from a single one of them."""
    found, errors = Counter[tuple[bool, bool]](), list[float]()
    for seed in range(48):
        torch.manual_seed(seed)
        hidden, scale = [1, 4, 10][seed % 3], [0.3, 1.0, 2.0, 4.0][seed // 3 % 4]
        weight, a, b = (
            2 * scale * torch.randn(30, hidden) / max(hidden, 4) ** 0.5,
            0.5 * torch.randn(30),
            scale * torch.randn(hidden),
        )
        if seed % 2:  # modes in pairs, by symmetry
            a, b = a - weight.sum(1) / 2, b - weight.sum(0) / 2
        rbm = pb.RBM(30, hidden).set_parameters(weight, a, b)
        mode = rbm.distribution().gibbs(torch.bernoulli(torch.full((1, 30), 0.5)).repeat(200, 1), 100)
        estimate = rbm.prepare(mode).log_partition("ais", num_temperatures=200, seed=seed)
        error = abs(estimate.value - rbm.log_partition("exact").value)
        found[error > 0.4, estimate.reliable] += 1
        errors.append(error / estimate.stderr if estimate.reliable else 0.0)
    assert found[True, True] == 0
    assert found[True, False] >= 1, "none was hard"
    assert found[False, True] >= 40
    assert found[False, False] <= 6, "of a light mode that is deep, chains come back with too large weights"
    assert max(errors) < 5, "stated errors of reliable estimates hold"


def test_states_that_were_found_are_a_part_of_z() -> None:
    m = machine()
    states = m.visible.states(torch.arange(16))
    _, log_z = exact_draws(m, 1)
    assert states_bound(m, torch.cat([states, states])) == pytest.approx(log_z, abs=1e-9)
    assert states_bound(m, states[:5]) < log_z
    assert states_bound(machine("gaussian"), torch.randn(5, 4).double()) == -math.inf


@pytest.mark.parametrize("way", ["trace", "inductor"])
def test_compiled_steps_give_the_same_estimate(way: str) -> None:
    m = machine()
    values = []
    for compile in ("eager", way):
        torch.manual_seed(3)
        estimate = ais_log_partition(m, torch.full((4,), 0.3), num_chains=50, num_temperatures=60, compile=compile)
        values.append((estimate.value, estimate.upper))
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_products_in_bfloat16_cost_little() -> None:
    """A machine of 64 x 16 units with an exact log Z, 2,000 chains: within 0.1 nats, and of the float32 run too."""
    torch.manual_seed(4)
    rbm = pb.RBM(64, 16)
    rbm.fit(pb.data.load("digits").train, epochs=10, learning_rate=0.1, seed=0)
    exact = rbm.log_partition("exact").value
    low, full = (
        rbm.log_partition("ais", num_chains=500, num_temperatures=300, precision=p, examine=False)
        for p in ("bf16", None)
    )
    assert low.value != full.value
    wide = pb.RBM(6, 30).double().prepare((torch.rand(20, 6) < 0.5).double())
    assert wide.log_partition("ais", precision="bf16", num_temperatures=5).value > 0  # float64 is not rounded
    assert abs(low.value - exact) < 0.1
    assert abs(low.value - full.value) < 0.1


def test_what_was_not_examined_is_not_reliable() -> None:
    estimate = ais_log_partition(machine(), torch.full((4,), 0.3), num_chains=20, num_temperatures=20, examine=False)
    assert not estimate.reliable
    assert estimate.reason.startswith("not examined")
    assert estimate.upper is None
    examined = ais_log_partition(machine(), torch.full((4,), 0.3), num_chains=200, num_temperatures=50)
    assert examined.reliable
    assert "annealed from units without bias" in examined.reason
    assert examined.upper == pytest.approx(exact_draws(machine(), 1)[1], abs=0.1)


def test_adapted_temperatures_make_better_weights() -> None:
    """Where the base rates are far from the machine's, most of the change is at its end; unbiased still."""
    torch.manual_seed(1)
    weight = 0.3 * torch.randn(30, 5).double()
    bias = 20 * torch.randn(30).double() - weight.sum(1) / 2
    m = RestrictedBoltzmann(weight, bias, -weight.sum(0) / 2)
    settings: dict[str, Any] = {"num_chains": 50, "num_temperatures": 40, "examine": False, "compile": "eager"}
    exact, rates, spread = exact_draws(m, 1)[1], torch.full((30,), 0.5).double(), []
    for spacing in ("equal", "adaptive"):
        found = [ais_log_partition(m, rates, spacing=spacing, **settings).value for _ in range(100)]
        ratios = (torch.tensor(found) - exact).exp()
        assert abs(ratios.mean() - 1) < 7 * ratios.std() / 10
        spread.append(ratios.std().item())
    assert spread[1] < 0.6 * spread[0]


def test_adapted_temperatures_go_from_zero_up_to_one() -> None:
    torch.manual_seed(0)
    for scale in (0.0, 1.0):
        m = machine(scale=scale)
        path = Tempered(m, torch.zeros(4).double())
        ladder = Ladder(path, inverse_temperatures(30), BAR)
        ladder.adapt(path.start(100))
        betas = torch.cat([ladder.rungs[:, 0], ladder.rungs[-1:, 1]])
        assert len(betas) == 31
        assert (betas[0], betas[-1]) == (0, 1)
        assert (betas.diff() > 0).all()
        assert torch.equal(ladder.rungs[1:, 0], ladder.rungs[:-1, 1])


def test_few_weights_are_a_reason() -> None:
    estimate = ais_log_partition(machine(scale=6.0), torch.full((4,), 0.02), num_chains=100, num_temperatures=1)
    assert not estimate.reliable
    assert "take more num_temperatures" in estimate.reason


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"compile": "fast"}, "compile"), ({"precision": "int8"}, "precision"), ({"num_chains": 1}, "num_chains"),
        ({"spacing": "even"}, "spacing"),
        ({"spacing": "adaptive", "num_temperatures": torch.linspace(0, 1, 5)}, "spacing"),
    ],
)
def test_options_are_checked(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        ais_log_partition(machine(), torch.full((4,), 0.3), **options)
