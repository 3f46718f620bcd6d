"""Words of melodies: what they do not depend on, and how an index counts them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicai.notes import Melody
from musicai.search import InvertedIndex, Lines, interval_ngrams, rhythm_ngrams, words_of, worth
from musicai.search.ngrams import PATTERNS, WIDEST, WIDTH

pitch_lists = st.lists(st.integers(30, 90), max_size=30)
step_lists = st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0]), min_size=30, max_size=30)


def melody(seed: int, notes: int) -> Melody:
    rng = np.random.default_rng(seed)
    return Melody.from_pitches(60 + rng.integers(-8, 9, notes), rng.choice([0.25, 0.5, 0.5, 1.0], notes))


@pytest.fixture(scope="module")
def collection() -> list[Melody]:
    return [melody(i, notes) for i, notes in enumerate([1, 2, 3, 4, 5, 40, 60, 30, 25, 80] * 3)]


def test_words_by_hand():
    assert interval_ngrams([60, 62, 64, 65], 2) == [(2, 2), (2, 1)]
    assert interval_ngrams([60, 62], 2) == []
    assert rhythm_ngrams([0, 1, 1.5, 2, 4], 1) == ["<", "=", ">"]
    found = words_of([60, 62, 64, 60, 67], [0, 1, 2, 4, 5])
    assert found[:3] == [(0, 0, (2, 2, -4), "=>"), (0, 1, (2, -2, 7), "><"), (0, 2, (2, 2), "=")]


def test_a_leap_beyond_the_widest_counts_as_the_widest():
    assert words_of([40, 80, 20])[0][2] == (WIDEST, -WIDEST)


@given(pitch_lists, step_lists, st.integers(-12, 12), st.floats(0.1, 10))
def test_key_and_tempo_do_not_matter(pitches, steps, shift, tempo):
    starts = np.cumsum(steps)[: len(pitches)]
    assert words_of(np.array(pitches) + shift, starts * tempo) == words_of(pitches, starts)


@given(st.lists(st.integers(40, 80), min_size=12, max_size=12), st.integers(0, 11))
def test_a_wrong_note_spoils_only_the_words_it_is_in(pitches, where):
    wrong = [p + 7 * (i == where) for i, p in enumerate(pitches)]
    for before, after in zip(words_of(pitches), words_of(wrong), strict=True):
        inside = where - before[0] in PATTERNS[before[1]]
        assert inside or before == after


def test_rare_words_are_worth_more_and_agreement_counts():
    assert worth(1e-4, "", "=") > worth(1e-3, "", "=")
    assert worth(1e-4, "==", "==") > worth(1e-4, "", "==") > worth(1e-4, "==", "=<") > worth(1e-4, "==", "<<")
    assert worth(0.5, "==", "<<") == 0


def test_the_right_window_has_the_most_votes(collection):
    index = InvertedIndex(Lines.from_pieces(collection))
    offsets = np.cumsum([0, *map(len, collection)])
    votes = index.votes(collection[9].pitches[20:32] + 5, collection[9].starts[20:32] * 3)
    window = votes.most_common(1)[0][0]
    assert 0 <= offsets[9] + 20 - ((window - 1) * WIDTH - 12) < 2 * WIDTH
