"""The machine with scikit-learn's face, beside scikit-learn's own: its checks, its numbers, its attributes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import probae as pb
from probae.errors import ArgumentError
from probae.sklearn import BernoulliRBM

X, Y = load_digits(return_X_y=True)
X = X / 16
BITS = (np.random.RandomState(0).uniform(size=X.shape) < X).astype(float)


@pytest.mark.filterwarnings("ignore:X. values from:UserWarning")  # its data are of all sizes
@parametrize_with_checks([BernoulliRBM(2, n_iter=1, random_state=0)])
def test_scikit_learns_own_checks(estimator: BernoulliRBM, check: Callable[[Any], None]) -> None:
    check(estimator)


def pair(ours: BernoulliRBM) -> Theirs:
    """scikit-learn's machine with the same parameters."""
    theirs = Theirs(ours.n_components, random_state=0)
    theirs.fit(np.zeros((1, ours.n_features_in_)))
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        assert getattr(theirs, name).shape == getattr(ours, name).shape
        setattr(theirs, name, getattr(ours, name))
    return theirs


@pytest.fixture(scope="module")
def ours() -> BernoulliRBM:
    return BernoulliRBM(16, n_iter=3, random_state=0).fit(X[:500])


# The same machine.


def test_arguments_and_attributes_are_those_of_scikit_learns(ours: BernoulliRBM) -> None:
    assert BernoulliRBM().get_params() == Theirs().get_params()
    theirs = Theirs(16, n_iter=1, random_state=0).fit(X[:500])
    attributes = {name for name in vars(theirs) if name.endswith("_")}
    assert attributes == {"components_", "intercept_hidden_", "intercept_visible_", "h_samples_", "n_features_in_"}
    for name in attributes - {"n_features_in_"}:
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    assert set(np.unique(ours.h_samples_)) == {0, 1}
    assert list(ours.get_feature_names_out()[:2]) == list(theirs.get_feature_names_out()[:2])


def test_hidden_rates_of_the_same_parameters_are_the_same(ours: BernoulliRBM) -> None:
    for data in (X, BITS, csr_matrix(X)):
        np.testing.assert_allclose(ours.transform(data), pair(ours).transform(data), atol=1e-12)
    np.testing.assert_allclose(ours.transform(X.astype(np.float32)), pair(ours).transform(X), atol=1e-6)


@pytest.mark.parametrize("data", [BITS[:50], X[:50]], ids=["bits", "rates"])
def test_scores_are_what_scikit_learn_estimates(ours: BernoulliRBM, data: np.ndarray) -> None:
    """Its estimate is D times the score of one random flip: the mean over all flips, by its own free energy."""
    theirs, total = pair(ours), np.zeros(len(data))
    for place in range(64):
        flipped = data.copy()
        flipped[:, place] = 1 - flipped[:, place]
        total -= np.logaddexp(0, theirs._free_energy(data) - theirs._free_energy(flipped))
    np.testing.assert_allclose(ours.score_samples(data), total, rtol=1e-10)


def test_a_gibbs_step_has_the_machines_means() -> None:
    """64 means of 20,000 bits, E[sigmoid(a + Wh)] over all h given v, by enumeration of the 2^4 states.

    The standard error of a mean is at most 0.5 / sqrt(20,000) = 0.0035; 0.025 is seven of them, P < 64 * 3e-12.
    """
    small = BernoulliRBM(4, n_iter=5, random_state=0).fit(X[:300])
    v = np.repeat(BITS[:1], 20_000, 0)
    new = small.gibbs(v)
    assert new.dtype == bool
    rates = small.transform(BITS[:1])[0]
    states = ((np.arange(16)[:, None] >> np.arange(4)) & 1).astype(float)
    weights = np.where(states == 1, rates, 1 - rates).prod(1)
    wanted = weights @ (1 / (1 + np.exp(-(states @ small.components_ + small.intercept_visible_))))
    assert np.abs(new.mean(0) - wanted).max() < 0.025
    assert not np.array_equal(small.gibbs(v), new)
    assert small.gibbs(new).shape == v.shape


# Training.


def test_a_step_is_scikit_learns_on_the_rates_themselves() -> None:
    """From the same parameters, with the same chains: learning_rate times the mean of r p(h given r)' less theirs."""
    one = BernoulliRBM(5, learning_rate=0.3, batch_size=7, n_iter=0, random_state=0).fit(X[:40])
    before, machine = pair(one), one.rbm_
    before.components_, before.intercept_hidden_, before.intercept_visible_ = (
        np.array(x) for x in (one.components_, one.intercept_hidden_, one.intercept_visible_)
    )
    one.partial_fit(X[:40])
    chains = machine.negative_phase.chains.numpy()  # as they were in the step
    up, down = before.transform(X[:40]), before.transform(chains)
    wanted = up.T @ X[:40] / 40 - down.T @ chains / 7
    np.testing.assert_allclose(one.components_ - before.components_, 0.3 * wanted, atol=1e-12)
    hidden, visible = up.mean(0) - down.mean(0), X[:40].mean(0) - chains.mean(0)
    np.testing.assert_allclose(one.intercept_hidden_ - before.intercept_hidden_, 0.3 * hidden, atol=1e-12)
    np.testing.assert_allclose(one.intercept_visible_ - before.intercept_visible_, 0.3 * visible, atol=1e-12)


def test_rates_bound_the_likelihood_of_their_bits(ours: BernoulliRBM) -> None:
    """-F(r) <= E[-F(v)], by all 2^6 states of six units with random rates, the other bits fixed."""
    rates, rng = BITS[:1].copy(), np.random.RandomState(0)
    rates[0, :6] = rng.uniform(size=6)
    states = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(float)
    bits = np.repeat(rates, 64, 0)
    bits[:, :6] = states
    mean = np.where(states == 1, rates[0, :6], 1 - rates[0, :6]).prod(1) @ -pair(ours)._free_energy(bits)
    assert 0 < mean + pair(ours)._free_energy(rates)[0] < 1


@pytest.mark.parametrize("data", [BITS, X], ids=["bits", "rates"])
def test_it_learns_at_least_as_well_as_scikit_learns(data: np.ndarray) -> None:
    """By the exact log-likelihood of test bits, after the same number of passes of the same steps."""
    settings: dict[str, Any] = {"learning_rate": 0.05, "n_iter": 5, "random_state": 0}
    scores = []
    for kind in (BernoulliRBM, Theirs):
        face = kind(12, **settings).fit(data[:900])
        machine = pb.RBM(64, 12).double()
        values = face.components_.T, face.intercept_visible_, face.intercept_hidden_
        machine.set_parameters(*(torch.tensor(np.ascontiguousarray(value)) for value in values))
        scores.append(machine.log_likelihood(torch.tensor(BITS[900:])).value)
    assert scores[0] > scores[1]


def test_partial_fits_train_on() -> None:
    face = BernoulliRBM(12, learning_rate=0.3, batch_size=100, random_state=0)
    scores = []
    for _ in range(30):
        for start in range(0, 800, 80):
            assert face.partial_fit(X[start : start + 80]) is face
        scores.append(face.score_samples(BITS[900:1000]).mean())
    assert scores[-1] > scores[0] + 2
    assert face.components_.dtype == np.float64
    chains = face.rbm_.negative_phase.chains.clone()
    face.partial_fit(X[:50])
    assert not torch.equal(face.rbm_.negative_phase.chains, chains)


def test_sparse_rows_train_alike(ours: BernoulliRBM) -> None:
    twin = clone(ours).fit(csr_matrix(X[:500]))
    np.testing.assert_array_equal(twin.components_, ours.components_)


def test_a_seed_decides_and_torchs_numbers_are_left_alone(ours: BernoulliRBM) -> None:
    before = torch.random.get_rng_state()
    twin = clone(ours).fit(X[:500])
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(twin.components_, ours.components_)
    np.testing.assert_array_equal(twin.h_samples_, ours.h_samples_)
    np.testing.assert_array_equal(twin.gibbs(BITS[:5]), twin.set_params(verbose=0).fit(X[:500]).gibbs(BITS[:5]))
    assert not np.allclose(clone(ours).set_params(random_state=1).fit(X[:500]).components_, ours.components_)


def test_without_passes_it_has_scikit_learns_first_weights() -> None:
    one, other = (kind(6, n_iter=0, random_state=3).fit(X) for kind in (BernoulliRBM, Theirs))
    np.testing.assert_array_equal(one.components_, other.components_)


# In a user's hands.


def test_the_machine_itself_is_there(ours: BernoulliRBM) -> None:
    assert isinstance(ours.rbm_, pb.RBM)
    estimate = ours.rbm_.log_likelihood(torch.tensor(BITS[:50]))
    assert estimate.direction == "exact"
    np.testing.assert_allclose(ours.rbm_.mean_rates.numpy(), X[:500].mean(0), atol=0.12)
    ours.rbm_.log_partition("ais", num_chains=5, num_temperatures=5)


def test_features_serve_a_classifier_in_a_pipeline() -> None:
    features = BernoulliRBM(64, n_iter=10, random_state=0)
    pipeline = make_pipeline(features, LogisticRegression(C=100, max_iter=2000)).fit(X[:1000], Y[:1000])
    assert pipeline.score(X[1000:], Y[1000:]) > 0.8  # chance is 0.1


def test_it_pickles(ours: BernoulliRBM) -> None:
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.transform(X), ours.transform(X))


def test_it_reports_as_scikit_learn_does(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = BernoulliRBM(3, n_iter=2, random_state=0).fit(X[:100])
    assert capsys.readouterr() == ("", "")
    loud = BernoulliRBM(3, n_iter=2, random_state=0, verbose=1).fit(X[:100])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"[BernoulliRBM] Iteration {n}" for n in (1, 2)]
    assert "pseudo-likelihood = -" in lines[0]
    np.testing.assert_array_equal(loud.components_, quiet.components_)


def test_values_that_are_no_rates_are_named() -> None:
    with pytest.warns(UserWarning, match=r"^X: values from 0 to 16, where bits have rates in \[0, 1\]"):
        BernoulliRBM(3, n_iter=1, random_state=0).fit(16 * X[:50])


@pytest.mark.parametrize("name", ["n_components", "learning_rate", "batch_size", "n_iter"])
def test_wrong_arguments_are_named_by_fit(name: str) -> None:
    face = BernoulliRBM().set_params(**{name: -1})
    with pytest.raises(ArgumentError, match=f"^{name}: expected"):
        face.fit(X[:20])
    with pytest.raises(NotFittedError):
        face.transform(X)
