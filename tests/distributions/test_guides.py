"""Guide families: what an encoder's outputs mean."""

from __future__ import annotations

import json

import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F

from probae.distributions.guides import GUIDES, Delta, DiagonalNormal, GuideFamily
from probae.distributions.named import make
from probae.errors import ArgumentError

ALL: list[GuideFamily] = [DiagonalNormal(3), Delta(3), Delta(3, "sigmoid"), Delta(3, "linear")]


@pytest.mark.parametrize("family", ALL, ids=lambda family: str(family.config))
def test_shapes_and_gradients(family: GuideFamily) -> None:
    for shape in ((5,), (2, 5), ()):
        outputs = torch.randn(*shape, family.num_outputs, requires_grad=True)
        q = family.distribution(outputs)
        assert (q.batch_shape, q.event_shape) == (shape, (3,))
        assert q.has_rsample
        q.rsample().sum().backward()
        assert outputs.grad is not None


@pytest.mark.parametrize("family", ALL, ids=lambda family: str(family.config))
def test_its_configuration_rebuilds_it(family: GuideFamily) -> None:
    config = json.loads(json.dumps(family.config))
    twin = make("guide", config, GuideFamily, GUIDES, 3)
    assert (type(twin), twin.config, twin.num_outputs) == (type(family), config, family.num_outputs)
    outputs = torch.randn(5, family.num_outputs)
    assert torch.equal(twin.distribution(outputs).mean, family.distribution(outputs).mean)


def test_the_diagonal_normal() -> None:
    outputs = torch.randn(5, 6)
    q = DiagonalNormal(3).distribution(outputs)
    torch.testing.assert_close(q.mean, outputs[:, :3])
    torch.testing.assert_close(q.stddev, F.softplus(outputs[:, 3:] + 0.5))
    assert DiagonalNormal(3).distribution(torch.zeros(1, 6)).stddev.sub(1).abs().max() < 0.05
    assert DiagonalNormal.has_density


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_no_output_makes_the_scale_zero_or_infinite(size: float) -> None:
    outputs = torch.tensor([[0.0, 0.0, size, -size]], requires_grad=True)
    q = DiagonalNormal(2).distribution(outputs)
    assert q.base_dist.scale.isfinite().all()  # type: ignore[attr-defined]
    assert (q.base_dist.scale > 0).all()  # type: ignore[attr-defined]
    q.log_prob(torch.zeros(1, 2)).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_the_delta() -> None:
    outputs = torch.randn(5, 3)
    for name, function in {"relu": torch.relu, "sigmoid": torch.sigmoid, "linear": torch.clone}.items():
        q = Delta(3, name).distribution(outputs)
        assert isinstance(q, dist.Delta)
        assert torch.equal(q.rsample(), function(outputs))
        assert torch.equal(q.log_prob(q.rsample()), torch.zeros(5))
    assert not Delta.has_density


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'sigmoid'"):
        Delta(3, "sigmoide")
    for family in (Delta, DiagonalNormal):
        with pytest.raises(ArgumentError, match=r"^latent_dim: "):
            family(0)
