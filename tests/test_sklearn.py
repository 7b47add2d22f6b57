"""The face of scikit-learn: its own checks for each model, its scores against closed forms, its place in a pipeline."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import Tensor, nn

import probae as pb
from probae.errors import ArgumentError, DataError
from probae.sklearn import AutoencoderTransformer
from probae.sklearn.transformer import MODELS

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
FEW = X[:60, 16:25].astype(np.float64)


def small(model: Any, **settings: Any) -> AutoencoderTransformer:
    """Little work: every network of four units, one epoch."""
    hidden = {} if model == "ppca" or not isinstance(model, str) else {"hidden": 4}
    return AutoencoderTransformer(model, **{**hidden, "epochs": 1, "num_samples": 10, "random_state": 0, **settings})


@parametrize_with_checks([small(name, latent_dim=1) for name in MODELS])
def test_scikit_learns_own_checks(estimator: AutoencoderTransformer, check: Callable[[Any], None]) -> None:
    check(estimator)


# What it computes.


def test_a_linear_autoencoder_reconstructs_like_principal_components() -> None:
    linear = AutoencoderTransformer(
        latent_dim=8, hidden=(), epochs=400, learning_rate=0.03, fit_options={"schedule": "cosine"},
        batch_size=len(X), random_state=0,
    )  # fmt: skip
    pca = PCA(8).fit(X)
    ours, best = (np.square(X - one.inverse_transform(one.fit(X).transform(X))).sum() for one in (linear, pca))
    assert best * (1 - 1e-5) < ours < 1.01 * best


@pytest.mark.parametrize("name", MODELS)
def test_it_gives_what_the_models_verbs_give(name: str) -> None:
    face = small(name, latent_dim=3).fit(FEW)
    x = torch.tensor(FEW)
    codes = face.transform(FEW)
    np.testing.assert_array_equal(codes, face.model_.embed(x).numpy())
    np.testing.assert_allclose(face.inverse_transform(codes), face.model_.reconstruct(x).numpy(), rtol=1e-12)
    assert list(face.get_feature_names_out()) == [f"autoencodertransformer{place}" for place in range(3)]
    assert face.history_["epoch"] == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_computes_in_the_precision_of_the_data(dtype: Any) -> None:
    face = small("vae", latent_dim=2).fit(FEW.astype(dtype))
    assert face.model_.dtype == {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    for other in (np.float32, np.float64):
        x = FEW.astype(other)
        results = [face.transform(x), face.inverse_transform(face.transform(x)), face.score_samples(x)]
        assert [result.dtype for result in results] == [other] * 3
    assert set(get_tags(face).transformer_tags.preserves_dtype) == {"float32", "float64"}


# Scores.


def test_the_scores_of_probabilistic_pca_are_those_of_scikit_learns() -> None:
    """Its maximum of the likelihood, found by gradients; scikit-learn divides the covariance by N - 1."""
    x = FEW @ np.random.RandomState(0).normal(size=(9, 9)) + np.random.RandomState(1).normal(size=(60, 9))
    face = AutoencoderTransformer("ppca", 2, epochs=500, random_state=0).fit(x)
    assert face.score_name_ == "log_likelihood"
    assert face.score(x) == pytest.approx(PCA(2).fit(x).score(x), abs=0.02)
    assert face.score(x) == pytest.approx(face.score_samples(x).mean())


def widened(factor: float) -> pb.ProbabilisticPCA:
    """A model whose guide is the exact posterior, its scales times a factor."""
    model = pb.ProbabilisticPCA(9, 2).double().fit_closed_form(torch.tensor(FEW))
    family: Any = model.family
    family.log_scale.data += np.log(factor)
    return model


def bounds(model: Any, x: np.ndarray, num_samples: int) -> np.ndarray:
    from probae.sklearn.transformer import _lower_bounds

    return _lower_bounds(model, torch.tensor(x), num_samples).numpy()


def test_an_exact_posterior_makes_the_bound_exact() -> None:
    exact = widened(1.0).log_likelihood(torch.tensor(FEW)).per_example
    assert exact is not None
    for count in (1, 7):
        np.testing.assert_allclose(bounds(widened(1.0), FEW, count), exact.numpy(), rtol=1e-9)


def test_the_bound_comes_near_from_another_guide() -> None:
    """Each weight has the relative variance (1.2^2 / sqrt(2 * 1.2^2 - 1))^2 - 1 = 0.10, so that the error of the log of

    2,000 of them is 0.0072: 0.06 is eight of these, P < 1e-14 for each of 60 examples.
    """
    exact = widened(1.0).log_likelihood(torch.tensor(FEW)).per_example
    assert exact is not None
    error = bounds(widened(1.2), FEW, 2000) - exact.numpy()
    assert 1e-6 < np.abs(error).max() < 0.06


@pytest.mark.parametrize("options", [{}, {"guide": "flow"}, {"prior": "vamp"}, {"guide": "full", "prior": "mixture"}])
def test_a_rows_bound_does_not_hang_on_the_others(options: dict[str, Any]) -> None:
    face = small("vae", latent_dim=2, options=options, num_samples=500).fit(FEW)  # 32 rows at once
    scores, order = face.score_samples(FEW), np.random.RandomState(0).permutation(len(FEW))[:17]
    assert face.score_name_ == "lower_bound"
    np.testing.assert_allclose(face.score_samples(FEW[order]), scores[order], rtol=1e-12)
    assert face.score(FEW) == pytest.approx(scores.mean(), abs=0.5)


class Branching(nn.Module):
    """An encoder that looks at a value, which `torch.func.vmap` does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * (1.0 if x.sum().item() > -1e9 else 2.0)


def test_modules_that_look_at_values_are_scored_row_by_row_with_the_same_noise() -> None:
    torch.manual_seed(0)
    encoder = Branching()
    plain, branching = (
        pb.VAE(9, 2, 8, "normal", encoder=module).double().eval() for module in (encoder.linear, encoder)
    )
    branching.load_state_dict({k.replace("encoder.", "encoder.linear."): v for k, v in plain.state_dict().items()})
    np.testing.assert_allclose(bounds(branching, FEW, 20), bounds(plain, FEW, 20), rtol=1e-10)


@pytest.mark.parametrize("name", ["autoencoder", "adversarial", "sparse", "contractive"])
def test_deterministic_models_give_what_map_maximizes(name: str) -> None:
    face = small(name, latent_dim=3).fit(FEW)
    model = face.model_
    loss = pb.ELBO()(model.model, model.guide, torch.tensor(FEW))
    assert face.score_name_ == "log_joint"
    assert face.score_samples(FEW).sum() == pytest.approx(-loss.item(), rel=1e-9)
    assert face.score(FEW) == pytest.approx(-loss.item() / 60, rel=1e-9)


def test_a_denoisers_score_takes_rows_as_they_are() -> None:
    face = small("denoising", latent_dim=3).fit(FEW)
    x = torch.tensor(FEW)
    wanted = face.model_.decode(face.model_.embed(x)).log_prob(x)
    np.testing.assert_array_equal(face.score_samples(FEW), face.score_samples(FEW))
    np.testing.assert_allclose(face.score_samples(FEW), wanted.numpy())


# In scikit-learn's hands.


def test_codes_serve_a_classifier_in_a_pipeline() -> None:
    codes = AutoencoderTransformer("autoencoder", 16, 64, epochs=15, random_state=0)
    pipeline = make_pipeline(codes, LogisticRegression(max_iter=300)).fit(X[:1000], Y[:1000])
    assert pipeline.score(X[1000:], Y[1000:]) > 0.8  # chance is 0.1


def test_a_grid_search_finds_that_a_longer_code_reconstructs_better() -> None:
    grid = {"latent_dim": [1, 12], "model": ["autoencoder"]}
    search = GridSearchCV(small("vae", hidden=32, epochs=15, batch_size=32), grid, cv=2).fit(X[:300])
    assert search.best_params_["latent_dim"] == 12
    assert search.best_estimator_.transform(X[:2]).shape == (2, 12)


def test_it_pickles_whole(tmp_path: Any) -> None:
    for face in (small("sparse", latent_dim=3).fit(FEW), small(pb.SparseAutoencoder(9, 3, top_k=2)).fit(FEW)):
        again = pickle.loads(pickle.dumps(face))
        np.testing.assert_array_equal(again.transform(FEW), face.transform(FEW))
        np.testing.assert_array_equal(again.fit(FEW).transform(FEW), face.transform(FEW))


# Randomness.


def codes_of(random_state: Any, **settings: Any) -> np.ndarray:
    return small("vae", latent_dim=2, **{**settings, "random_state": random_state}).fit(FEW).transform(FEW)


def test_an_integer_gives_the_same_model_and_leaves_torchs_numbers_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = codes_of(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    np.testing.assert_array_equal(codes_of(3), first)
    assert not np.allclose(codes_of(4), first)


def test_a_random_state_goes_on() -> None:
    state = np.random.RandomState(3)
    first, second = codes_of(state), codes_of(state)
    np.testing.assert_array_equal(first, codes_of(3))
    assert not np.allclose(first, second)


def test_none_takes_numpys_own() -> None:
    results = []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002
        results.append(codes_of(None))
    np.testing.assert_array_equal(*results)
    assert not np.allclose(codes_of(None), results[0])


# Models of one's own, and options.


def test_a_model_is_a_template() -> None:
    torch.manual_seed(0)
    own = pb.VAE(9, 2, 8, "normal", encoder=nn.Linear(9, 4))
    before = {name: value.clone() for name, value in own.state_dict().items()}
    start = own.decode(torch.zeros(1, 2)).mean.numpy()
    face = small(own).fit(FEW)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert face.model_ is not own
    still = small(own, learning_rate=1e-12).fit(FEW)
    weights = still.model_.state_dict()["encoder.weight"]
    torch.testing.assert_close(weights, before["encoder.weight"].double())
    assert not np.allclose(face.inverse_transform(np.zeros((1, 2))), start, atol=1e-3)
    np.testing.assert_array_equal(clone(face).fit(FEW).transform(FEW), face.transform(FEW))


def test_options_reach_the_model_and_its_training() -> None:
    face = small("sparse", latent_dim=6, options={"top_k": 2}, fit_options={"schedule": "linear"}, epochs=2).fit(FEW)
    assert ((face.transform(FEW) != 0).sum(1) == 2).all()
    assert face.history_["learning_rate"][1] < face.history_["learning_rate"][0]
    assert small("vae", learning_rate=0.03).fit(FEW).history_["learning_rate"] == [0.03]
    assert len(small("vae", epochs=None).fit(FEW[:5]).history_["epoch"]) == 100
    assert "epochs" not in small("ppca", epochs=None)._settings(pb.ProbabilisticPCA(9, 2))  # it has its own


def test_a_binary_likelihood_refuses_grey_values() -> None:
    face = small("autoencoder", latent_dim=2, likelihood="bernoulli")
    assert set(np.unique(face.fit((FEW > 0.5) * 1.0).inverse_transform(np.zeros((1, 2))) > 0)) == {True}
    with pytest.raises(DataError, match="grey values"):
        face.fit(FEW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "autoencode"}, "model: expected one of .* Did you mean 'autoencoder'"),
        ({"model": 3}, "model: expected one of"),
        ({"model": pb.RBM(9, 2)}, "model: expected one of"),
        ({"model": pb.VAE(8, 2), "hidden": None}, "model: expected one of data of n_features=9; got one of 8"),
        ({"model": pb.VAE(9, 2, num_labels=3), "hidden": None}, "model: expected one without labels"),
        ({"model": pb.VAE(9, 2), "hidden": 5}, "hidden: expected None beside a model"),
        ({"model": pb.VAE(9, 2), "hidden": None, "options": {"prior": "vamp"}}, "options: expected None beside"),
        ({"model": "ppca"}, "hidden: expected an option of ProbabilisticPCA"),
        ({"model": "ppca", "hidden": None, "latent_dim": 9}, "latent_dim: expected .* with data of n_features=9"),
        ({"options": {"streng": 1}}, "streng: expected an option of Autoencoder"),
        ({"options": {"data_shape": 9}}, "data_shape: expected an option of Autoencoder"),
        ({"options": {"latent_dim": 2}}, "latent_dim: expected an option of Autoencoder"),
        ({"fit_options": {"seed": 1}}, "seed: expected an option of fit"),
        ({"epochs": 0}, "epochs: expected"),
        ({"latent_dim": 0}, "latent_dim: expected a positive integer"),
        ({"num_samples": 0}, "num_samples: expected a positive integer"),
    ],
)
def test_wrong_arguments_are_named_by_fit(settings: dict[str, Any], message: str) -> None:
    face = small("autoencoder").set_params(**settings)
    with pytest.raises(ArgumentError, match=f"^{message}"):
        face.fit(FEW)
    with pytest.raises(NotFittedError):
        face.transform(FEW)


def test_codes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="X has 3 features, but codes of this model have 2"):
        small("vae", latent_dim=2).fit(FEW).inverse_transform(np.zeros((1, 3)))


def test_it_is_quiet_unless_told_otherwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    face = small("vae", latent_dim=2).fit(FEW)
    face.score(FEW)
    face.score_samples(FEW)
    assert capsys.readouterr() == ("", "")
    face.set_params(verbose=True).fit(FEW)
    assert capsys.readouterr().err
