"""What every guide family obeys: a density that is that of its samples, finite for any outputs, rebuilt as it was."""

from __future__ import annotations

import json
from typing import Any

import pyro
import pytest
import torch

from probae.distributions.guides import GUIDES, GuideFamily
from probae.distributions.named import make
from probae.errors import ArgumentError
from tests.distributions.guides.cases import CASES, DENSE, fresh, outputs_for, trained
from tests.distributions.plane import assert_draws_have_the_density, integral, points

every = pytest.mark.parametrize("name", CASES)
every_dense = pytest.mark.parametrize("name", DENSE)


def test_every_name_has_a_case() -> None:
    assert {type(fresh(name)) for name in CASES} == set(GUIDES.values())
    assert [name for name in CASES if fresh(name).has_density] == DENSE
    assert [name for name in CASES if fresh(name).mixes] == ["diagonal", "shared", "full"]


@every
@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
def test_shapes(name: str, dim: int, batch: tuple[int, ...]) -> None:
    family = trained(name, dim)
    outputs = outputs_for(family, *batch)
    q = family.distribution(outputs)
    assert (q.batch_shape, q.event_shape) == (batch, (dim,))
    assert q.has_rsample
    assert family.code(outputs).shape == (*batch, dim)
    assert q.rsample((4,)).shape == (4, *batch, dim)
    wide = q.expand(torch.Size((3, *batch)))
    assert (wide.batch_shape, wide.event_shape) == ((3, *batch), (dim,))
    assert wide.rsample().shape == (3, *batch, dim)
    if family.has_density:
        z = q.rsample((3,)).detach()
        each = torch.stack([q.log_prob(row) for row in z])
        assert each.shape == (3, *batch)
        torch.testing.assert_close(q.log_prob(z), each)
        torch.testing.assert_close(wide.log_prob(z), each)


@every
def test_gradients_reach_outputs_and_parameters(name: str) -> None:
    family = trained(name, 3)
    outputs = outputs_for(family, 20).requires_grad_()
    z = family.distribution(outputs).rsample()
    gradients = torch.autograd.grad((z.sin() * torch.arange(3)).sum(), [outputs, *family.parameters()])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@every
def test_configuration_and_state_rebuild_it(name: str) -> None:
    family = trained(name, 3)
    config = json.loads(json.dumps(family.config))
    twin = make("guide", config, GuideFamily, GUIDES, 3).double()
    twin.load_state_dict(family.state_dict())
    assert (type(twin), twin.config, twin.num_outputs) == (type(family), config, family.num_outputs)
    outputs, z = outputs_for(family, 5), torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(twin.code(outputs), family.code(outputs))
    if family.has_density:
        assert torch.equal(twin.distribution(outputs).log_prob(z), family.distribution(outputs).log_prob(z))
    assert bool(family.state_dict()) == bool(list(family.parameters())), "what is configuration is no state"


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_has_the_type_of_its_outputs(name: str, dtype: torch.dtype) -> None:
    family = trained(name).to(dtype)
    outputs = outputs_for(family, 5).to(dtype)
    q = family.distribution(outputs)
    assert q.rsample().dtype == q.log_prob(q.rsample()).dtype == family.code(outputs).dtype == dtype


@every
def test_nothing_stays_behind_on_another_device(name: str) -> None:
    """Torch's device without values stands for any other: whatever is still on the CPU is an error there."""
    family = trained(name).to("meta")
    outputs = outputs_for(family, 5).to("meta")
    with pyro.validation_enabled(False):
        q = family.distribution(outputs)
        assert q.rsample().is_meta
        assert q.log_prob(torch.zeros(5, 2, dtype=torch.float64, device="meta")).is_meta
        assert family.code(outputs).is_meta


@every_dense
@torch.no_grad()
def test_it_is_normalized(name: str) -> None:
    """By the midpoint rule, which faintly sees the edges of a flow's ELU."""
    family = trained(name)
    for outputs in outputs_for(family, 3):
        total = integral(family.distribution(outputs).log_prob(points()))
        assert total.item() == pytest.approx(1, abs=1e-5)


@every_dense
def test_draws_have_the_density(name: str) -> None:
    family = trained(name)
    assert_draws_have_the_density(family.distribution(outputs_for(family)))


@every_dense
@pytest.mark.parametrize("dim", [1, 4])
def test_the_density_of_a_sample_is_that_of_its_value(name: str, dim: int) -> None:
    """Also its gradient: a copy of the sample is found by inversion, and both gradients are total ones."""
    family = trained(name, dim)
    outputs = outputs_for(family, 2, 5).requires_grad_()
    for q in (family.distribution(outputs), family.distribution(outputs).expand(torch.Size((3, 2, 5)))):
        z = q.rsample()
        own, found = q.log_prob(z), q.log_prob(z.clone())
        torch.testing.assert_close(own, found, rtol=1e-9, atol=1e-9)
        parameters = [outputs, *family.parameters()]
        pairs = (torch.autograd.grad(value.sum(), parameters, retain_graph=True) for value in (own, found))
        for ours, theirs in zip(*pairs, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


@every_dense
def test_the_density_of_other_values_has_its_own_gradients(name: str) -> None:
    family = trained(name)
    outputs, z = outputs_for(family, 3).requires_grad_(), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda o, v: family.distribution(o).log_prob(v), (outputs, z))


@every_dense
def test_a_sample_that_is_not_reparameterized_has_a_score_function(name: str) -> None:
    family = trained(name)
    outputs = outputs_for(family, 5).requires_grad_()
    q = family.distribution(outputs)
    getattr(q, "base_dist", q).has_rsample_(False)  # that of a diagonal Normal is inside `Independent`
    z = q()
    assert not z.requires_grad
    (gradient,) = torch.autograd.grad(q.log_prob(z).sum(), outputs)
    assert gradient.abs().max() > 0


@every
@pytest.mark.parametrize("dim", [1, 3, 20])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_no_outputs_make_a_nan(name: str, dim: int, size: float) -> None:
    """In float32, for samples and their own densities, and for what is drawn from a neighbour; with gradients."""
    family = trained(name, dim).float()
    signs = torch.randint(-1, 2, (50, family.num_outputs), generator=torch.Generator().manual_seed(0))
    signs[0], signs[1] = 1, -1
    outputs = (size * signs).requires_grad_()
    q = family.distribution(outputs)
    z = q.rsample()
    value = q.log_prob(z)
    assert z.isfinite().all()
    assert value.isfinite().all()
    assert family.code(outputs).isfinite().all()
    assert not torch.autograd.grad(value.sum() + z.sum(), outputs)[0].isnan().any()


@every
def test_a_site_under_plates_and_particles(name: str) -> None:
    family = trained(name)
    outputs = outputs_for(family, 5)
    with pyro.poutine.trace() as run, pyro.plate("particles", 3, dim=-2), pyro.plate("data", 5):
        pyro.sample("z", family.distribution(outputs))
    site: Any = run.trace.nodes["z"]
    run.trace.compute_log_prob()
    assert (site["value"].shape, site["log_prob"].shape) == ((3, 5, 2), (3, 5))
    if family.has_density:
        torch.testing.assert_close(site["log_prob"], family.distribution(outputs).log_prob(site["value"].clone()))


@pytest.mark.parametrize(
    ("name", "settings", "argument"),
    [
        *((name, {"latent_dim": 0}, "latent_dim") for name in GUIDES),
        ("delta", {"nonlinearity": "sigmoide"}, "nonlinearity: .*Did you mean 'sigmoid'"),
        ("flow", {"transforms": 0}, "transforms"),
        ("flow", {"hidden": ()}, "hidden"),
        ("flow", {"context_dim": 0}, "context_dim"),
        ("flow", {"conditioner": "couplings"}, "conditioner: .*Did you mean 'coupling'"),
    ],
)
def test_arguments_are_checked(name: str, settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}"):
        GUIDES[name](**{"latent_dim": 3, **settings})
