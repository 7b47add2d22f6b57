"""Every prior and guide family as a part of a model: it trains, it is saved, it samples, it has a likelihood."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import probae as pb
from probae.errors import NoLikelihoodError
from tests.distributions.guides.cases import CASES as GUIDES
from tests.distributions.guides.cases import DENSE
from tests.distributions.priors.cases import CASES as PRIORS

PAIRS: list[tuple[Any, Any]] = [("normal", guide) for guide in DENSE]
PAIRS += [(prior, "diagonal") for prior in PRIORS if prior not in ("normal", "flat")]
PAIRS += [("vamp", "full"), ("mixture", "full"), ("flow", "flow")]


@pytest.mark.parametrize(("prior", "guide"), PAIRS)
def test_it_trains_and_comes_back(prior: str, guide: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = (torch.rand(40, 9) < 0.3).float()
    vae = pb.VAE(9, latent_dim=2, hidden=8, prior=PRIORS[prior], guide=GUIDES[guide])
    vae.prepare(x)
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    vae.fit(x, epochs=2, batch_size=20, seed=0, progress=False)
    assert all(not torch.equal(p, before[name]) for name, p in vae.named_parameters())
    estimate = vae.log_likelihood(x, num_samples=50, progress=False)
    assert math.isfinite(estimate.value)
    twin = pb.load(vae.save(tmp_path / "vae"))
    again = twin.log_likelihood(x, num_samples=50, progress=False)
    assert torch.equal(again.per_example, estimate.per_example)
    assert vae.sample(5).shape == (5, 9)
    assert torch.equal(twin.embed(x), vae.embed(x))
    assert vae.reconstruct(x).shape == (40, 9)


def test_a_flat_prior_with_a_delta_guide_has_reconstructions_alone() -> None:
    model = pb.Autoencoder(9, latent_dim=2, hidden=8)
    model.fit(torch.rand(40, 9), epochs=2, seed=0, progress=False)
    with pytest.raises(NoLikelihoodError, match="flat prior"):
        model.sample()
