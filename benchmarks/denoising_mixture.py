"""A denoising autoencoder on a mixture of Normals, against the best denoiser and the exact score.

The data are 20,000 draws of a mixture of three Normals on the line; the noise is Normal, of scale 0.5. The best
denoiser is r*(x~) = E[x given x~], its risk E Var[x given x~], and a denoiser r has the excess risk
E (r(x~) - r*(x~))^2: all by quadrature over the density of x~, nothing estimated. The excess must be at most 5% of the
best risk. The score (r(x) - x) / 0.25 is compared with the exact gradient of the log-density of x~.

One hidden layer of 64 on either side of 16 codes, Adam down a cosine. Run as

    python -m benchmarks.denoising_mixture [--epochs 30] [--seeds 3]

which draws docs/pictures/denoising_score.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import probae as pb
from benchmarks.common import print_table, write_results
from probae.plots.style import COLOURS, tidy

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "denoising_score.png"
NOISE, COUNT, BAR = 0.5, 20_000, 0.05
WEIGHTS, MEANS, SCALES = torch.tensor([[0.3, 0.5, 0.2], [-2.0, 0.5, 2.5], [0.6, 0.3, 0.2]], dtype=torch.float64)
STEP = 1e-3
GRID = torch.arange(-7.0, 7.0, STEP, dtype=torch.float64)


def blurred(x: Tensor, noise: float = NOISE) -> Tensor:
    """log p of the mixture with Normal noise added, at x (N,)."""
    parts = torch.distributions.Normal(MEANS, (SCALES**2 + noise**2).sqrt()).log_prob(x[:, None])
    return (parts + WEIGHTS.log()).logsumexp(1)


def exact_score(x: Tensor) -> Tensor:
    """The gradient of `blurred`, (N,)."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(blurred(x).sum(), x)[0]


def draw(count: int) -> Tensor:
    """Examples, (count, 1)."""
    part = torch.multinomial(WEIGHTS, count, replacement=True)
    return (MEANS[part] + SCALES[part] * torch.randn(count, dtype=torch.float64))[:, None].float()


def best_risk() -> float:
    """E (x - r*(x~))^2: what is left of E (x - x~)^2 = s^2, since r*(x~) - x~ is s^2 times the score."""
    return NOISE**2 - NOISE**4 * expectation(exact_score(GRID) ** 2)


def expectation(values: Tensor) -> float:
    """Over x~, of values on the grid."""
    return float((values * blurred(GRID).exp()).sum() * STEP)


def trained(seed: int, epochs: int) -> pb.DenoisingAutoencoder:
    """A denoiser of data and weights of its own."""
    torch.manual_seed(seed)
    model = pb.DenoisingAutoencoder(1, 16, 64, {"name": "gaussian", "scale": NOISE}, activation="silu")
    model.fit(draw(COUNT), epochs=epochs, batch_size=256, learning_rate=5e-3, schedule="cosine", seed=seed)
    return model


def measured(model: pb.DenoisingAutoencoder) -> dict[str, float]:
    """Excess risk, relative to the best one, and the squared error of the score, relative to its square."""
    wrong = expectation((model.score(GRID[:, None])[:, 0] - exact_score(GRID)) ** 2)
    return {
        "excess_risk": wrong * NOISE**4 / best_risk(),  # r(x) - r*(x) is the error of the score times s^2
        "score_error": wrong / expectation(exact_score(GRID) ** 2),
    }


def picture(models: list[pb.DenoisingAutoencoder]) -> None:
    """The densities, and the scores, learned and exact."""
    plt.switch_backend("Agg")
    x = torch.linspace(-4.5, 4.5, 400, dtype=torch.float64)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(x, blurred(x, noise=0.0).exp(), color="0.7", label="the data's density")
    left.plot(x, blurred(x).exp(), color="black", label="blurred by the noise")
    left.set_title("density", loc="left")
    for seed, model in enumerate(models):
        right.plot(x, model.score(x[:, None]), color=COLOURS[seed], lw=1, label=f"denoiser, seed {seed}")
    right.plot(x, exact_score(x), color="black", ls="--", label="exact")
    right.set_title("score of the blurred density", loc="left")
    for axes in (left, right):
        tidy(axes).legend(frameon=False)
        axes.set_xlabel("x")
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    models = [trained(seed, options.epochs) for seed in range(options.seeds)]
    runs = [measured(model) for model in models]
    rows = [[seed, *(f"{value:.4f}" for value in run.values())] for seed, run in enumerate(runs)]
    print_table(["seed", *runs[0]], rows)
    met = max(run["excess_risk"] for run in runs) <= BAR
    print(f"excess risk at most {BAR:.0%} of the best risk, {best_risk():.5f}: {'met' if met else 'missed'}")
    results: dict[str, Any] = {"noise": NOISE, "examples": COUNT, "epochs": options.epochs, "best_risk": best_risk()}
    write_results("denoising_mixture", {**results, "bar": BAR, "met": met, "seeds": runs})
    picture(models)


if __name__ == "__main__":
    main()
