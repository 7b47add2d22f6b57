"""What the outputs of an encoder mean, family by family."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F

from probae.distributions.guides import Delta, DiagonalNormal, Flow, FullNormal
from tests.distributions.guides.cases import outputs_for, trained


def test_the_diagonal_normal() -> None:
    outputs = torch.randn(5, 6)
    q = DiagonalNormal(3).distribution(outputs)
    torch.testing.assert_close(q.mean, outputs[:, :3])
    torch.testing.assert_close(q.stddev, F.softplus(outputs[:, 3:] + 0.5))
    assert torch.equal(DiagonalNormal(3).code(outputs), q.mean)


def test_the_full_normal() -> None:
    outputs = torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.5, -1.0, 0.4, -3.0, 200.0]], dtype=torch.float64)
    q = FullNormal(3).distribution(outputs)
    scale = F.softplus(outputs[0, 3:6] + 0.5) + 1e-6
    rows = [[1, 0, 0], [0.4 / 1.004, 1, 0], [-3 / 1.03, 200 / 3, 1]]
    torch.testing.assert_close(q.loc[0], outputs[0, :3])  # type: ignore[attr-defined]
    wanted = scale.unsqueeze(-1) * torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(q.scale_tril[0], wanted)  # type: ignore[attr-defined]
    assert torch.equal(FullNormal(3).code(outputs), q.mean)
    assert FullNormal(3).num_outputs == 3 + 6


def test_outputs_without_correlations_make_the_full_normal_diagonal() -> None:
    outputs, z = torch.randn(5, 8, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    both = [DiagonalNormal(4), FullNormal(4)]
    diagonal, full = (f.distribution(F.pad(outputs, (0, f.num_outputs - 8))).log_prob(z) for f in both)
    torch.testing.assert_close(full, diagonal)


@pytest.mark.parametrize("family", [DiagonalNormal(3), FullNormal(3), Flow(3)])
def test_at_outputs_zero_the_scale_is_about_one(family: DiagonalNormal) -> None:
    q = family.distribution(torch.zeros(family.num_outputs))
    assert (q.log_prob(torch.zeros(3)) - dist.Normal(0.0, 1.0).log_prob(torch.zeros(3)).sum()).abs() < 0.1


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("conditioner", ["autoregressive", "coupling"])
def test_a_flow_starts_as_the_diagonal_normal_whatever_the_context(dim: int, conditioner: str) -> None:
    flow, z = Flow(dim, conditioner=conditioner), torch.randn(5, dim)
    outputs = torch.randn(5, flow.num_outputs)
    wanted = DiagonalNormal(dim).distribution(outputs[:, : 2 * dim])
    torch.testing.assert_close(flow.distribution(outputs).log_prob(z), wanted.log_prob(z))
    torch.testing.assert_close(flow.code(outputs), wanted.mean)


def test_a_trained_flow_heeds_its_context_and_embeds_by_the_image_of_the_centre() -> None:
    flow = trained("flow", 3)
    assert isinstance(flow, Flow)
    outputs = outputs_for(flow, 5)
    other = torch.cat([outputs[:, :6], -outputs[:, 6:]], -1)
    z = torch.randn(5, 3, dtype=torch.float64)
    assert (flow.distribution(outputs).log_prob(z) - flow.distribution(other).log_prob(z)).abs().min() > 1e-3
    bent = flow.network(outputs[:, 6:].tanh())(torch.zeros(5, 3, dtype=torch.float64))
    torch.testing.assert_close(flow.code(outputs), outputs[:, :3] + (F.softplus(outputs[:, 3:6] + 0.5) + 1e-6) * bent)
    with pytest.raises(NotImplementedError, match="code"):
        flow.distribution(outputs).mean  # noqa: B018


def test_the_delta() -> None:
    outputs = torch.randn(5, 3)
    for name, function in {"relu": torch.relu, "sigmoid": torch.sigmoid, "linear": torch.clone}.items():
        q = Delta(3, name).distribution(outputs)
        assert isinstance(q, dist.Delta)
        assert torch.equal(q.rsample(), function(outputs))
        assert torch.equal(q.log_prob(q.rsample()), torch.zeros(5))
        assert torch.equal(Delta(3, name).code(outputs), function(outputs))


def test_a_flow_bends_where_no_normal_can() -> None:
    """A banana, z2 about z1^2: the best Normal stays 0.78 nats away, whatever its covariance."""
    torch.manual_seed(0)
    flow = Flow(2, transforms=3, hidden=32)
    outputs = torch.zeros(flow.num_outputs, requires_grad=True)
    optimizer = torch.optim.Adam([outputs, *flow.parameters()], lr=5e-3)

    def divergence(count: int) -> torch.Tensor:
        q = flow.distribution(outputs)
        z = q.rsample((count,))
        log_p = dist.Normal(0.0, 1.0).log_prob(z[:, 0]) + dist.Normal(z[:, 0] ** 2, 0.3).log_prob(z[:, 1])
        return (q.log_prob(z) - log_p).mean()

    for _ in range(500):
        optimizer.zero_grad()
        divergence(200).backward()
        optimizer.step()
    assert divergence(10_000) < 0.3
