"""Flows as Pyro distributions: the change of variables, the conditioners, and the package that they come from."""

from __future__ import annotations

import math
import sys
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from probae.distributions.flow import CONDITIONERS, FlowDistribution, flow_network, import_zuko
from probae.distributions.guides import Flow
from probae.distributions.priors import FlowPrior
from probae.errors import ArgumentError


def network(size: int, conditioner: str = "autoregressive", transforms: int = 2, context: int = 0) -> Any:
    """A flow away from the identity, in float64."""
    torch.manual_seed(0)
    made = flow_network(
        "flow", size, transforms=transforms, hidden=(16, 16), conditioner=conditioner, context=context
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("inverse", [False, True], ids=["guide", "prior"])
@pytest.mark.parametrize("conditioner", CONDITIONERS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_density_is_that_of_the_change_of_variables(size: int, conditioner: str, inverse: bool) -> None:
    """Against the determinant of autograd's Jacobian."""
    transform = network(size, conditioner)()
    transform = transform.inv if inverse else transform
    loc, scale = torch.randn(size, dtype=torch.float64), torch.rand(size, dtype=torch.float64) + 0.5
    p = FlowDistribution(transform, loc, scale)
    for _ in range(3):
        e = torch.randn(size, dtype=torch.float64)
        jacobian: Any = torch.autograd.functional.jacobian(lambda e: loc + scale * transform(e), e)
        log_e = dist.Normal(0.0, 1.0).log_prob(e).sum()
        wanted = log_e - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(p.log_prob(loc + scale * transform(e)), wanted, rtol=1e-9, atol=1e-9)


def depends(transform: Any, size: int) -> Tensor:
    """Whether each output of the transform heeds each input."""
    jacobian: Any = torch.autograd.functional.jacobian(transform, torch.randn(size, dtype=torch.float64))
    return jacobian != 0


@pytest.mark.parametrize("size", [2, 3, 8, 13])
def test_an_autoregressive_map_heeds_all_before_and_the_next_one_all_after(size: int) -> None:
    first, second = (depends(each(None), size) for each in network(size).transforms)
    assert torch.equal(first, torch.ones(size, size).tril().bool())
    assert torch.equal(second, torch.ones(size, size).triu().bool())


@pytest.mark.parametrize("size", [2, 3, 8, 13])
def test_couplings_part_any_two_variables_sooner_or_later(size: int) -> None:
    transforms = 2 * math.ceil(math.log2(size)) + 2
    maps = [depends(each(None), size) for each in network(size, "coupling", transforms).transforms]
    for each in maps:
        assert each.diagonal().all()
        heeding = (each.sum(1) > 1).sum()
        assert each.sum() == size + heeding * (size - heeding)
    assert torch.stack(maps).any(0).all()


@pytest.mark.parametrize("size", [2, 3, 8, 13])
def test_values_that_it_did_not_draw_are_inverted(size: int) -> None:
    for conditioner in CONDITIONERS:
        transform = network(size, conditioner, context=3)(torch.randn(6, 3, dtype=torch.float64))
        e = torch.randn(4, 6, size, dtype=torch.float64)
        torch.testing.assert_close(transform.inv(transform(e)), e, rtol=1e-9, atol=1e-9)


def test_the_centre_is_the_median_of_a_single_variable() -> None:
    """10,000 draws; the sign of each is a fair bit: 6 standard deviations, false alarm 2e-9."""
    p = FlowDistribution(network(1)(), torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    above = (p.sample((10_000,)) > p.centre).double().mean()
    assert abs(above - 0.5) < 6 * 0.5 / 100


def test_bad_parameters_are_refused_in_validated_runs() -> None:
    with pytest.raises(ValueError, match="to satisfy the constraint"):
        FlowDistribution(network(2)(), torch.zeros(2), -torch.ones(2), validate_args=True)


@pytest.mark.parametrize(("make", "argument"), [(Flow, "guide"), (FlowPrior, "prior")])
def test_without_zuko_the_error_says_how_to_get_it(
    make: Any, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ArgumentError, match=rf"^{argument}: expected the package zuko.*pip install 'probae\[flows\]'"):
        make(2)


@pytest.mark.parametrize("validates", [True, False])
def test_importing_zuko_leaves_validation_as_it_was(validates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zuko turns it off for all of torch's distributions."""
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", validates)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    import_zuko("guide")
    assert torch.distributions.Distribution._validate_args is validates
