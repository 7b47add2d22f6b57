"""Small Pyro pairs in float64, one for each thing that an objective must get right; all parameters are in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from probae.distributions.rbm import RestrictedBoltzmann
from probae.inference.negative_phases import CD, Exact


class Pair(NamedTuple):
    """A model, a guide, what they are called with, and how many dims belong to plates."""

    model: Callable[..., Any]
    guide: Callable[..., Any]
    args: tuple[Any, ...]
    nesting: int


def tensor(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Fixed normal numbers."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def param(name: str, *shape: int, constraint: Any = None) -> Tensor:
    """A parameter whose start is fixed by its name; positive ones start at about 1."""
    start = tensor(*shape, seed=sum(map(ord, name)), scale=0.5)
    if constraint is None:
        return pyro.param(name, start)
    return pyro.param(name, torch.distributions.transform_to(constraint)(start), constraint=constraint)


def positive(name: str, *shape: int) -> Tensor:
    return param(name, *shape, constraint=dist.constraints.positive)


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


def normal(*shape: int) -> dist.TorchDistribution:
    """A standard Normal of this event shape."""
    return dist.Normal(zeros(*shape), 1.0).to_event(len(shape)) if shape else dist.Normal(zeros(), 1.0)


def pick(table: Tensor, index: Tensor) -> Tensor:
    """`table[index]`, but torch would wait for an index that is a single number."""
    return table[index.unsqueeze(-1)].squeeze(-1)


def nothing(*_: Any) -> None:
    """The guide of a model without latent sites to sample."""


# Reparameterized pairs.


def linear_vae() -> Pair:
    """A linear Gaussian decoder and encoder, two latent dimensions."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(2))
            mean = z @ param("W", 2, 3) + param("b", 3)
            pyro.sample("x", dist.Normal(mean, positive("sigma")).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ param("V", 3, 2), positive("s", 2)).to_event(1))

    return Pair(model, guide, (tensor(5, 3),), 1)


def hierarchy() -> Pair:
    """Two dependent latent sites, in the same order in model and guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", normal(2))
            z1 = pyro.sample("z1", dist.Normal(z2 @ param("A", 2, 2), positive("s1", 2)).to_event(1))
            pyro.sample("x", dist.Normal(z1 @ param("W", 2, 3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x @ param("V2", 3, 2), positive("q2", 2)).to_event(1))
            loc = x @ param("V1", 3, 2) + z2.tanh() @ param("U", 2, 2)
            pyro.sample("z1", dist.Normal(loc, positive("q1", 2)).to_event(1))

    return Pair(model, guide, (tensor(4, 3),), 1)


def subsampled() -> Pair:
    """A global latent, local ones in a plate that draws its own subsample."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(zeros(), positive("prior")))
        with pyro.plate("data", len(x), subsample_size=4) as index:
            z = pyro.sample("z", dist.Normal(mean, 1.0))
            pyro.sample("x", dist.Normal(z, positive("sigma")), obs=x[index])

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(param("loc"), positive("scale")))
        with pyro.plate("data", len(x), subsample_size=4) as index:
            pyro.sample("z", dist.Normal(param("locs", len(x))[index], positive("scales")))

    return Pair(model, guide, (tensor(10),), 1)


def nested() -> Pair:
    """Latents outside of plates, in one plate and in two, and a plate beside them."""

    def model(x: Tensor) -> None:
        top = pyro.sample("top", dist.Normal(zeros(), 1.0))
        columns, rows = pyro.plate("columns", x.shape[1], dim=-1), pyro.plate("rows", x.shape[0], dim=-2)
        with rows:
            row = pyro.sample("row", dist.Normal(top, positive("r")))
        with columns:
            column = pyro.sample("column", dist.Normal(zeros(), 1.0))
        with rows, columns:
            cell = pyro.sample("cell", dist.Normal(row * column, 1.0))
            pyro.sample("x", dist.Normal(cell + param("offset"), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("top", dist.Normal(param("top_loc"), positive("top_scale")))
        columns, rows = pyro.plate("columns", x.shape[1], dim=-1), pyro.plate("rows", x.shape[0], dim=-2)
        with rows:
            row = pyro.sample("row", dist.Normal(param("row_loc", x.shape[0], 1), 0.5))
        with columns:
            pyro.sample("column", dist.Normal(param("column_loc", x.shape[1]), positive("column_scale")))
        with rows, columns:
            pyro.sample("cell", dist.Normal(x + row * param("slope"), 0.5))

    return Pair(model, guide, (tensor(3, 4),), 2)


def scaled_and_masked() -> Pair:
    """Scales and masks around latent and observed sites, alike in model and guide."""
    present = torch.tensor([True, False, True, True, False])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=0.3):
            with poutine.mask(mask=present):
                z = pyro.sample("z", normal(2))
            with poutine.scale(scale=torch.tensor(2.0, dtype=torch.float64)):
                y = pyro.sample("y", dist.Normal(z.sum(-1), 1.0))
            mean = z @ param("W", 2, 3) + y.unsqueeze(-1)
            pyro.sample("x", dist.Normal(mean, 1.0).mask(x > 0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=0.3):
            with poutine.mask(mask=present):
                pyro.sample("z", dist.Normal(x @ param("V", 3, 2), positive("s", 2)).to_event(1))
            with poutine.scale(scale=torch.tensor(2.0, dtype=torch.float64)):
                pyro.sample("y", dist.Normal(param("y_loc", len(x)), positive("y_scale")))

    return Pair(model, guide, (tensor(5, 3),), 1)


def constrained() -> Pair:
    """Positive latents with Gamma and LogNormal guides, a full covariance, a transformed distribution."""

    def model(x: Tensor) -> None:
        precision = pyro.sample("precision", dist.Gamma(positive("a"), positive("b")))
        width = pyro.sample("width", dist.LogNormal(zeros(), 1.0))
        joint = pyro.sample("joint", dist.MultivariateNormal(zeros(2), torch.eye(2, dtype=torch.float64)))
        warped = pyro.sample("warped", dist.Normal(zeros(), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(joint.sum(-1) * warped, width / precision), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("precision", dist.Gamma(positive("qa"), positive("qb")))
        pyro.sample("width", dist.LogNormal(param("width_loc"), positive("width_scale")))
        factor = param("factor", 2, 2, constraint=dist.constraints.lower_cholesky)
        pyro.sample("joint", dist.MultivariateNormal(param("joint_loc", 2), scale_tril=factor))
        scale, shift = positive("warp_scale"), param("warp_shift")
        affine = dist.transforms.AffineTransform(shift, scale)
        pyro.sample("warped", dist.TransformedDistribution(dist.Normal(zeros(), 1.0), [affine]))

    return Pair(model, guide, (tensor(5),), 1)


def auxiliary() -> Pair:
    """Auxiliary guide sites: noise that is masked out, and a reparameterized one that is not."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(2))
            pyro.sample("x", dist.Normal(z @ param("W", 2, 3), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        hidden = {"is_auxiliary": True}
        with pyro.plate("data", len(x)):
            with poutine.mask(mask=False):
                noisy = pyro.sample("noisy", dist.Normal(x, 0.1).to_event(1), infer=hidden)
            u = pyro.sample("u", dist.Normal(param("u_loc"), positive("u_scale")), infer=hidden)
            loc = noisy @ param("V", 3, 2) + u.unsqueeze(-1)
            pyro.sample("z", dist.Normal(loc, positive("s", 2)).to_event(1))

    return Pair(model, guide, (tensor(5, 3),), 1)


def factors() -> Pair:
    """Factor and deterministic statements, in the model and in the guide."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            pyro.deterministic("double", 2 * z, event_dim=0)
            pyro.factor("reward", -((z - param("goal")) ** 2))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x * param("slope"), positive("s")))
            pyro.factor("jacobian", (z * param("k")).sin(), has_rsample=True)

    return Pair(model, guide, (tensor(5),), 1)


def delta() -> Pair:
    """A point estimate of a global latent and of local ones: MAP."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Laplace(zeros(), 1.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(mean.unsqueeze(-1).expand(*mean.shape, 2), positive("tau")).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Delta(param("loc")))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(param("code", len(x), 2), event_dim=1))

    return Pair(model, guide, (tensor(4),), 1)


# Pairs whose gradients need the score function.


def discrete() -> Pair:
    """Discrete latents at three depths of plates, one that depends on another, and continuous ones after them."""

    def model(x: Tensor) -> None:
        k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
        with pyro.plate("data", len(x)):
            h = pyro.sample("h", dist.Bernoulli(logits=pick(param("bias", 3), k)))
            z = pyro.sample("z", dist.Normal(h * param("shift"), 1.0))
            with pyro.plate("features", x.shape[-1], dim=-2):
                g = pyro.sample("g", dist.Bernoulli(logits=param("gate", x.shape[-1], 1)))
                pyro.sample("x", dist.Normal(z * g + h, 1.0), obs=x.T)

    def guide(x: Tensor) -> None:
        k = pyro.sample("k", dist.Categorical(logits=param("q_k", 3)))
        with pyro.plate("data", len(x)):
            h = pyro.sample("h", dist.Bernoulli(logits=x.sum(-1) * pick(param("q_h", 3), k)))
            pyro.sample("z", dist.Normal(h * param("q_shift") + param("q_loc", len(x)), positive("q_scale")))
            with pyro.plate("features", x.shape[-1], dim=-2):
                pyro.sample("g", dist.Bernoulli(logits=x.T * param("q_g")))

    return Pair(model, guide, (tensor(4, 2),), 2)


def discrete_subsampled() -> Pair:
    """Local discrete latents in a subsampling plate under a scale, and reparameterized noise before them."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as index, poutine.scale(scale=0.5):
            z = pyro.sample("z", dist.Normal(zeros(), 1.0))
            h = pyro.sample("h", dist.Bernoulli(logits=z * param("w")))
            pyro.sample("x", dist.Normal(h * param("shift"), 1.0), obs=x[index])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=3) as index, poutine.scale(scale=0.5):
            z = pyro.sample("z", dist.Normal(x[index] * param("slope"), positive("s")))
            pyro.sample("h", dist.Bernoulli(logits=z * param("q_w") + param("q_b", len(x))[index]))

    return Pair(model, guide, (tensor(8),), 1)


# Pairs with enumerated sites.

PARALLEL = {"enumerate": "parallel"}
SEQUENTIAL = {"enumerate": "sequential"}


def enumerated_guide() -> Pair:
    """A label in the guide summed out in parallel, a Normal after it that depends on it."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
            z = pyro.sample("z", dist.Normal(pick(param("centre", 3), k), 1.0))
            pyro.sample("x", dist.Normal(z, pick(positive("sigma", 3), k)), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.unsqueeze(-1) * param("q_k", 3)), infer=PARALLEL)
            pyro.sample("z", dist.Normal(x * pick(param("q_z", 3), k), positive("q_s")))

    return Pair(model, guide, (tensor(4),), 1)


def sequential_guide() -> Pair:
    """Two global labels in the guide, one summed out by running the guide for each value, one in parallel."""

    def model(x: Tensor) -> None:
        k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
        j = pyro.sample("j", dist.Bernoulli(logits=pick(param("bias", 3), k)))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pick(param("centre", 3), k) + j, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        k = pyro.sample("k", dist.Categorical(logits=param("q_k", 3)), infer=SEQUENTIAL)
        pyro.sample("j", dist.Bernoulli(logits=pick(param("q_j", 3), k)), infer=PARALLEL)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pick(param("q_z", 3), k) + param("q_x", len(x)), positive("q_s")))

    return Pair(model, guide, (tensor(4),), 1)


def mixture() -> Pair:
    """A mixture with a global latent: the assignment summed out in the model, the plate subsampled, a value missing."""

    def model(x: Tensor) -> None:
        centre = pyro.sample("centre", dist.Normal(zeros(3), 2.0).to_event(1))
        with pyro.plate("data", len(x), subsample_size=4) as index:
            k = pyro.sample("k", dist.Categorical(logits=param("weights", 3)), infer=PARALLEL)
            chosen = (centre * (k.unsqueeze(-1) == torch.arange(3))).sum(-1)  # also where each particle has its own
            with poutine.mask(mask=x[index] < 1.0):
                pyro.sample("x", dist.Normal(chosen, positive("sigma")), obs=x[index])

    def guide(x: Tensor) -> None:
        pyro.sample("centre", dist.Normal(param("loc", 3), positive("scale", 3)).to_event(1))

    return Pair(model, guide, (tensor(9),), 1)


def hidden_markov() -> Pair:
    """A chain of labels summed out in the model, with a global latent in the guide."""

    def model(x: Tensor) -> None:
        gap = pyro.sample("gap", dist.Normal(zeros(), 1.0))
        transition, k = param("transition", 2, 2), 0
        with pyro.plate("sequences", x.shape[1]):
            for t in pyro.markov(range(x.shape[0])):
                k = pyro.sample(f"k{t}", dist.Categorical(logits=transition[k]), infer=PARALLEL)
                pyro.sample(f"x{t}", dist.Normal(gap * k, 1.0), obs=x[t])

    def guide(x: Tensor) -> None:
        pyro.sample("gap", dist.Normal(param("loc"), positive("scale")))

    return Pair(model, guide, (tensor(3, 4),), 1)


def semi_supervised(labels: Tensor | None = None) -> Pair:
    """A label, summed out where it is unknown, and a continuous latent (the M2 model of Kingma et al. 2014)."""

    def model(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal(2))
            y = pyro.sample("y", dist.OneHotCategorical(logits=param("prior", 3)), obs=y)
            pyro.sample("x", dist.Normal(z @ param("W", 2, 2) + y @ param("Y", 3, 2), 1.0).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=x @ param("q_y", 2, 3)), infer=PARALLEL)
            loc = x @ param("V", 2, 2) + y @ param("U", 3, 2)
            pyro.sample("z", dist.Normal(loc, positive("s", 2)).to_event(1))

    return Pair(model, guide, (tensor(4, 2), *(() if labels is None else (labels,))), 1)


def half_enumerated() -> Pair:
    """A label that is summed out beside a bit that is sampled, each dependent on a global sampled bit."""

    def model(x: Tensor) -> None:
        g = pyro.sample("g", dist.Bernoulli(logits=param("g_bias")))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=param("prior", 3)))
            h = pyro.sample("h", dist.Bernoulli(logits=pick(param("bias", 3), k) + g))
            pyro.sample("x", dist.Normal(h * param("shift") + pick(param("centre", 3), k), 1.0), obs=x)

    def guide(x: Tensor) -> None:
        g = pyro.sample("g", dist.Bernoulli(logits=param("q_g")))
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.unsqueeze(-1) * param("q_k", 3)), infer=PARALLEL)
            pyro.sample("h", dist.Bernoulli(logits=pick(param("q_h", 3), k) * x + g))

    return Pair(model, guide, (tensor(4),), 1)


# Energy models.


def boltzmann(exact: bool = True) -> Pair:
    """A restricted Boltzmann machine that is observed, with nothing to guide."""
    phase = Exact() if exact else CD(steps=2)

    def model(v: Tensor) -> None:
        theta = param("weight", 4, 3), param("a", 4), param("b", 3)
        with pyro.plate("data", len(v)):
            pyro.sample("v", RestrictedBoltzmann(*theta, negative_phase=phase, training=True), obs=v)

    return Pair(model, nothing, ((tensor(5, 4) > 0).double(),), 1)


REPARAMETERIZED = {
    f.__name__: f
    for f in (
        linear_vae, hierarchy, subsampled, nested, scaled_and_masked, constrained, auxiliary, factors, delta, boltzmann,
    )
}  # fmt: skip
SCORED = {f.__name__: f for f in (discrete, discrete_subsampled)}
ENUMERATED = {
    f.__name__: f
    for f in (
        enumerated_guide, sequential_guide, mixture, hidden_markov, semi_supervised, half_enumerated,
    )
}  # fmt: skip


def gradients(loss: Tensor) -> dict[str, Tensor]:
    """d loss / d each unconstrained parameter of the store, zero where there is none."""
    parameters = dict(pyro.get_param_store().named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))
