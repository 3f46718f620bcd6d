"""Words of melodies: what they do not depend on, and that the compiled index holds and counts them as a dict does."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Melody
from musicai.search import InvertedIndex, Lines, MelodyIndex, interval_ngrams, rhythm_ngrams, words_of, worth
from musicai.search._scale import postings
from musicai.search.ngrams import ENOUGH, MOST, PATTERNS, WIDEST, WIDTH

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
    words = words_of([60, 62, 64, 60, 67], [0, 1, 2, 4, 5])
    assert words[:3] == [(0, 0, (2, 2, -4), "=>"), (0, 1, (2, -2, 7), "><"), (0, 2, (2, 2), "=")]


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


@given(pitch_lists, step_lists)
def test_numbered_words_are_the_words(pitches, steps):
    starts = np.cumsum(steps)[: len(pitches)]
    found = postings.number_words(np.array(pitches, dtype=float), starts)
    numbers = {word: found[word[0], word[1]] for word in words_of(pitches, starts)}
    assert (found >= 0).sum() == len(numbers)
    kinds = {word[1:]: number for word, number in numbers.items()}
    assert len(set(kinds.values())) == len(kinds)  # different words, different numbers
    assert all(kinds[word[1:]] == number for word, number in numbers.items())


def decoded(store) -> dict[int, list[int]]:
    """The places of every word, decoded in plain Python."""
    places, code = {}, store["postings"].tolist()
    bounds = store["posting_offsets"].tolist()
    for word, begin, end in zip(store["words"].tolist(), bounds, bounds[1:], strict=False):
        here, found, bits, number = 0, [], 0, 0
        for byte in code[begin:end]:
            number |= (byte & 127) << bits
            bits += 7
            if byte < 128:
                here += number
                found.append(here)
                number = bits = 0
        places[word] = found
    return places


@pytest.mark.parametrize("at_once", [50, 10**6])
def test_postings_are_those_of_a_plain_dict(collection, at_once, monkeypatch):
    monkeypatch.setattr(postings, "PLACES", at_once)
    store = MelodyIndex.build(collection, progress=False)._store
    plain: dict[int, list[int]] = {}
    for first, one in zip(store["offsets"], collection, strict=False):
        for row, numbers in enumerate(postings.number_words(one.pitches, one.starts)):
            for number in numbers[numbers >= 0]:
                plain.setdefault(int(number), []).append(int(first) + row)
    assert decoded(store) == plain
    assert store["words"].tolist() == sorted(plain)
    assert store["word_counts"].tolist() == [len(plain[word]) for word in sorted(plain)]


@pytest.mark.parametrize("rhythm", [True, False])
@pytest.mark.parametrize("enough", [ENOUGH, 60])
def test_votes_are_those_of_the_definition(collection, rhythm, enough, monkeypatch):
    monkeypatch.setattr("musicai.search.ngrams.ENOUGH", enough)  # with few places, common words are left out
    monkeypatch.setattr(postings, "ENOUGH", enough)
    plain, store = InvertedIndex(Lines.from_pieces(collection)), MelodyIndex.build(collection, progress=False)._store
    for i, one in enumerate(collection):
        first = max(0, len(one) - 14)
        pitches, starts = one.pitches[first:].copy(), one.starts[first:] if rhythm else None
        pitches[i % len(pitches)] += i % 3
        votes = postings.count_votes(store, pitches.astype(float), starts)
        assert Counter({w: int(v) for w, v in enumerate(votes) if v}) == +plain.votes(pitches, starts)


def test_the_right_window_has_the_most_votes(collection):
    index = InvertedIndex(Lines.from_pieces(collection))
    offsets = np.cumsum([0, *map(len, collection)])
    votes = index.votes(collection[9].pitches[20:32] + 5, collection[9].starts[20:32] * 3)
    window = votes.most_common(1)[0][0]
    assert 0 <= offsets[9] + 20 - ((window - 1) * WIDTH - 12) < 2 * WIDTH


@given(st.lists(st.integers(0, 255), max_size=3000), st.integers(1, 50))
@settings(max_examples=50)
def test_windows_above_the_threshold(values, count):
    votes = np.repeat(np.array(values, np.uint8), 3)
    least = postings.threshold(votes, count)
    assert least in {1, MOST} or (votes >= least).sum() <= count
    assert least == 1 or (votes >= least - 1).sum() > count
    assert postings.windows_above(votes, least, count).tolist() == np.flatnonzero(votes >= least)[:count].tolist()
