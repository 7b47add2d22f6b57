"""Corruptions: their samples have the law that they state, and wrong settings are refused by name."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from probae.distributions.corruptions import CORRUPTIONS, Corruption, Gaussian, Masking, SaltAndPepper
from probae.distributions.named import make
from probae.errors import ArgumentError

REPLACING = [Masking(0.0), Masking(0.3), Masking(1.0), SaltAndPepper(0.4), SaltAndPepper(0.4, low=0.1, high=0.7)]
X = torch.tensor([0.0, 0.5, 1.0])


@pytest.mark.parametrize("corruption", REPLACING, ids=lambda corruption: str(corruption.config))
def test_samples_occur_as_often_as_their_probability(corruption: Corruption) -> None:
    """At most 36 cells, each within 6 standard errors; P(a false alarm) is below 36 * 2e-9, since n p > 1000."""
    n = 200_000
    drawn = corruption.distribution(X.expand(n, 3)).sample()
    values = {0.0, *corruption.config.values()} - {corruption.config["name"], corruption.config["rate"]}
    cells = torch.tensor(list(itertools.product(*(sorted({x.item(), *values}) for x in X))))
    p = corruption.distribution(X.expand(len(cells), 3)).log_prob(cells).exp()
    torch.testing.assert_close(p.sum(), torch.tensor(1.0))
    assert p[p > 0].min() * n > 1000
    share = torch.stack([(drawn == cell).all(1).float().mean() for cell in cells])
    assert ((share - p).abs() <= 6 * (p * (1 - p) / n).sqrt() + 1e-6).all()


def test_dimensions_and_examples_are_spoiled_independently() -> None:
    """A covariance of n fair bits is about Normal(0, 1 / (16 n)); 6 standard errors: below 1e-8 for both."""
    n = 100_000
    kept = SaltAndPepper(0.5, low=2.0, high=3.0).distribution(torch.zeros(n, 2)).sample() == 0
    bits = kept.double() - 0.5
    for one, other in [(bits[:, 0], bits[:, 1]), (bits[1:, 0], bits[:-1, 0])]:
        assert abs((one * other).mean().item()) < 6 * 0.25 / math.sqrt(n)


@pytest.mark.parametrize("corruption", [Masking(), SaltAndPepper(), Gaussian()], ids=lambda c: c.config["name"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types_are_those_of_the_examples(corruption: Corruption, dtype: torch.dtype) -> None:
    spoiled = corruption.distribution(torch.rand(4, 3).to(dtype))
    assert (spoiled.batch_shape, spoiled.event_shape) == ((4,), (3,))
    value = spoiled.expand([5, 4]).sample(torch.Size([2]))
    assert (value.shape, value.dtype) == ((2, 5, 4, 3), dtype)
    log_prob = spoiled.expand([5, 4]).log_prob(value)
    assert (log_prob.shape, log_prob.dtype) == ((2, 5, 4), dtype)
    assert log_prob.isfinite().all()


def test_gaussian_noise_is_added() -> None:
    noise: Any = Gaussian(0.2).distribution(X).base_dist
    torch.testing.assert_close((noise.loc, noise.scale), (X, torch.full((3,), 0.2)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_its_configuration_rebuilds_it(name: str) -> None:
    config = make("corruption", name, Corruption, CORRUPTIONS).config
    config |= {key: value / 2 for key, value in config.items() if key in ("rate", "scale", "high")}
    assert make("corruption", config, Corruption, CORRUPTIONS).config == config


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("maskin", "corruption: expected one of 'gaussian', 'masking', 'salt_and_pepper'.*Did you mean 'masking'"),
        (0.3, "corruption: expected a name or a Corruption"),
        ({"name": "masking", "scale": 0.1}, r"corruption: expected settings that 'masking' has \(rate\)"),
        ({"name": "masking", "rate": 1.1}, "rate: expected a finite number at least 0 and at most 1"),
        ({"name": "salt_and_pepper", "rate": -0.1}, "rate: "),
        ({"name": "salt_and_pepper", "low": 1.0}, "high: expected a finite number above 1"),
        ({"name": "gaussian", "scale": 0.0}, "scale: expected a finite number above 0"),
        ({"name": "gaussian", "scale": math.nan}, "scale: "),
    ],
)
def test_wrong_settings_are_refused_by_name(bad: object, message: str) -> None:
    with pytest.raises(ArgumentError, match="^" + message):
        make("corruption", bad, Corruption, CORRUPTIONS)
