"""Tones: single notes of five instruments as spectrograms, whose factors of variation are known; no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from probae.data.generated import generated
from probae.data.splits import Splits

RATE = 8192  # samples a second
FRAME = 128  # samples; a bin of the spectrum is RATE / FRAME = 64 Hz wide
HOP = FRAME // 2
BINS, FRAMES = FRAME // 2, 32
SAMPLES = FRAME + (FRAMES - 1) * HOP
RANGE = 72.0  # decibels between black and white
MIDDLE_C = 261.6255653  # Hz

INSTRUMENTS = ("flute", "clarinet", "violin", "guitar", "bell")
FACTORS = ("pitch", "onset", "loudness", "brightness", "noise")

_PARTIALS = 10
_HARMONIC = np.arange(1.0, _PARTIALS + 1)
_CHUNK = 250


def _spectra() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each instrument: ratios, amplitudes and rates of decay of its partials; its attack in seconds."""
    k = _HARMONIC
    ratios = np.tile(k, (5, 1))
    ratios[4] = [0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.667, 3.0, 4.0, 5.333]
    amplitudes = np.stack([0.25 ** (k - 1), (k % 2) / k, 1 / k, k**-1.5, 0.75 ** (k - 1)])
    decays = np.stack([0 * k, 0 * k, 0 * k, 4 + 3 * k, 3 + 2 * ratios[4]])
    return ratios, amplitudes, decays, np.array([0.05, 0.02, 0.08, 0.004, 0.002])


RATIOS, AMPLITUDES, DECAYS, ATTACKS = _spectra()


def tones(size: int = 5000, seed: int = 0) -> Splits:
    """Spectrograms of 64 bins by 32 frames: a quarter of a second of one note of one of five instruments.

    A note is a sum of ten partials k at r_k f_0 Hz, those that would lie above half of the rate of 8,192 samples a
    second left out, with phases drawn anew:

        x(t) = 10^(loudness / 20) sum_k A_k a(t) exp(-d_k t) sin(2 pi r_k f_0 t + phase_k) + noise,  t from the onset on

    The attack is a(t) = 1 - exp(-t / attack). Labels are the instruments, in this order: a flute (weak overtones, slow
    attack), a clarinet (odd overtones), a violin (strong overtones, the slowest attack), a guitar (plucked: its
    overtones die faster than the fundamental), a bell (struck: partials that are no multiples). An image is

        clip(1 + 20 log10(2 |X| / sum w) / 72, 0, 1),  X the Fourier transform of 128 samples under a Hann window w

    so that a sine of amplitude 1 reaches 1, and 0 is 72 decibels below. Row b is at 64 (b + 1) Hz; frames start 64
    samples apart. `factors` are uniform, independent of each other and of the instrument:

    - pitch: 0 to 24 semitones above middle C, which is at 261.6 Hz;
    - onset: 0 to 64 ms, before which there is nothing but noise;
    - loudness: -18 to 0 decibels, of the sum of the partials' amplitudes;
    - brightness: -6 to 6 decibels an octave, by which the partials are tilted;
    - noise: -66 to -36 decibels, the standard deviation of white noise.

    Args:
        size: training examples; there are 1,000 each to validate and to test.
        seed: names the draw.

    Returns:
        Values in [0, 1] (multiples of 1/255), data shape (1, 64, 32), labels, factors of shape (N, 5). Sines and
        logarithms may differ in their last bit between machines, which the rounding to 255ths nearly always hides.

    Raises:
        ArgumentError: for a size or a seed that is none.

    Example:
        >>> notes = tones(size=100).train
        >>> notes
        Dataset(tones/train, not binarized: 100 examples of shape (1, 64, 32) with labels, factors,
        float32 on cpu)
        >>> {name: round(factor, 1) for name, factor in zip(FACTORS, notes.factors[0].tolist())}
        {'pitch': 9.3, 'onset': 61.7, 'loudness': -1.3, 'brightness': 1.6, 'noise': -52.2}
    """
    return generated("tones", _draw, size, seed)


def waveforms(label: np.ndarray, factors: np.ndarray, stream: np.random.RandomState) -> np.ndarray:
    """What is heard: (N, 2112) samples of instruments (N,), factors (N, 5), at 8,192 a second."""
    pitch, onset, loudness, brightness, noise = factors.T
    fundamental = MIDDLE_C * 2 ** (pitch / 12)
    frequency = fundamental[:, None] * RATIOS[label]
    tilt = 10 ** (brightness[:, None] / 20 * np.log2(RATIOS[label]))
    amplitude = AMPLITUDES[label] * tilt * (frequency < RATE / 2)
    amplitude *= (10 ** (loudness / 20) / amplitude.sum(1))[:, None]
    phase = 2 * np.pi * stream.random_sample(frequency.shape)
    t = np.maximum(np.arange(SAMPLES) / RATE - onset[:, None] / 1000, 0.0)
    sound = np.zeros_like(t)
    for k in range(_PARTIALS):
        turn = 2 * np.pi * frequency[:, k, None] * t + phase[:, k, None]
        sound += amplitude[:, k, None] * np.exp(-DECAYS[label, k, None] * t) * np.sin(turn)
    sound *= -np.expm1(-t / ATTACKS[label, None])
    return sound + 10 ** (noise[:, None] / 20) * stream.standard_normal(t.shape)


def spectrograms(sound: np.ndarray) -> np.ndarray:
    """(N, 2112) samples as (N, 1, 64, 32) images in [0, 1]: the formula is that of `tones`."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    starts = HOP * np.arange(FRAMES)
    frames = sound[:, starts[:, None] + np.arange(FRAME)]
    magnitude = np.abs(np.fft.rfft(window * frames, axis=-1))[:, :, 1:] * (2 / window.sum())
    level = 1 + 20 * np.log10(np.maximum(magnitude, 1e-10)) / RANGE
    return np.rint(255 * np.clip(level, 0, 1)).transpose(0, 2, 1)[:, None] / 255


def _draw(stream: np.random.RandomState, count: int) -> dict[str, Any]:
    label = stream.randint(len(INSTRUMENTS), size=count)
    lot = stream.random_sample((count, len(FACTORS)))
    factors = np.array([0, 0, -18, -6, -66]) + np.array([24, 64, 18, 12, 30]) * lot
    images = np.empty((count, 1, BINS, FRAMES), dtype=np.float32)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part] = spectrograms(waveforms(label[part], factors[part], stream))
    return {"tensor": images, "labels": label, "factors": factors}
