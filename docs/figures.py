"""The site's figures, drawn anew at each build from the library itself, so that they show what it does."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from matplotlib.figure import Figure

import probae as pb
from probae.plots.style import COLOURS, GREY, tidy

LOOK = {"svg.hashsalt": "probae", "font.size": 10, "figure.facecolor": "white"}  # a salt: the same bytes at each build


def draw(folder: Path):
    """Draw all figures into a folder."""
    folder.mkdir(exist_ok=True)
    for contents in (bound, more_samples, missed_mode):
        with matplotlib.rc_context(LOOK):
            figure = Figure(figsize=(6.6, 3.1), layout="constrained")
            contents(tidy(figure.subplots()))
            figure.savefig(folder / f"{contents.__name__}.svg", metadata={"Date": None})


def bound(ax):
    """ELBO and log p(x, z) for p(z) = Normal(0, 1), p(x given z) = Normal(z, 1), x = 1.5, over the guide's location."""
    x, posterior = 1.5, dist.Normal(0.75, 0.5**0.5)
    loc = torch.linspace(-1.5, 3.0, 200)
    ceiling = dist.Normal(0.0, 2**0.5).log_prob(torch.tensor(x)).item()
    ax.axhline(ceiling, color="black", linewidth=1)
    ax.text(-1.5, ceiling + 0.06, "log p(x)", va="bottom")
    for scale, name, colour in ((0.5**0.5, "the posterior's", COLOURS[0]), (0.12, "a sixth of it", COLOURS[1])):
        gap = torch.distributions.kl_divergence(dist.Normal(loc, scale), posterior)
        ax.plot(loc, ceiling - gap, color=colour, label=f"ELBO, the guide's scale is {name}")
    joint = dist.Normal(0.0, 1.0).log_prob(loc) + dist.Normal(loc, 1.0).log_prob(torch.tensor(x))
    ax.plot(loc, joint, color=COLOURS[2], linestyle="--", label="log p(x, z) at a Delta: MAP")
    ax.axvline(0.75, color=GREY, linewidth=0.8, linestyle=":")
    ax.set(xlabel="where the guide is centred", ylabel="nats", ylim=(-6.2, ceiling + 0.5))
    ax.legend(frameon=False, loc="lower center", fontsize="small")


def more_samples(ax):
    """Importance sampling of a linear Gaussian model whose likelihood is known, with a fair guide and a narrow one."""
    torch.manual_seed(0)
    weight, data = torch.randn(10, 20) / 2, torch.randn(100, 20)
    data = data + torch.randn(100, 10) @ weight
    covariance = torch.eye(20) + weight.T @ weight
    truth = dist.MultivariateNormal(torch.zeros(20), covariance).log_prob(data).mean().item()
    precision = torch.eye(10) + weight @ weight.T
    encoder, exact = weight.T @ torch.linalg.inv(precision), precision.diagonal().rsqrt()

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(10), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ weight, 1.0).to_event(1), obs=x)

    counts = [5, 20, 100, 500, 2000, 10_000]
    for width, colour in ((1.3, COLOURS[0]), (0.6, COLOURS[2])):

        def guide(x, scale=width * exact):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x @ encoder, scale).to_event(1))

        found = [pb.log_likelihood(model, guide, data, num_samples=k, chunk_size=100_000) for k in counts]
        label = f"scales {'wider' if width > 1 else 'narrower'} than the posterior's"
        ax.errorbar(counts, [e.value for e in found], [2 * e.stderr for e in found], color=colour, label=label)
        for sure, fill in ((True, colour), (False, "white")):
            chosen = [(k, e.value) for k, e in zip(counts, found, strict=True) if e.reliable is sure]
            ax.plot(*zip(*chosen, strict=True), "o", color=colour, markerfacecolor=fill) if chosen else None
    ax.axhline(truth, color="black", linewidth=1)
    ax.text(counts[0], truth + 0.02, "log p(x)", va="bottom")
    ax.plot([], [], "o", color=GREY, markerfacecolor="white", label="says that it is not reliable")
    ax.set(xscale="log", xlabel="num_samples, K", ylabel="nats per example")
    ax.legend(frameon=False, loc="lower right", fontsize="small")


def missed_mode(ax):
    """The 60 x 1 machine of the text: how much probability has each number of ones, and where AIS ended."""
    ones = np.arange(61)
    ways = np.array([math.lgamma(61) - math.lgamma(k + 1) - math.lgamma(61 - k) for k in ones])
    mass = ways + np.logaddexp(-3.0 * ones, -150.0 + 3.0 * ones)
    rbm = pb.RBM(60, 1).set_parameters(torch.full((60, 1), 6.0), torch.full((60,), -3.0), torch.full((1,), -150.0))
    estimate = rbm.log_partition("ais", base=torch.full((60,), 0.05))
    truth = rbm.log_partition("exact")
    for part, colour in ((slice(0, 26), COLOURS[0]), (slice(25, 61), COLOURS[2])):
        ax.plot(ones[part], mass[part], color=colour)
    found = f"log Z = {estimate.value:.2f}, ESS {estimate.ess:.0f} of 100"
    ax.text(1, 8, f"here are the data and all chains of AIS,\nwhich finds {found}", color=COLOURS[0])
    ax.text(50, 31, f"here is the machine:\nlog Z = {truth.value:.2f}", ha="right", color=COLOURS[2])
    ax.set(xlabel="ones among the 60 visible bits", ylabel="log of their share of Z", ylim=(-42, 44))


if __name__ == "__main__":
    draw(Path(__file__).parent / "figures")
