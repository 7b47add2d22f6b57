"""The denoising autoencoder: its objective, its score and its chains, against what is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

import probae as pb
from probae.distributions.corruptions import Corruption
from probae.errors import ArgumentError, DataError, NoLikelihoodError, NotPreparedError

GREY = pb.data.load("digits", binarize="none").train
BITS = pb.data.load("digits", binarize="stochastic").train
GAUSSIAN = {"name": "gaussian", "scale": 0.5}


@final
class Multiplied(Corruption):
    """A user's own: each dimension is multiplied by a log-normal number."""

    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.tensor(0.3))

    def distribution(self, x: Tensor) -> dist.TorchDistribution:
        return dist.LogNormal((x.abs() + 0.1).log(), self.spread).to_event(1)

    @property
    def config(self) -> dict[str, Any]:
        return {"name": "multiplied"}


class Kept:
    """A penalty of zero that keeps what the guide drew."""

    def __call__(self, batch: Any, guide_trace: Any) -> Tensor:
        self.seen = guide_trace.nodes["x_corrupted"]["value"]
        return torch.zeros(())


def loss_of(model: pb.DenoisingAutoencoder, x: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    """The model's own objective at x, and the x~ at which it was taken."""
    kept = Kept()
    objective = pb.ELBO(penalties=[*model.objective().penalties, kept], **settings)
    return objective(model.model, model.guide, x), kept.seen


@pytest.mark.parametrize("corruption", ["masking", "salt_and_pepper", "gaussian", Multiplied()], ids=str)
@pytest.mark.parametrize("num_particles", [1, 3])
def test_the_objective_is_the_reconstruction_of_the_clean_from_the_spoiled(corruption: Any, num_particles: int) -> None:
    x = GREY.tensor[:20].double()
    model = pb.DenoisingAutoencoder(64, 10, 16, corruption).double()
    loss, seen = loss_of(model, x, num_particles=num_particles)
    assert seen.shape == (x.shape if num_particles == 1 else (3, *x.shape))
    assert (seen != x).any(-1).all()
    expected = -model.likelihood.distribution(model.decoder(model.encoder(seen))).log_prob(x).sum() / num_particles
    torch.testing.assert_close(loss, expected)


def test_pyros_own_elbo_is_the_same() -> None:
    x, model = BITS.tensor[:20], pb.DenoisingAutoencoder(64, 10, 16, likelihood="bernoulli")
    torch.manual_seed(1)
    ours, _ = loss_of(model, x)
    torch.manual_seed(1)
    assert Trace_ELBO().loss(model.model, model.guide, x) == pytest.approx(ours.item(), rel=1e-6)


@pytest.mark.parametrize(("changed", "kept"), [(1.0, 0.0), (2.0, 0.5), (2.0, 2.0)])
@pytest.mark.parametrize(("likelihood", "x"), [("normal", GREY.tensor[:20]), ("bernoulli", BITS.tensor[:20])])
def test_emphasis_is_a_weighted_sum(likelihood: str, x: Tensor, changed: float, kept: float) -> None:
    x = x.double()
    model = pb.DenoisingAutoencoder(64, 10, 16, likelihood=likelihood, emphasis=(changed, kept)).double()
    loss, seen = loss_of(model, x)
    outputs = model.decoder(model.encoder(seen))
    each = -nn.functional.binary_cross_entropy_with_logits(outputs, x, reduction="none")
    if likelihood == "normal":
        each = -0.5 * (x - outputs) ** 2 - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(loss, -(changed * each[seen != x].sum() + kept * each[seen == x].sum()))
    assert (seen == x).any()
    assert (seen != x).any()


def test_the_monitor_reconstructs_from_spoiled_input() -> None:
    x, nothing = GREY.tensor[:20], {"name": "masking", "rate": 1.0}
    model = pb.DenoisingAutoencoder(64, 10, 16, nothing)
    run = model.fit(x, valid=x, epochs=1, seed=0)
    expected = model.decode(model.embed(torch.zeros(20, 64))).log_prob(x).mean()
    assert run.best == pytest.approx(expected.item(), rel=1e-5)


def test_the_monitors_noise_is_fixed() -> None:
    model = pb.DenoisingAutoencoder(64, 10, 16)
    run = model.fit(GREY[:20], valid=GREY[:20], epochs=3, learning_rate=0.0, seed=0)
    assert len(set(run.history["valid_log_joint"])) == 1


def test_it_removes_noise() -> None:
    torch.manual_seed(0)
    model = pb.DenoisingAutoencoder(64, 64, 128, {"name": "gaussian", "scale": 0.3})
    model.fit(GREY, epochs=15, seed=0)
    noisy = GREY.tensor + 0.3 * torch.randn_like(GREY.tensor)
    assert (model.denoise(noisy) - GREY.tensor).square().mean() < 0.5 * 0.3**2


def test_denoise_takes_what_no_data_would_be() -> None:
    model = pb.DenoisingAutoencoder((8, 8), 10, 16, "gaussian", "bernoulli").double()
    x = 3 * torch.randn(5, 64)
    expected = model.decoder(model.encoder(x.double())).sigmoid()
    for given in (x, x.reshape(5, 8, 8), x.numpy(), pb.data.Dataset(x)):
        torch.testing.assert_close(model.denoise(given), expected)
    with pytest.raises(DataError, match=r"^x: expected bits"):
        model.reconstruct(x)


# A linear denoiser, of which all is known: the data are Normal(MEAN, COVARIANCE), the noise has the scale 0.5.

MEAN = torch.tensor([1.0, -2.0]).double()
COVARIANCE = torch.tensor([[2.0, 0.6], [0.6, 0.5]]).double()


def best_linear(covariance: Tensor, likelihood: Any = "normal") -> pb.DenoisingAutoencoder:
    """r(x~) = E[x given x~] = mean + C (C + s^2)^-1 (x~ - mean)."""
    encoder = nn.Linear(2, 2).double()
    gain = covariance @ torch.linalg.inv(covariance + 0.25 * torch.eye(2).double())
    with torch.no_grad():
        encoder.weight.copy_(gain)
        encoder.bias.copy_(MEAN - gain @ MEAN)
    parts: Any = {"encoder": encoder, "decoder": nn.Identity()}
    return pb.DenoisingAutoencoder(2, 2, corruption=GAUSSIAN, likelihood=likelihood, **parts).double()


def test_the_score_is_that_of_the_blurred_density() -> None:
    """Tweedie's formula, with no error but rounding."""
    blurred = torch.distributions.MultivariateNormal(MEAN, COVARIANCE + 0.25 * torch.eye(2))
    x = (3 * torch.randn(7, 2).double()).requires_grad_()
    (score,) = torch.autograd.grad(blurred.log_prob(x).sum(), x)
    torch.testing.assert_close(best_linear(COVARIANCE).score(x.detach()), score)


def test_the_gibbs_chain_keeps_the_datas_distribution() -> None:
    """Moments after 3 steps, and of neighbours, each within 6 standard errors: P(a false alarm) is below 2e-8."""
    n, v, s = 100_000, 2.0, 0.5
    posterior = {"name": "normal", "scale": s * math.sqrt(v / (v + s**2))}
    model = best_linear(v * torch.eye(2).double(), posterior)
    start = MEAN + math.sqrt(v) * torch.randn(n, 2).double()
    now = model.sample(start=start, steps=2)
    after = model.sample(start=now, steps=1)
    a, b = (now - MEAN) / math.sqrt(v), (after - MEAN) / math.sqrt(v)
    kept = v / (v + s**2)  # the correlation of neighbours
    for found, expected, variance in [(b, 0, 1), (b**2, 1, 2), (b.prod(1), 0, 1), (a * b, kept, 1 + kept**2)]:
        error = (variance / n) ** 0.5
        assert ((found.mean(0) - expected).abs() < 6 * error).all()


def test_a_langevin_step_follows_the_score() -> None:
    """Normal(x + s^2 / 2 score(x), s^2); 6 standard errors of mean and variance: P(a false alarm) is below 1e-8."""
    n, s = 100_000, 0.5
    model, x = best_linear(COVARIANCE), torch.tensor([[0.3, 1.0]]).double()
    moved = model.sample(start=x.expand(n, 2), steps=1, method="langevin")
    error = moved - (x + s**2 / 2 * model.score(x))
    assert (error.mean(0).abs() < 6 * s / n**0.5).all()
    assert ((error.square().mean(0) / s**2 - 1).abs() < 6 * (2 / n) ** 0.5).all()


@pytest.mark.parametrize("method", ["gibbs", "langevin"])
def test_the_mean_is_that_of_the_last_step(method: str) -> None:
    """A mean after two steps is that after one, from where one step went; both move as the noise of one seed does."""
    model, options = best_linear(COVARIANCE), {"method": method, "mean": True}
    torch.manual_seed(1)
    found = model.sample(3, start=MEAN.expand(3, 2), steps=2, **options)
    torch.manual_seed(1)
    halfway = model.sample(start=MEAN.expand(3, 2), steps=1, method=method)
    torch.testing.assert_close(found, model.sample(start=halfway, steps=1, **options))
    assert (method == "langevin") == torch.allclose(found, model.denoise(halfway))


def test_chains_start_around_the_datas_mean() -> None:
    """64 rates of 20,000 bits, 6 standard errors: P(a false alarm) is below 64 * 2e-9."""
    model = pb.DenoisingAutoencoder(64, 10, 16, likelihood="bernoulli").prepare(BITS)
    torch.testing.assert_close(model.mean, BITS.tensor.mean(0))
    x = model.sample(5, steps=2)
    assert x.shape == (5, 64)
    model.check("x", x)
    assert model.sample().shape == (1, 64)
    error = model._start(20_000, None).mean(0) - BITS.tensor.mean(0)
    assert error.abs().max() < 0.02 + 6 * 0.5 / 20_000**0.5  # rates are kept off 0 and 1, by 0.01
    assert model.sample(start=BITS[:7].tensor, steps=1).shape == (7, 64)


@pytest.mark.parametrize(("gain", "method"), [(3.0, "gibbs"), (5.0, "langevin")])
@pytest.mark.parametrize("steps", [15, 1000])
def test_a_chain_that_runs_away_is_refused_with_what_helps(gain: float, method: str, steps: int) -> None:
    """r(x~) = 3 x~ triples what it is given; far is a hundred times the training data, not far from where it is."""
    encoder = nn.Linear(2, 2)
    with torch.no_grad():
        encoder.weight.copy_(gain * torch.eye(2))
    model = pb.DenoisingAutoencoder(2, 2, corruption=GAUSSIAN, encoder=encoder, decoder=nn.Identity())
    model.prepare(torch.randn(100, 2))
    for mean in (False, True):
        with pytest.raises(ArgumentError, match=r"^likelihood: expected chains that stay .*walkback=, .*'sigmoid'"):
            model.sample(5, steps=steps, method=method, mean=mean)
    assert model.sample(5, steps=1, method=method).abs().max() < 100
    model.prepare(1e9 * torch.randn(100, 2))
    assert model.sample(start=torch.randn(5, 2), steps=15, method=method).abs().max() > 1e3


def test_a_chain_of_the_defaults_is_near_the_data_or_refused() -> None:
    for likelihood in ("normal", {"name": "normal", "nonlinearity": "sigmoid"}):
        torch.manual_seed(0)
        model = pb.DenoisingAutoencoder(64, likelihood=likelihood)
        model.fit(GREY, epochs=20, seed=0, progress=False)
        try:
            assert model.sample(50, mean=True).abs().max() < 100
        except ArgumentError:
            assert likelihood == "normal"


# A corruption of one's own.


def test_a_function_is_a_corruption(tmp_path: Path) -> None:
    def blurred(x: Tensor) -> Any:
        return dist.Laplace(x, 0.1).to_event(1)

    model = pb.DenoisingAutoencoder(64, 10, 16, blurred)
    run = model.fit(GREY[:50], valid=GREY[:50], epochs=2, seed=0, compile="trace", progress=False)
    assert run.compile == "trace"
    _, seen = loss_of(model, GREY.tensor[:50])
    assert 0.05 < (seen - GREY.tensor[:50]).abs().mean() < 0.2
    with pytest.raises(ArgumentError, match=r"corruption: expected one of .*; got 'a function of your own, blurred'"):
        model.save(tmp_path)
    with pytest.raises(
        ArgumentError, match=r"corruption: expected 'gaussian' for a score; got 'a function of your own"
    ):
        model.score(GREY[:5])


BAD: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "a tensor": ("got Tensor", lambda x: x + 1),
    "nothing": ("got NoneType", lambda x: None),
    "NaN": ("got parameters that it cannot have", lambda x: dist.Normal(x * torch.nan, 1.0).to_event(1)),
    "a negative scale": ("got parameters that it cannot have", lambda x: dist.Normal(x, -1.0).to_event(1)),
    "torch's own": ("got MultivariateNormal", lambda x: torch.distributions.MultivariateNormal(x, torch.eye(64))),
    "no event": (r"got event shape \(\)", lambda x: dist.Normal(x, 1.0)),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_corruption_is_named(case: str) -> None:
    message, function = BAD[case]
    wanted = r"^corruption: expected a Pyro distribution of event shape \(64,\); "
    with pytest.raises(ArgumentError, match=wanted + message):
        pb.DenoisingAutoencoder(64, 10, 16, function).fit(GREY[:5], epochs=1)


def test_a_corruption_of_ones_own_trains_and_moves(tmp_path: Path) -> None:
    model = pb.DenoisingAutoencoder(64, 10, 16, Multiplied())
    assert model.fit(GREY[:50], valid=GREY[:50], epochs=2, seed=0, compile="trace").compile == "trace"
    assert model.sample(3, steps=2).shape == (3, 64)
    assert model.double().corruption.spread.dtype == torch.float64
    with pytest.raises(ArgumentError, match=r"corruption: expected one of .*; got 'multiplied'"):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())


# What it refuses.

REFUSED: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "rate": (ArgumentError, "rate: ", lambda: make(corruption={"name": "masking", "rate": 2.0})),
    "a class": (ArgumentError, "corruption: expected a name or a Corruption", lambda: make(corruption=Corruption)),
    "corruption": (ArgumentError, "corruption: expected one of", lambda: make(corruption="blur")),
    "emphasis alone": (ArgumentError, "emphasis: expected two weights", lambda: make(emphasis=2.0)),
    "negative emphasis": (ArgumentError, "emphasis: expected a finite number", lambda: make(emphasis=(1.0, -1.0))),
    "no emphasis at all": (ArgumentError, "emphasis: expected a weight above 0", lambda: make(emphasis=(0.0, 0.0))),
    "emphasis, dense noise": (
        ArgumentError, r"emphasis: expected \(1, 1\) beside noise", lambda: make(corruption="gaussian", emphasis=(1, 0))
    ),
    "emphasis, categories": (
        ArgumentError, r"emphasis: expected \(1, 1\) where dimensions",
        lambda: make(likelihood={"name": "categorical", "categories": 3}, emphasis=(1, 0)),
    ),
    "mask": (ArgumentError, "mask: expected a bool", lambda: make().guide(torch.rand(2, 6), mask=torch.ones(2, 6))),
    "lengths": (ArgumentError, "lengths: expected", lambda: make().model(torch.rand(2, 6), lengths=torch.ones(2))),
    "score": (ArgumentError, "corruption: expected 'gaussian' for a score; got 'masking'",
              lambda: make().score(torch.rand(2, 6))),
    "langevin": (ArgumentError, "corruption: expected 'gaussian'", lambda: make().sample(start=X, method="langevin")),
    "method": (ArgumentError, "method: expected one of 'gibbs', 'langevin'", lambda: make().sample(method="gibs")),
    "steps": (ArgumentError, "steps: ", lambda: make().sample(start=X, steps=0)),
    "start": (DataError, r"start: expected shape \(N, 6\)", lambda: make().sample(start=X[:, :5])),
    "as many": (ArgumentError, "num_examples: expected 2, the length of start; got 3",
                lambda: make().sample(3, start=X)),
    "no prepare": (NotPreparedError, r"chains have no prior to start from: call model.prepare\(data\), or give start=",
                   lambda: make().sample()),
    "denoise NaN": (DataError, "x: expected finite values", lambda: make().denoise(X / 0)),
    "denoise nothing": (DataError, "x: expected a torch.Tensor; got NoneType", lambda: make().denoise(None)),
    "denoise integers": (DataError, "x: .*floating-point", lambda: make().denoise(np.ones((2, 6), dtype="uint8"))),
    "likelihood": (NoLikelihoodError, "'z' is a Delta", lambda: make().log_likelihood(X)),
}  # fmt: skip
X = torch.zeros(2, 6)


def make(**settings: Any) -> Any:
    return pb.DenoisingAutoencoder(6, 3, 4, **settings)


@pytest.mark.parametrize(("kind", "message", "use"), REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses_by_name(kind: type[Exception], message: str, use: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=message):
        use()


# Walkback.


def test_walkback_spoils_what_the_chain_makes_of_each_example() -> None:
    """With a decoder that answers b whatever it sees, an example is spoiled as it is, or as b after one step or more.

    Of 4,000 examples the share of the former is 1 / (walkback + 1), within six errors.
    """
    model = pb.DenoisingAutoencoder(
        2, 3, 4, {"name": "gaussian", "scale": 0.01}, {"name": "normal", "scale": 0.01}, walkback=3
    )
    with torch.no_grad():
        model.decoder[-1].weight.zero_()  # type: ignore[index, union-attr, operator]
        model.decoder[-1].bias.fill_(7.0)  # type: ignore[index, union-attr, operator]
    torch.manual_seed(0)
    x = torch.zeros(4000, 2)
    _, seen = loss_of(model, x)
    stayed, moved = (seen.abs() < 0.1).all(-1), ((seen - 7).abs() < 0.15).all(-1)
    assert (stayed | moved).all()
    assert abs(stayed.float().mean() - 1 / 4) < 6 * math.sqrt(0.25 * 0.75 / 4000)
    model.eval()
    _, seen = loss_of(model, x)
    assert (seen.abs() < 0.1).all()


def test_walkback_teaches_by_the_last_reconstruction_alone() -> None:
    """The gradient is that of -log p(x given f(x~)) at the x~ that was reached, and none flows along the chain."""
    torch.manual_seed(0)
    model = pb.DenoisingAutoencoder(4, 3, 5, GAUSSIAN, walkback=2)
    x = torch.randn(50, 4)
    loss, seen = loss_of(model, x)
    loss.backward()
    walked = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    (-model.likelihood.distribution(model._outputs(seen.detach())).log_prob(x).sum()).backward()
    torch.testing.assert_close(walked, [p.grad for p in model.parameters() if p.grad is not None])


def test_walkback_leads_back_from_afar() -> None:
    """Chains from eight times the data's spread away end up near it, as without walkback they do not."""
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.tensor([1.0, -1.0])
    far = []
    for walkback in (0, 4):
        torch.manual_seed(0)
        likelihood = {"name": "normal", "scale": 0.3}
        model = pb.DenoisingAutoencoder(2, 16, 32, {"name": "gaussian", "scale": 0.1}, likelihood, walkback=walkback)
        model.fit(x, epochs=10, batch_size=100, learning_rate=1e-2, seed=0, progress=False)
        start = torch.tensor([1.0, -1.0]) + 0.8 * torch.randn(500, 2)
        end = model.sample(start=start, steps=5, mean=True)
        far.append((end - torch.tensor([1.0, -1.0])).norm(dim=-1).mean().item())
    assert far[1] < 0.5 * far[0]


def test_walkback_is_a_number_of_steps() -> None:
    for walkback in (-1, 1.5, True):
        with pytest.raises(ArgumentError, match=r"^walkback"):
            pb.DenoisingAutoencoder(4, walkback=walkback)  # type: ignore[arg-type]
