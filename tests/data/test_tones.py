"""Laws of the tones: what the factors say can be read off the spectrograms, in decibels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probae.data import Dataset, load
from probae.data.tones import (
    AMPLITUDES,
    ATTACKS,
    DECAYS,
    FACTORS,
    FRAME,
    HOP,
    INSTRUMENTS,
    MIDDLE_C,
    RANGE,
    RATE,
    RATIOS,
    SAMPLES,
    spectrograms,
    waveforms,
)
from probae.errors import ArgumentError

SPLITS = load("tones", size=2000)
TRAIN = SPLITS.train
STEP = RANGE / 255  # decibels between two levels


def decibels(data: Dataset = TRAIN) -> np.ndarray:
    """(N, 64, 32), from -72 to 0."""
    return RANGE * (data.tensor.reshape(-1, 64, 32).double().numpy() - 1)


def factor(name: str, data: Dataset = TRAIN) -> np.ndarray:
    assert data.factors is not None
    return data.factors[:, FACTORS.index(name)].double().numpy()


def labels(data: Dataset = TRAIN) -> np.ndarray:
    assert data.labels is not None
    return data.labels.numpy()


def sine(frequency: float, amplitude: float = 1.0, phase: float = 0.0) -> np.ndarray:
    """Its spectrogram in decibels, (64, 32)."""
    sound = amplitude * np.sin(2 * np.pi * frequency * np.arange(SAMPLES) / RATE + phase)
    return RANGE * (spectrograms(sound[None])[0, 0] - 1)


@settings(max_examples=30)
@given(row=st.integers(1, 61), level=st.floats(-40, 0), phase=st.floats(0, 6.3))
def test_a_sine_stands_in_its_row_at_its_loudness(row: int, level: float, phase: float) -> None:
    """A Hann window spreads it over three rows, the outer ones 6.02 dB below; beyond them is nothing."""
    image = sine(64 * (row + 1), 10 ** (level / 20), phase)
    np.testing.assert_allclose(image[row], level, atol=0.51 * STEP)
    np.testing.assert_allclose(image[[row - 1, row + 1]], max(level - 20 * np.log10(2), -RANGE), atol=0.51 * STEP)
    assert (np.delete(image, range(row - 1, row + 2), axis=0) == -RANGE).all()


@settings(max_examples=30)
@given(frequency=st.floats(200, 3900))
def test_a_sine_between_two_rows_peaks_in_the_nearer_one(frequency: float) -> None:
    """At most 1.42 dB are lost half-way between, the scalloping loss of a Hann window."""
    image = sine(frequency).mean(1)
    nearest = frequency / 64 - 1
    assert abs(image.argmax() - nearest) <= 0.52
    assert -1.43 - STEP < image.max() <= 0.03 + STEP


def test_white_noise_has_its_level() -> None:
    """E |2 X / sum w|^2 = 4 s^2 sum w^2 / (sum w)^2, within six standard errors, and 0.1% for the rounding to levels.

    The mean is over exponentials in 100 x 63 x 16 rows of frames that share no sample, neighbours of which are
    correlated: its relative error is below 1.5/sqrt(100,800) = 0.5%.
    """
    sound = 0.03 * np.random.RandomState(0).standard_normal((100, SAMPLES))
    image = RANGE * (spectrograms(sound)[:, 0, :63, ::2] - 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    expected = 4 * 0.03**2 * np.square(window).sum() / window.sum() ** 2
    assert np.mean(10 ** (image / 10)) == pytest.approx(expected, rel=6 * 0.005 + 0.001)


def test_partials_have_their_frequencies_and_their_levels() -> None:
    """At a partial far from all others the level is the formula's, less the scalloping loss, more the noise."""
    onset, tilt, label = factor("onset") / 1000, factor("brightness"), labels()
    frequency = MIDDLE_C * 2 ** (factor("pitch")[:, None] / 12) * RATIOS[label]
    amplitude = AMPLITUDES[label] * 10 ** (tilt[:, None] / 20 * np.log2(RATIOS[label])) * (frequency < RATE / 2)
    amplitude *= (10 ** (factor("loudness") / 20) / amplitude.sum(1))[:, None]
    middle = (20 * HOP + FRAME / 2) / RATE  # of frame 20
    t = middle - onset
    amplitude *= np.exp(-DECAYS[label] * t[:, None]) * -np.expm1(-t / ATTACKS[label])[:, None]
    wanted = 20 * np.log10(np.maximum(amplitude, 1e-9))
    apart = np.abs(frequency[:, :, None] - frequency[:, None]) + 1e9 * np.eye(10)
    alone = (apart.min(2) > 250) & (frequency > 200) & (frequency < 3900)
    clear = alone & (wanted > factor("noise")[:, None] + 10) & (wanted > wanted.max(1, keepdims=True) - 20)
    row = np.rint(frequency / 64).astype(int) - 1
    found = np.take_along_axis(decibels()[:, :, 20], np.clip(row, 0, 63), axis=1)
    error = (found - wanted)[clear]
    assert clear.sum() > 4000
    assert [bool(clear[label == k].any()) for k in range(5)] == [True] * 5
    assert -4 < error.min() < error.max() < 2.5
    assert -1.0 < error.mean() < -0.3  # the scalloping loss is 0.5 dB on average


def test_before_the_onset_there_is_noise_alone() -> None:
    """Its loudest of a few hundred values stays below 12 dB above the mean, which is 3.3 dB above s^2 4 / 128 here."""
    ends = (HOP * np.arange(32) + FRAME) / RATE * 1000
    silent = ends[None] <= factor("onset")[:, None]
    loudest = decibels().max(1)
    limit = factor("noise")[:, None] + 10 * np.log10(4 * 1.5 / FRAME) + 12
    assert silent.any(1).sum() > 1000
    assert (loudest <= np.maximum(limit, -RANGE) + STEP)[silent].all()
    starts = HOP * np.arange(32) / RATE * 1000
    sounding = starts[None] > factor("onset")[:, None] + 30
    assert (loudest > limit)[sounding].mean() > 0.99  # but for the quietest of notes in the loudest of noise


def test_plucked_overtones_die_faster_and_bowed_ones_stay() -> None:
    """The level at twice the fundamental beside that at it, late less early: 3 dB a second times 8.7, over 0.15 s."""
    late = {}
    for name in ("guitar", "violin"):
        chosen = (labels() == INSTRUMENTS.index(name)) & (factor("noise") < -55) & (factor("onset") < 32)
        fundamental = MIDDLE_C * 2 ** (factor("pitch")[chosen] / 12)
        rows = [np.rint(k * fundamental / 64).astype(int) - 1 for k in (1, 3)]
        image = decibels()[chosen]
        one, three = (image[np.arange(len(image)), row] for row in rows)
        late[name] = ((three - one)[:, 30] - (three - one)[:, 8]).mean()
    seconds = 22 * HOP / RATE
    slope = 20 * np.log10(np.e)
    assert late["guitar"] == pytest.approx(-6 * slope * seconds, abs=1.0)
    assert abs(late["violin"]) < 0.5


def test_loudness_is_that_of_all_partials() -> None:
    """Where all are in phase, at a quarter of the fundamental's turn for odd ones, the peak is their sum."""
    factors = np.array([[0.0, 0.0, -6.0, 0.0, -200.0]])

    class Quiet:
        def random_sample(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.full(shape, 0.25)  # cosines, all at their top together

        def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.zeros(shape)

    sound = waveforms(np.array([0]), factors, Quiet())  # pyright: ignore[reportArgumentType]
    top = sound[0, -64:].max() / -np.expm1(-(SAMPLES - 1) / RATE / ATTACKS[0])
    assert top == pytest.approx(10 ** (-6 / 20), rel=0.01)


def test_no_partial_is_folded_back() -> None:
    """Of the highest note the fourth partial would lie above half of the rate, and come back in row 61."""
    factors = np.array([[24.0, 0.0, 0.0, 0.0, -200.0]])
    sound = waveforms(np.array([2]), factors, np.random.RandomState(0))
    image = RANGE * (spectrograms(sound)[0, 0] - 1)
    assert image[48, 20] > -20  # the third
    assert image[55:, 20].max() < -45


def test_the_images_are_nearly_the_same_everywhere() -> None:
    """Sums of all levels: the last bit of a sine may move one of them by one; anything else moves them by thousands."""
    sums = [int((part.tensor.double() * 255).round().sum()) for part in SPLITS]
    assert sums == pytest.approx([214298224, 107516515, 108386608], abs=20)
    assert torch.equal((TRAIN.tensor * 255).round() / 255, TRAIN.tensor)
    assert 0 <= float(TRAIN.tensor.min()) < float(TRAIN.tensor.max()) <= 1


def test_factors_are_uniform_and_independent() -> None:
    """Correlations of 4,000 independent pairs stray from zero by 1/sqrt(n): six of those, P < 2e-9, 15 pairs."""
    factors = torch.cat([part.factors for part in SPLITS if part.factors is not None]).double()
    kinds = torch.cat([part.labels for part in SPLITS if part.labels is not None]).double()
    data = torch.cat([factors, kinds[:, None]], dim=1)
    correlations = torch.corrcoef(data.T) - torch.eye(6)
    assert float(correlations.abs().max()) < 6 / len(data) ** 0.5
    ranges = {"pitch": (0, 24), "onset": (0, 64), "loudness": (-18, 0), "brightness": (-6, 6), "noise": (-66, -36)}
    for name, (low, high) in ranges.items():
        found = data[:, FACTORS.index(name)]
        assert low <= float(found.min()) < float(found.max()) <= high
        assert abs(float(found.mean()) - (low + high) / 2) < 6 * (high - low) / 12**0.5 / len(data) ** 0.5
    shares = kinds.long().bincount(minlength=5) / len(kinds)
    assert float((shares - 0.2).abs().max()) < 6 * 0.4 / len(kinds) ** 0.5


def test_size_changes_the_training_set_alone_and_seeds_everything() -> None:
    few, other = load("tones", size=30), load("tones", size=30, seed=1)
    assert [len(part) for part in few] == [30, 1000, 1000]
    assert torch.equal(few.test.tensor, SPLITS.test.tensor)
    assert str(few.test.protocol) == "tones(size=30)/test, not binarized"
    assert not torch.equal(other.test.tensor, few.test.tensor)
    assert not torch.equal(few.valid.tensor, few.test.tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "^size: expected a positive integer"),
        ({"seed": -1}, "^seed: expected an integer"),
        ({"binarize": "stochastic"}, "^binarize: expected None or 'none', since 'tones' is loudness in decibels"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load("tones", **options)  # pyright: ignore[reportArgumentType]
