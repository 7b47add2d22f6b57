"""What every prior obeys: normalized, drawn as it says, trained as a whole, rebuilt by configuration and state."""

from __future__ import annotations

import json
import math
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch.fx.experimental.proxy_tensor import make_fx

from probae.distributions.named import make
from probae.distributions.priors import PRIORS, Prior
from probae.errors import ArgumentError
from tests.distributions.plane import assert_draws_have_the_density, integral, points
from tests.distributions.priors.cases import CASES, VISIBLE, distribution, encoder, fresh, trained
from tests.no_sync import no_sync

PROPER = [name for name in CASES if PRIORS[fresh(name).config["name"]].proper]
every = pytest.mark.parametrize("name", CASES)
every_proper = pytest.mark.parametrize("name", PROPER)


def test_every_name_has_a_case() -> None:
    assert {type(fresh(name)) for name in CASES} == set(PRIORS.values())
    assert set(CASES) - set(PROPER) == {"flat"}


@every
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_shapes(name: str, dim: int) -> None:
    p = distribution(trained(name, dim))
    assert (p.batch_shape, p.event_shape) == ((), (dim,))
    z = torch.randn(3, 7, dim, dtype=torch.float64)  # particles, examples
    each = torch.stack([torch.stack([p.log_prob(row) for row in rows]) for rows in z])
    torch.testing.assert_close(p.log_prob(z), each)
    for shape in ((7,), (3, 7), (3, 1)):
        wide = p.expand(torch.Size(shape))
        assert (wide.batch_shape, wide.event_shape) == (shape, (dim,))
        torch.testing.assert_close(wide.log_prob(z), each)
        torch.testing.assert_close(wide.log_prob(z[0, 0]), each[0, 0].expand(shape))


@every_proper
def test_draws_under_plates_and_particles(name: str) -> None:
    p = distribution(trained(name))
    assert p.sample().shape == (2,)
    assert p.expand(torch.Size((7,))).sample((3,)).shape == (3, 7, 2)
    with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 7):
        assert pyro.sample("z", p).shape == (3, 7, 2)


@every
def test_a_site_under_plates_and_particles(name: str) -> None:
    """The value comes from a guide; the site's term is one number for each particle and example."""
    z = torch.randn(3, 7, 2, dtype=torch.float64)

    def model() -> None:
        with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 7):
            pyro.sample("z", distribution(trained(name)))

    trace = poutine.trace(poutine.condition(model, {"z": z})).get_trace()
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], distribution(trained(name)).log_prob(z))


@every_proper
@torch.no_grad()
def test_it_is_normalized_in_the_plane(name: str) -> None:
    """By the midpoint rule, which sees Laplace's edges, and faintly those of a flow's ELU."""
    total = integral(distribution(trained(name)).log_prob(points()))
    assert total.item() == pytest.approx(1, abs={"laplace": 2e-3, "flow": 1e-5, "coupling": 1e-5}.get(name, 1e-9))


@every_proper
@torch.no_grad()
def test_it_is_normalized_on_the_line(name: str) -> None:
    axis = (torch.arange(-20, 20, 0.01, dtype=torch.float64) + 0.005).unsqueeze(-1)
    total = distribution(trained(name, 1)).log_prob(axis).exp().sum() * 0.01
    assert total.item() == pytest.approx(1, abs=1e-4 if name == "laplace" else 1e-9)


@every_proper
def test_draws_have_the_density(name: str) -> None:
    assert_draws_have_the_density(distribution(trained(name)))


@every
def test_gradients_reach_each_parameter(name: str) -> None:
    prior, posterior = trained(name), encoder()
    value = distribution(prior, posterior).log_prob(torch.randn(20, 2, dtype=torch.float64)).sum()
    parameters = [*prior.parameters(), *(posterior.parameters() if prior.uses_posterior else ())]
    assert value.requires_grad == bool(parameters)
    for gradient in torch.autograd.grad(value, parameters) if parameters else ():
        assert gradient.abs().max() > 0


@every
def test_the_gradient_by_the_values(name: str) -> None:
    p = distribution(trained(name))
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    if name == "flat":
        assert not p.log_prob(z).requires_grad
    else:
        torch.autograd.gradcheck(p.log_prob, z)


@every
def test_configuration_and_state_rebuild_it(name: str) -> None:
    prior = trained(name)
    prior.prepare(torch.rand(30, VISIBLE, dtype=torch.float64))
    config = json.loads(json.dumps(prior.config))
    twin = make("prior", config, Prior, PRIORS, 2)
    twin.attach(VISIBLE)
    twin.double().load_state_dict(prior.state_dict())
    assert (type(twin), twin.config, twin.latent_dim) == (type(prior), config, 2)
    z = torch.randn(9, 2, dtype=torch.float64)
    assert torch.equal(distribution(twin).log_prob(z), distribution(prior).log_prob(z))
    kept = bool(list(prior.parameters())) or name == "kernel"  # whose points are data
    assert bool(prior.state_dict()) == kept, "what is configuration is no state"


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_has_the_type_of_its_module(name: str, dtype: torch.dtype) -> None:
    prior = trained(name).to(dtype)
    p = distribution(prior, encoder().to(dtype))
    assert p.log_prob(torch.zeros(3, 2, dtype=dtype)).dtype == dtype
    if prior.proper:
        assert p.sample().dtype == dtype


@every
def test_nothing_stays_behind_on_another_device(name: str) -> None:
    """Torch's device without values stands for any other: whatever is still on the CPU is an error there."""
    prior, posterior = trained(name).to("meta"), encoder().to("meta")
    with pyro.validation_enabled(False):
        p = distribution(prior, posterior)
        assert p.log_prob(torch.zeros(3, 2, dtype=torch.float64, device="meta")).is_meta
        if prior.proper:
            assert p.sample((3,)).is_meta


@every
@pytest.mark.parametrize("size", [1e2, 1e4, 1e10])
def test_far_values_give_no_nan(name: str, size: float) -> None:
    prior = trained(name).float()
    z = torch.tensor([[size, -size], [0.0, size], [-size, -size]], requires_grad=True)
    value = distribution(prior, encoder().float()).log_prob(z)
    assert not value.isnan().any()
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert not gradient.isnan().any()


@every
def test_the_density_can_be_recorded_and_never_waits_for_the_device(name: str) -> None:
    prior, posterior = trained(name), encoder()
    parameters = [*prior.parameters(), *(posterior.parameters() if prior.uses_posterior else ())]

    def step(z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        value = distribution(prior, posterior).log_prob(z).sum()
        return value.detach(), *(torch.autograd.grad(value, parameters) if parameters else ())

    with no_sync():
        step(torch.randn(5, 2, dtype=torch.float64))
        program = make_fx(step)(torch.randn(5, 2, dtype=torch.float64))
    z = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(program(z), step(z), rtol=1e-12, atol=1e-12)


@every_proper
def test_a_nan_is_refused_in_validated_runs(name: str) -> None:
    with pyro.validation_enabled(), pytest.raises(ValueError, match="within the support"):
        distribution(trained(name)).log_prob(torch.tensor([0.0, math.nan], dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "settings", "argument"),
    [
        ("normal", {"latent_dim": 0}, "latent_dim"),
        ("normal", {"latent_dim": True}, "latent_dim"),
        ("flat", {"latent_dim": 1.5}, "latent_dim"),
        ("laplace", {"rate": 0.0}, "rate"),
        ("laplace", {"rate": -1.0}, "rate"),
        ("laplace", {"rate": math.nan}, "rate"),
        ("laplace", {"rate": "1"}, "rate"),
        ("mixture", {"num_components": 0}, "num_components"),
        ("vamp", {"num_components": 2.0}, "num_components"),
        ("flow", {"transforms": 0}, "transforms"),
        ("flow", {"hidden": ()}, "hidden"),
        ("flow", {"hidden": (8, 0)}, "hidden"),
        ("flow", {"conditioner": "couplings"}, "conditioner"),
        ("kernel", {"points": 0}, "points"),
        ("kernel", {"points": torch.zeros(5, 3)}, "points"),
        ("kernel", {"points": torch.full((5, 2), math.nan)}, "points"),
        ("kernel", {"points": 5, "scale": 0.0}, "scale"),
    ],
)
def test_arguments_are_checked(name: str, settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}: "):
        PRIORS[name](**{"latent_dim": 2, **settings})
