"""The running sums over importance weights, against sums of all weights at once, at any size of weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from probae.evaluation.importance import Accumulator
from probae.evaluation.pareto import pareto_khat, tail_size


def accumulate(log_w: Tensor, sizes: list[int]) -> dict[str, Tensor]:
    """Of weights (K, N), taken in chunks that break at K // 2."""
    accumulator, half = Accumulator(len(log_w)), len(log_w) // 2
    for part in (log_w[:half], log_w[half:]):
        for chunk in part.split([*_cut(len(part), sizes)]) if len(part) else ():
            accumulator.add(chunk)
    return accumulator.finish()


def _cut(total: int, sizes: list[int]) -> list[int]:
    cuts: list[int] = []
    for size in sizes:
        cuts.append(min(size, total - sum(cuts)))
    return [size for size in [*cuts, total - sum(cuts)] if size]


@given(
    samples=st.integers(2, 60), sizes=st.lists(st.integers(1, 20), max_size=5), spread=st.sampled_from([0.1, 3.0, 1e4]),
    shift=st.sampled_from([0.0, -1e5, 1e5]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_sums_do_not_depend_on_the_chunks(
    samples: int, sizes: list[int], spread: float, shift: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_w = shift + spread * torch.randn(samples, 3, generator=generator, dtype=torch.float64)
    got, half = accumulate(log_w, sizes), samples // 2
    value = log_w.logsumexp(0) - math.log(samples)
    halves = [part.logsumexp(0) - math.log(len(part)) for part in (log_w[:half], log_w[half:])]
    share = log_w.softmax(0)
    close = {"rtol": 1e-12, "atol": 1e-8}
    torch.testing.assert_close(got["value"], value, **close)
    torch.testing.assert_close(got["gain"], value - (halves[0] + halves[1]) / 2, **close)
    torch.testing.assert_close(got["ess"], 1 / (share**2).sum(0), **close)
    relative = share * samples
    torch.testing.assert_close(got["variance"], relative.var(0) / samples, rtol=1e-6, atol=1e-8)
    tail = log_w.topk(min(samples, tail_size(samples) + 1), dim=0).values
    torch.testing.assert_close(got["khat"], pareto_khat(tail), equal_nan=True)


def test_one_weight_that_outweighs_all_others() -> None:
    """In the first half or in the second: the gain is half of what it outweighs them by, and the ESS is 1."""
    for place in (10, 70):
        log_w = torch.zeros(100, 1, dtype=torch.float64)
        log_w[place] = 1e4
        got = accumulate(log_w, [])
        assert got["value"].item() == pytest.approx(1e4 - math.log(100))
        assert got["ess"].item() == pytest.approx(1)
        assert got["gain"].item() == pytest.approx(5000, rel=1e-3)
        assert got["variance"].item() == pytest.approx(1)


def test_zero_weights() -> None:
    log_w = torch.zeros(100, 3, dtype=torch.float64)
    log_w[:, 0] = -math.inf
    log_w[:50, 1] = -math.inf
    log_w[::2, 2] = -math.inf
    got = accumulate(log_w, [7, 9])
    assert got["value"].tolist() == pytest.approx([-math.inf, -math.log(2), -math.log(2)])
    assert got["ess"].tolist() == pytest.approx([0, 50, 50])
    assert got["variance"][1:].tolist() == pytest.approx([1 / 99, 1 / 99])
    assert got["gain"][1:].tolist() == pytest.approx([math.inf, 0])


def test_float32_weights_are_summed_in_float64() -> None:
    log_w = torch.full((1000, 1), 1e-4)
    assert accumulate(log_w, [100] * 5)["value"].item() == pytest.approx(log_w[0].double().item(), rel=1e-12)


def test_a_single_sample_has_no_error() -> None:
    got = accumulate(torch.tensor([[1.0, 2.0]]), [])
    assert got["value"].tolist() == [1.0, 2.0]
    assert got["variance"].isnan().all()
    assert (got["gain"] == math.inf).all()
    assert got["khat"].isnan().all()
