"""Melodies: sequences of notes over hidden chord progressions, whose exact log-likelihood is known; no network."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from probae import checks
from probae.data.generated import generated
from probae.data.splits import Splits
from probae.errors import ArgumentError

NOTES = ("C", "D", "E", "F", "G", "A", "B", "c")
CHORDS = {"I": "CEGc", "ii": "DFA", "IV": "FACc", "V": "GBD", "vi": "ACEc"}
PROGRESSIONS = (("I", "V", "vi", "IV"), ("I", "vi", "IV", "V"), ("I", "IV", "I", "V"), ("ii", "V", "I", "vi"))
STAY = 0.8
FOREIGN = 1 / 64
NONE = len(NOTES)  # stands for the note before the first one


def melodies(size: int = 5000, length: int = 16, min_length: int | None = None, seed: int = 0) -> Splits:
    """Sequences of one of eight notes, one-hot, from a hidden Markov model for each of four chord progressions.

    A melody follows one progression, equally likely (labels 0 to 3): I V vi IV, I vi IV V, I IV I V or ii V I vi. It
    starts at the first chord, and at each step stays with its chord with probability 4/5 or goes on to the next, after
    the fourth to the first. A note is drawn given the chord s and the note before it, which stands d steps of the scale
    away (d = 0 for the first note):

        p(x_t | s_t, x_{t-1}) proportional to (3/4)^d (1 if x_t belongs to s_t else 1/64)

    The first two progressions have the same chords in another order: only the course of a melody tells them apart.
    `true_log_prob` is log p(x), summed over chords and progressions by the forward algorithm. Its mean is the ceiling:
    -25.93 nats for 16 notes, where independent notes reach -32.35 and a first-order Markov chain -26.81.

    Args:
        size: training melodies; there are 1,000 each to validate and to test.
        length: notes of a melody, T.
        min_length: where given, each melody ends after a uniformly drawn number of notes from this one to `length`:
            `lengths` are set, the rows after the end are zeros, and log p(x) is that given the length.
        seed: names the draw; the notes are the same ones on every machine.

    Returns:
        Zeros and ones of shape (N, T * 8), the eight categories of one note adjacent; data shape (T, 8), labels.

    Raises:
        ArgumentError: names the argument.

    Source: L. Rabiner, A tutorial on hidden Markov models (1989), section III A, for the forward algorithm.

    Example:
        >>> melody = melodies(size=1).train
        >>> "".join(NOTES[note] for note in melody.tensor.reshape(16, 8).argmax(1)), melody.labels
        ('GGcGEGGBDDDBBGGA', tensor([0]))
    """
    length = checks.positive_int("length", length)
    shortest = length if min_length is None else checks.positive_int("min_length", min_length)
    if shortest > length:
        raise ArgumentError("min_length", f"at most length={length}", min_length)
    return generated("melodies", partial(_draw, length, None if min_length is None else shortest), size, seed)


def _draw(length: int, shortest: int | None, stream: np.random.RandomState, count: int) -> dict[str, Any]:
    label = stream.randint(len(PROGRESSIONS), size=count)
    moves = stream.random_sample((count, length)) >= STAY
    moves[:, 0] = False
    notes = _notes(label, moves.cumsum(1) % 4, stream.random_sample((count, length)))
    drawn = {"labels": label}
    if shortest is not None:
        drawn["lengths"] = stream.randint(shortest, length + 1, size=count)
        notes[np.arange(length) >= drawn["lengths"][:, None]] = NONE
    one_hot = np.eye(NONE + 1, NONE, dtype=np.float32)[notes]
    return {"tensor": one_hot, **drawn, "true_log_prob": log_prob(notes)}


def _notes(label: np.ndarray, chord: np.ndarray, lots: np.ndarray) -> np.ndarray:
    """(N, T) notes over (N, T) chords, each chosen by a lot in [0, 1)."""
    notes = np.full_like(chord, NONE)
    for t in range(chord.shape[1]):
        before = notes[:, t - 1]  # NONE at t = 0, where it is the last column
        below = NEXT[label, chord[:, t], before, :-1].cumsum(1)
        notes[:, t] = (lots[:, t, None] >= below).sum(1)
    return notes


def log_prob(notes: np.ndarray) -> np.ndarray:
    """log p(x) in nats of (N, T) notes, those after the end of a melody being 8: (N,).

    The forward algorithm, rescaled at each step: with a_t(c, s) = p(x_1, ..., x_t, c, s_t = s),

        a_{t+1}(c, s) = p(x_{t+1} | c, s, x_t) (4/5 a_t(c, s) + 1/5 a_t(c, s - 1))
    """
    forward = np.zeros((len(notes), len(PROGRESSIONS), 4))
    forward[:, :, 0] = 1 / len(PROGRESSIONS)
    total, before = np.zeros(len(notes)), np.full(len(notes), NONE)
    likelihood = np.concatenate([NEXT, np.ones_like(NEXT[..., :1])], axis=3)  # an end costs nothing: it is given
    for t, note in enumerate(notes.T):
        moved = forward if t == 0 else STAY * forward + (1 - STAY) * np.roll(forward, 1, axis=2)
        joint = moved * np.moveaxis(likelihood[:, :, before, note], 2, 0)
        scale = joint.sum((1, 2))
        total, before, forward = total + np.log(scale), note, joint / scale[:, None, None]
    return total


def _next() -> np.ndarray:
    """p(note | progression, chord, note before): (4, 4, 9, 8)."""
    steps = np.abs(np.arange(len(NOTES)) - np.arange(len(NOTES))[:, None])
    near = np.concatenate([0.75**steps, np.ones((1, len(NOTES)))])
    fits = np.array([[[1.0 if n in CHORDS[chord] else FOREIGN for n in NOTES] for chord in p] for p in PROGRESSIONS])
    weight = near * fits[:, :, None]
    return weight / weight.sum(3, keepdims=True)


NEXT = _next()
