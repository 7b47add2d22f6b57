"""The variational autoencoder: where it starts, what it gives back, and what a user may bring along."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import probae as pb
from probae.distributions.guides import Delta, DiagonalNormal
from probae.distributions.likelihoods import Normal
from probae.distributions.priors import Laplace, StandardNormal
from probae.errors import ArgumentError, DataError


def bits(count: int = 50, size: int = 12) -> Tensor:
    rates = torch.linspace(0.05, 0.95, size)
    return (torch.rand(count, size, generator=torch.Generator().manual_seed(0)) < rates).float()


def test_the_output_bias_starts_at_the_mean() -> None:
    x = bits(1000)
    vae = pb.VAE(12, 3, 8).prepare(x)
    last = vae.decoder[-1]  # type: ignore[index]
    torch.testing.assert_close(last.bias.detach(), torch.logit(x.mean(0)))
    grey = torch.randn(50, 12)
    normal = pb.VAE(12, 3, (), "normal").prepare(grey)
    torch.testing.assert_close(normal.decoder[-1].bias.detach(), grey.mean(0))  # type: ignore[index]


def test_constant_pixels_start_at_finite_logits() -> None:
    x = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    vae = pb.VAE(3, 2, 4).prepare(x)
    torch.testing.assert_close(vae.decoder[-1].bias.sigmoid().detach(), torch.tensor([0.01, 0.99, 0.5]))  # type: ignore[index]


def test_preparing_again_keeps_what_is_trained() -> None:
    vae = pb.VAE(12, 3, 8)
    vae.prepare(bits())
    bias = vae.decoder[-1].bias.detach().clone()  # type: ignore[index]
    assert torch.equal(vae.prepare(1 - bits()).decoder[-1].bias, bias)  # type: ignore[index]


def test_encode_and_decode_are_distributions() -> None:
    vae, x = pb.VAE(12, 3, 8), bits(5)
    q = vae.encode(x)
    assert (q.batch_shape, q.event_shape) == ((5,), (3,))
    assert torch.equal(vae.embed(x), q.mean)
    assert (q.stddev > 0).all()
    for shape in ((5, 3), (2, 5, 3), (3,)):
        p = vae.decode(torch.randn(shape))
        assert (p.batch_shape, p.event_shape) == (shape[:-1], (12,))
        assert p.log_prob(torch.ones(12)).shape == shape[:-1]
    assert torch.equal(vae.reconstruct(x), vae.decode(vae.embed(x)).mean)


def test_particles_pass_through_the_pair() -> None:
    vae, x = pb.VAE(12, 3, 8), bits(5)
    torch.manual_seed(0)
    many = -pb.ELBO(num_particles=400)(vae.model, vae.guide, x)
    one_by_one = -pb.ELBO(num_particles=400, vectorize=False)(vae.model, vae.guide, x)
    assert many.item() == pytest.approx(one_by_one.item(), abs=1.0)  # of -42; the same seedless Monte Carlo estimate


def test_the_elbo_is_the_formula_of_the_paper() -> None:
    """Kingma and Welling 2014, appendix B: the KL in closed form, on fixed noise."""
    vae, x = pb.VAE(12, 3, 8), bits(5)
    torch.manual_seed(3)
    loss = vae.objective()(vae.model, vae.guide, x)
    torch.manual_seed(3)
    q = vae.encode(x)
    mean, variance = q.mean, q.variance
    z = mean + q.stddev * torch.randn(5, 3)
    kl = 0.5 * (mean**2 + variance - 1 - variance.log()).sum()
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(vae.decoder(z), x, reduction="sum")
    torch.testing.assert_close(loss, cross_entropy + kl)


def test_samples() -> None:
    vae = pb.VAE((3, 4), 3, 8)
    assert set(vae.sample(20).unique().tolist()) <= {0.0, 1.0}
    mean = vae.sample(20, mean=True)
    assert mean.shape == (20, 12)
    assert ((mean > 0) & (mean < 1)).all()
    assert vae.sample().shape == (1, 12)
    with pytest.raises(ArgumentError, match="num_examples"):
        vae.sample(0)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", {"name": "normal", "learned": True}])
def test_extreme_weights_and_inputs_give_no_nan(likelihood: Any, activation: str) -> None:
    vae = pb.VAE(12, 3, 8, likelihood, activation=activation)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1e3)
    x = bits(5) if likelihood == "bernoulli" else 1e4 * torch.randn(5, 12)
    loss = vae.objective()(vae.model, vae.guide, x)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


def test_data_that_is_reconstructed_exactly_leaves_a_learned_scale_above_zero() -> None:
    """Constant data, and a learning rate that would drive the scale through zero."""
    vae = pb.VAE(4, 2, 8, {"name": "normal", "scale": 0.01, "learned": True})
    vae.fit(torch.ones(8, 4), epochs=300, learning_rate=0.1, seed=0)
    assert vae.likelihood.scale > 0  # type: ignore[operator]
    assert all(p.isfinite().all() for p in vae.parameters())


class Image(nn.Module):
    """A decoder that gives images, and does not broadcast."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(3, 1, (3, 4))

    def forward(self, z: Tensor) -> Tensor:
        assert z.dim() == 2
        return self.grow(z[:, :, None, None])


def test_a_decoder_of_ones_own_may_give_images() -> None:
    x, image = bits(20), Image()
    vae = pb.VAE((3, 4), 3, 8, decoder=image)
    weight = image.grow.weight.detach().clone()
    vae.fit(x, epochs=2, seed=0, objective=pb.IWAE(4))
    assert vae.decoder is image
    assert not torch.equal(weight, image.grow.weight)
    assert vae.reconstruct(x).shape == (20, 12)
    assert vae.log_likelihood(x, num_samples=40).per_example.shape == (20,)  # type: ignore[union-attr]


class Pair(nn.Module):
    """Returns two tensors, as encoders in other libraries do."""

    def forward(self, x: Tensor) -> Any:
        return x[:, :3], x[:, :3]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"encoder": nn.Linear(12, 3)}, r"encoder: .*\(5, 6\) for inputs of shape \(5, 12\); got shape \(5, 3\)"),
        ({"decoder": nn.Linear(3, 11)}, r"decoder: .*\(5, 12\) .*; got shape \(5, 11\)"),
        ({"decoder": nn.Flatten(0)}, r"decoder: .*; got shape \(15,\)"),
        ({"encoder": Pair()}, "encoder: .*; got tuple"),
        ({"encoder": lambda x: x}, "encoder: expected a torch.nn.Module; got function"),
    ],
)
def test_modules_of_ones_own_are_checked(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pb.VAE(12, 3, 8, **own).reconstruct(bits(5))


def test_parts_as_objects() -> None:
    scale = Normal(12, 0.5)
    vae = pb.VAE(12, 3, 8, scale, prior=Laplace(3, rate=2.0), guide=DiagonalNormal(3))
    assert vae.likelihood is scale
    assert vae.config["likelihood"] == {"name": "normal", "scale": 0.5, "learned": False}
    assert vae.config["prior"] == {"name": "laplace", "rate": 2.0}
    vae.fit(torch.randn(10, 12), epochs=1, seed=0)
    assert vae.log_likelihood(torch.randn(3, 12), num_samples=30).value < 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guide": "delta"}, r"guide: expected a guide with a density; got delta. pb.Autoencoder"),
        ({"guide": Delta(3)}, "guide: expected a guide with a density"),
        ({"prior": "flat"}, "prior: expected a proper prior; got flat"),
        ({"prior": "vamp", "guide": "flow"}, "prior: expected one that goes with guide='flow'; got 'vamp'"),
        ({"prior": "vamp", "latent_dim": (3, 2)}, "prior: expected one that goes with several layers"),
        ({"prior": "vamp", "num_labels": 2}, "prior: expected one that goes with labels"),
        ({"prior": "vamp", "num_labels": 2, "labels": "latent"}, "prior: expected one that goes with labels"),
        ({"likelihood": {"name": "categorical", "categories": 5}}, "12"),
        ({"network": "conv"}, "data_shape"),
    ],
)
def test_combinations_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pb.VAE(**{"data_shape": 12, "latent_dim": 3, "hidden": 8, **settings})


def test_a_normal_likelihood_learns_its_scale() -> None:
    assert pb.VAE(12, 3, 8, "normal").config["likelihood"]["learned"] is True
    assert pb.VAE(12, 3, 8, {"name": "normal"}).config["likelihood"]["learned"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data_shape": 0}, "data_shape: expected a positive integer"),
        ({"data_shape": ()}, "data_shape"),
        ({"data_shape": 2.5}, "data_shape"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": True}, "latent_dim"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"hidden": 1.5}, "hidden: expected a positive integer or a sequence of them; got 1.5"),
        ({"hidden": "8"}, "hidden"),
        ({"activation": "rellu"}, "activation: .*Did you mean 'relu'"),
        ({"likelihood": "bernouli"}, "likelihood: .*Did you mean 'bernoulli'"),
        ({"likelihood": {"name": "normal", "scala": 1.0}}, r"likelihood: .*\(scale, learned, .*\); got scala"),
        ({"likelihood": {"name": "normal", "scale": 0.0}}, "scale: expected a finite number above 1e-06"),
        ({"likelihood": None}, "likelihood: expected a name or a Likelihood"),
        ({"prior": StandardNormal(4)}, "prior: expected one over 3 latent variables; got one over 4"),
        ({"guide": DiagonalNormal(4)}, "guide: expected one over 3"),
        ({"prior": "norml"}, "prior: .*Did you mean 'normal'"),
        ({"guide": dist.Normal(0, 1)}, "guide: expected a name or a GuideFamily"),
    ],
)
def test_the_constructor_checks_its_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pb.VAE(**{"data_shape": 12, "latent_dim": 3, "hidden": 8, **options})


def test_verbs_check_their_arguments() -> None:
    vae = pb.VAE(12, 3, 8)
    for z in (torch.zeros(2, 4), torch.tensor(0.0), [0.0, 0.0, 0.0]):
        with pytest.raises(ArgumentError, match=r"^z: expected a tensor"):
            vae.decode(z)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^x: expected a torch.Tensor; got list"):
        vae.embed([[0.0] * 12])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"method: .*'importance'"):
        vae.log_likelihood(bits(2), method="importanse")
    with pytest.raises(ArgumentError, match="x: expected examples to encode"):
        vae.guide()
    for name in ("mask", "lengths"):
        for program in (vae.model, vae.guide):
            with pytest.raises(ArgumentError, match=f"^{name}: expected"):
                program(bits(2), **{name: torch.ones(2)})  # type: ignore[operator]


def test_settings_are_checked_before_the_model_changes() -> None:
    vae = pb.VAE(12, 3, 8)
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    for settings in ({"seed": -1}, {"learning_rate": -1.0}, {"epochs": 0}, {"monitor": "elbo"}, {"precision": "half"}):
        with pytest.raises(ArgumentError, match=f"^{next(iter(settings))}"):
            vae.fit(bits(5), valid=bits(5), **settings)
        torch.testing.assert_close(vae.state_dict(), before, rtol=0, atol=0)


def test_an_empty_sequential_is_a_module_of_ones_own() -> None:
    """It is false as a condition, having no layers."""
    vae = pb.VAE(4, 2, likelihood="normal", encoder=nn.Sequential(), decoder=nn.Linear(2, 4))
    x = torch.randn(5, 4)
    assert torch.equal(vae.embed(x), x[:, :2])
    assert vae.own_modules == ("encoder", "decoder")
