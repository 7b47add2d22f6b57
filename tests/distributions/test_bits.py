"""Random bits: uniform numbers lane by lane, the right rate in every place, the same bits however they are run."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from probae.distributions import bits
from probae.distributions.bits import random_bits
from probae.engine.graphs import split_noise

FALSE_ALARM = 1e-7
"""The rate at which a stochastic test of this file may fail by chance."""

MANY = bits._FEW + 1  # bits, odd: half a word is left over
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def drawn(p: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return random_bits(p)


def assert_fair(ones: Tensor, count: int) -> None:
    """z-tests of numbers of ones among `count` fair bits, Bonferroni."""
    z = (ones - count / 2) / (count / 4) ** 0.5
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / (2 * z.numel()))


def test_words_are_those_of_split_mix() -> None:
    """The first outputs of the published generator from seed 0; states go on beyond the largest integer."""
    words = [word % 2**64 for word in bits._hash(torch.tensor(1), 3).tolist()]
    assert words == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert bits._hash(torch.tensor(2**63 - 1), 2)[1] == bits._hash(torch.tensor(-(2**63)), 1)[0]


def test_calls_start_at_any_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """z-tests of each bit of 2,000 keys; false alarm 1e-7."""
    keys: list[Tensor] = []
    monkeypatch.setattr(bits, "_hash", lambda key, count: (keys.append(key), torch.zeros(count, dtype=torch.int64))[1])
    for _ in range(2000):
        bits._numbers(1)
    assert_fair(((torch.stack(keys)[:, None] >> torch.arange(64)) & 1).sum(0), len(keys))


def test_every_lane_is_uniform() -> None:
    """Each bit and byte of both halves of 2^19 words, and pairs of bytes of neighbours; false alarms 1e-7 each."""
    halves = bits._numbers(2**20).view(-1, 2)
    assert_fair(((halves[..., None] >> torch.arange(24)) & 1).sum(0), len(halves))
    lanes = (halves[..., None] >> torch.tensor([0, 8, 16])) & 255
    left, right, following = lanes[:-1, 0], lanes[:-1, 1], lanes[1:, 0]
    for codes, kinds in [(lanes.flatten(1), 2**8), (left * 256 + right, 2**16), (right * 256 + following, 2**16)]:
        for lane in codes.T:
            p_value = stats.chisquare(torch.bincount(lane, minlength=kinds)).pvalue
            assert FALSE_ALARM / 24 < p_value < 1 - FALSE_ALARM / 24  # too even is not random either


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bit_is_one_if_its_number_is_below(dtype: torch.dtype) -> None:
    """Nothing is rounded: at a number's own value it is zero, at the next larger one it is one."""
    torch.manual_seed(0)
    numbers = bits._numbers(MANY).double()
    p = (numbers / 2**24).to(dtype)
    p[::3] = p[::3].nextafter(p.new_ones(())) if dtype.itemsize > 2 else torch.rand(len(p[::3])).to(dtype)
    p[:5] = torch.tensor([0.0, 1.0, math.nan, 5e-8, 1e-12])
    assert torch.equal(drawn(p), (numbers < p.double() * 2**24).to(dtype))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("calls", [1, 2**8])
def test_rates_are_unbiased(calls: int, dtype: torch.dtype, device: str) -> None:
    """Exact binomial tests of 2^21 bits, in one call and in small ones; false alarm 1e-7 each."""
    for p in (0.0, 2.0**-24, 1e-3, 0.5, 1 - 2.0**-10, 1.0):
        rates = torch.full((2**21 // calls,), p, dtype=dtype, device=device)
        ones = sum(int(random_bits(rates).sum(dtype=torch.int64)) for _ in range(calls))
        assert stats.binomtest(ones, 2**21, math.ceil(2**24 * rates[0].item()) / 2**24).pvalue > FALSE_ALARM


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("count", [100, 40_000])
def test_every_place_has_its_rate_and_neighbours_are_independent(count: int, device: str) -> None:
    """z-tests of 65 places (word sizes divide it badly) and of their products with the next; false alarm 1e-7."""
    rates = torch.linspace(0.3, 0.7, 65, device=device)
    deviations = (random_bits(rates.expand(count, -1)) - rates) / (rates * (1 - rates)).sqrt()
    products = [deviations, deviations[:, 1:] * deviations[:, :-1], deviations[1:] * deviations[:-1]]
    z = torch.cat([product.sum(0) / len(product) ** 0.5 for product in products])
    assert z.abs().max() < stats.norm.isf(FALSE_ALARM / (2 * len(z)))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [4, MANY, 4 * MANY])
def test_bits_keep_shape_dtype_and_certainty(count: int, dtype: torch.dtype, device: str) -> None:
    rates = torch.tensor([0.0, 1.0, math.nan], dtype=dtype, device=device).expand(count, 3).t()  # not contiguous
    found = random_bits(rates)
    assert (found.dtype, found.device) == (dtype, rates.device)
    assert torch.equal(found, rates.nan_to_num(0.0))


@pytest.mark.parametrize("count", [100, MANY])
def test_torchs_seed_decides(count: int) -> None:
    p = torch.full((count,), 0.5)
    assert torch.equal(drawn(p, seed=1), drawn(p, seed=1))
    assert not torch.equal(drawn(p, seed=1), drawn(p, seed=2))
    assert not torch.equal(drawn(p, seed=1), random_bits(p))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_recorded_bits_are_the_same(compiled: bool) -> None:
    """As it was recorded, and as the engine compiles it: the draws cut out, the rest through inductor."""
    p = torch.rand(MANY)
    recorded = make_fx(random_bits)(p)
    cut = split_noise(recorded)
    assert cut is not None
    noise, rest = cut
    rest = torch.compile(rest) if compiled else rest
    for run in (recorded, lambda p: rest(p, *noise())):
        for seed in (1, 2):
            torch.manual_seed(seed)
            found = run(p)
            assert torch.equal(found, drawn(p, seed))


def test_nothing_is_differentiated() -> None:
    rates = torch.full((3,), 0.5, requires_grad=True)
    assert not random_bits(rates).requires_grad
