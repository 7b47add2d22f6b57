"""Matrix products in bfloat16: what is rounded, what is not, and how much gradients deviate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.engine.precision import BFloat16Products, check_precision, products
from probae.errors import ArgumentError
from tests.engine.recordables import bits
from tests.engine.steps import CPU, train

UNIT = 2.0**-8
"""The rounding error of bfloat16, relative: half of 2^-7, the gap above one."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


A, B, C = normal(5, 40), normal(40, 7, seed=1), normal(7, seed=2)
IMAGE, KERNEL = normal(2, 3, 6, 6, seed=3), normal(4, 3, 3, 3, seed=4)

PRODUCTS: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "matrices": lambda of: of(A) @ of(B),
    "a vector": lambda of: of(A[:1]) @ of(B),
    "batches": lambda of: torch.bmm(of(A.expand(3, 5, 40)), of(B.expand(3, 40, 7))),
    "convolution": lambda of: nn.functional.conv2d(of(IMAGE), of(KERNEL)),
}
ADDED: dict[str, Callable[[Callable[[Tensor], Tensor]], Tensor]] = {
    "linear": lambda of: nn.functional.linear(of(A), of(B).T, C),
    "factors": lambda of: torch.addmm(C, of(A), of(B), beta=0.5, alpha=2.0),
    "no term": lambda of: torch.addmm(C * float("nan"), of(A), of(B), beta=0),
    "batches": lambda of: torch.baddbmm(C.expand(3, 5, 7), of(A.expand(3, 5, 40)), of(B.expand(3, 40, 7))),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_factors_and_result_are_rounded_and_nothing_else(name: str) -> None:
    """The product of rounded factors, summed in float32, and rounded once: within half a gap of bfloat16."""
    with BFloat16Products():
        found = PRODUCTS[name](lambda x: x)
    exact = PRODUCTS[name](lambda x: rounded(x).double())
    assert found.dtype == torch.float32
    assert torch.equal(found, rounded(found))
    assert_near(found, exact, UNIT * exact.abs() + 1e-5)
    assert not torch.equal(found, PRODUCTS[name](lambda x: x))


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_to_a_product_is_not_rounded(name: str) -> None:
    with BFloat16Products():
        found = ADDED[name](lambda x: x)
        without = ADDED[name](lambda x: 0 * x)
    assert torch.equal(without, ADDED[name](lambda x: 0 * x)), "the term alone is exact"
    exact = ADDED[name](rounded)
    assert_near(found, exact, 2 * UNIT * (exact - without).abs() + 1e-5)
    assert found.dtype == torch.float32


def assert_near(found: Tensor, expected: Tensor, bound: Tensor) -> None:
    assert bool(((found - expected).abs() <= bound).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_other_dtypes_are_left_alone(dtype: torch.dtype) -> None:
    a, b = (10 * A).to(dtype), (10 * B).to(dtype)
    with BFloat16Products():
        found = a @ b
    assert torch.equal(found, a @ b)
    assert found.dtype == dtype


def test_sums_and_densities_keep_float32() -> None:
    with BFloat16Products():
        assert torch.equal((A * A).sum(), (A * A).sum())
        found = torch.distributions.Normal(A, 1.001).log_prob(A + 1e-3)
    assert torch.equal(found, torch.distributions.Normal(A, 1.001).log_prob(A + 1e-3))


@pytest.mark.parametrize("net", ["linear", "convolution"])
def test_gradients_deviate_as_rounding_does(net: str) -> None:
    """By more than a sixteenth of a rounding error, by less than eight of them, relative to their norm."""
    layers = {
        "linear": lambda: nn.Sequential(nn.Linear(40, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)),
        "convolution": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 4, 3)),
    }
    torch.manual_seed(0)
    module, x = layers[net](), {"linear": normal(64, 40), "convolution": normal(8, 3, 8, 8)}[net]

    def gradient(context: Any) -> list[Tensor]:
        with context():
            return list(torch.autograd.grad(module(x).square().mean(), list(module.parameters())))

    for low, exact in zip(gradient(BFloat16Products), gradient(products("float32")), strict=True):
        assert low.dtype == torch.float32
        assert UNIT / 16 < float((low - exact).norm() / exact.norm()) < 8 * UNIT


def test_master_weights_keep_float32() -> None:
    """Steps far smaller than bfloat16's gaps are not lost: parameters, moments and validation are in float32."""
    seen: list[Tensor] = []

    class Watch(pb.Callback):
        def on_step_end(self, training: Any) -> None:
            seen.append(training.programs.parameters()[0].detach().clone())

    data = bits(0, 8, 9).args[0]
    settings = {"data": data, "batch_size": 8, "learning_rate": 1e-6, "callbacks": Watch, "epochs": 3, "valid": data}
    low = train(lambda: pb.VAE(9, latent_dim=2, hidden=8), "eager", precision="bf16", **settings)
    assert {value.dtype for value in low.left["tensors"].values() if value.is_floating_point()} == {torch.float32}
    moments = [value for state in low.run.state["optimizer"]["state"]["state"].values() for value in state.values()]
    assert {value.dtype for value in moments} == {torch.float32}
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(rounded(seen[0]), rounded(seen[1])) or float((seen[1] - seen[0]).abs().max()) < 2e-6
    exact = train(lambda: pb.VAE(9, latent_dim=2, hidden=8), "eager", **settings)
    assert low.left["history"]["train_loss"] != exact.left["history"]["train_loss"]
    assert low.left["history"]["train_loss"] == pytest.approx(exact.left["history"]["train_loss"], rel=4 * UNIT)
    assert low.left["history"]["valid_elbo"] == pytest.approx(exact.left["history"]["valid_elbo"], rel=1e-5)


def test_only_products_of_a_device_are_offered() -> None:
    for precision in (None, "float32", "float64", "bf16"):
        check_precision(precision, CPU)
    check_precision("tf32", torch.device("cuda"))
    with pytest.raises(ArgumentError, match=r"precision.*'tf32' on a CUDA device alone.*'bf16' runs anywhere"):
        check_precision("tf32", CPU)
    with pytest.raises(ArgumentError, match="precision"):
        check_precision("fp8", CPU)
    with pytest.raises(ArgumentError, match="precision"):
        train(lambda: pb.VAE(9, latent_dim=2, hidden=8), "eager", bits(0, 8, 9).args[0], precision="tf32")


def test_tf32_lasts_as_long_as_its_context() -> None:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    with products("tf32")():
        assert [backend.allow_tf32 for backend in backends] == [True, True]
    assert [backend.allow_tf32 for backend in backends] == before
