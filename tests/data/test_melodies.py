"""Laws of the melodies: the likelihood that they come with is the one that drew them."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch

from probae.data import Dataset, load
from probae.data.melodies import CHORDS, NEXT, NOTES, PROGRESSIONS, log_prob
from probae.errors import ArgumentError

SPLITS = load("melodies")
VARYING = load("melodies", min_length=4)


def notes(data: Dataset) -> torch.Tensor:
    """(N, T) notes; 8 after the end."""
    one_hot = data.tensor.reshape(len(data), *data.data_shape)
    return torch.where(one_hot.sum(2) > 0, one_hot.argmax(2), 8)


def test_the_notes_are_the_same_bytes_everywhere() -> None:
    """Nothing but exactly rounded operations made them; a change here makes every reported number another one."""
    digests = []
    for part in (*SPLITS, VARYING.train):
        assert part.labels is not None
        content = notes(part).byte().numpy().tobytes() + part.labels.byte().numpy().tobytes()
        digests.append(hashlib.sha256(content).hexdigest()[:12])
    assert digests == ["068219ed5585", "eb3cf694af02", "b5903026a065", "2ac45dd4befd"]


def test_a_row_is_one_note() -> None:
    for part in SPLITS:
        assert part.data_shape == (16, 8)
        assert set(part.tensor.unique().tolist()) == {0.0, 1.0}
        assert (part.tensor.reshape(-1, 8).sum(1) == 1).all()
        assert part.lengths is None
    assert [len(part) for part in SPLITS] == [5000, 1000, 1000]


def slow_log_prob(melody: tuple[int, ...]) -> float:
    """Summed over all paths through the chords, one by one."""
    total = 0.0
    for progression in PROGRESSIONS:
        for moves in itertools.product([0, 1], repeat=len(melody) - 1):
            chord, p = 0, 0.25
            for t, note in enumerate(melody):
                if t > 0:
                    p *= 0.2 if moves[t - 1] else 0.8
                    chord += moves[t - 1]
                weights = [
                    (1 if name in CHORDS[progression[chord % 4]] else 1 / 64)
                    * (0.75 ** abs(other - melody[t - 1]) if t else 1)
                    for other, name in enumerate(NOTES)
                ]
                p *= weights[note] / sum(weights)
            total += p
    return math.log(total)


def test_the_forward_algorithm_sums_over_all_paths() -> None:
    melodies = [(0, 4, 4, 6, 1, 0), (7, 7, 7, 7, 7, 7), (3, 2, 1, 0, 5, 6)]
    expected = [slow_log_prob(melody) for melody in melodies]
    assert log_prob(np.array(melodies)).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_probabilities_of_all_melodies_add_up_to_one(length: int) -> None:
    every = np.array(list(itertools.product(range(8), repeat=length)))
    assert float(np.exp(log_prob(every)).sum()) == pytest.approx(1, abs=1e-12)


def test_each_distribution_of_the_next_note_is_one() -> None:
    assert np.allclose(NEXT.sum(3), 1)
    assert NEXT.shape == (4, 4, 9, 8)


def test_each_example_brings_its_own_log_probability() -> None:
    for part in (*SPLITS, *VARYING):
        assert part.true_log_prob is not None
        assert np.allclose(part.true_log_prob.numpy(), log_prob(notes(part).numpy()), atol=1e-12)


def test_drawn_notes_are_as_frequent_as_their_likelihood_says() -> None:
    """All 512 melodies of three notes: Bernstein's bound at 1e-10 each, 5.2e-8 in all, and the seed is fixed."""
    data = load("melodies", size=100_000, length=3).train
    every = np.array(list(itertools.product(range(8), repeat=3)))
    p = np.exp(log_prob(every))
    codes = (notes(data) * torch.tensor([64, 8, 1])).sum(1)
    counts = torch.bincount(codes, minlength=512).numpy()
    n, log = len(data), math.log(2 / 1e-10)
    bound = log / 3 + np.sqrt((log / 3) ** 2 + 2 * n * p * (1 - p) * log)
    assert (np.abs(counts - n * p) <= bound).all()


def test_the_ceiling_is_the_one_that_is_documented() -> None:
    """The standard error of 7,000 melodies is 0.04 nats; seven of those, P = 3e-12, and the seed is fixed."""
    values = torch.cat([part.true_log_prob for part in SPLITS if part.true_log_prob is not None])
    assert float(values.mean()) == pytest.approx(-25.93, abs=7 * float(values.std()) / len(values) ** 0.5)


def test_the_baselines_are_those_that_are_documented() -> None:
    """Fitted to 50,000 melodies, judged on 1,000: seven standard errors, P = 3e-12; the seed is fixed."""
    train, test = (data.tensor.reshape(-1, 16, 8) for data in (load("melodies", size=50_000).train, SPLITS.test))
    notes_at, pairs = train.mean(0), torch.einsum("nta,ntb->tab", train[:, :-1], train[:, 1:])
    independent = torch.einsum("nta,ta->n", test, notes_at.log())
    following = (pairs / pairs.sum(2, keepdim=True)).log()
    markov = test[:, 0] @ notes_at[0].log() + torch.einsum("nta,tab,ntb->n", test[:, :-1], following, test[:, 1:])
    assert float(independent.mean()) == pytest.approx(-32.35, abs=7 * float(independent.std()) / 1000**0.5)
    assert float(markov.mean()) == pytest.approx(-26.81, abs=7 * float(markov.std()) / 1000**0.5)
    assert SPLITS.test.true_log_prob is not None
    gap = SPLITS.test.true_log_prob - markov
    assert float(gap.mean()) > 6 * float(gap.std()) / 1000**0.5, "the hidden chords are worth knowing"


def test_only_their_course_tells_the_first_two_progressions_apart() -> None:
    assert sorted(PROGRESSIONS[0]) == sorted(PROGRESSIONS[1])
    assert len(set(PROGRESSIONS)) == 4


def test_sequences_end_and_stay_ended() -> None:
    for part in VARYING:
        ended = notes(part) == 8
        assert part.lengths is not None
        assert torch.equal((~ended).sum(1), part.lengths)
        assert torch.equal(ended, torch.arange(16) >= part.lengths[:, None])
        assert part.lengths.unique().tolist() == list(range(4, 17))


def test_a_shorter_melody_is_the_beginning_of_the_full_one() -> None:
    """The ends are drawn last, so the notes before them are those of the full melodies; the likelihood is theirs."""
    full, ended = notes(load("melodies").test), notes(VARYING.test)
    assert VARYING.test.lengths is not None
    there = torch.arange(16) < VARYING.test.lengths[:, None]
    assert torch.equal(full[there], ended[there])
    first = int(VARYING.test.lengths[0])
    alone = log_prob(full[:1, :first].numpy())
    assert VARYING.test.true_log_prob is not None
    assert float(VARYING.test.true_log_prob[0]) == pytest.approx(float(alone[0]), abs=1e-12)


def test_a_given_least_length_sets_lengths_even_when_all_are_equal() -> None:
    train = load("melodies", size=3, length=5, min_length=5).train
    assert train.lengths is not None
    assert train.lengths.tolist() == [5, 5, 5]
    assert str(train.protocol) == "melodies(size=3, length=5, min_length=5)/train, not binarized"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "^length: expected a positive integer"),
        ({"min_length": 0}, "^min_length: expected a positive integer"),
        ({"min_length": 17}, "^min_length: expected at most length=16; got 17"),
        ({"binarize": "threshold"}, "^binarize: expected None or 'none', since 'melodies' is one-hot"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load("melodies", **options)  # pyright: ignore[reportArgumentType]
