"""Splits that never move and never leak: hashes, fingerprints, groups of near-duplicates."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.data import SPLITS, group_duplicates, melody_key, split_of, split_tunes, title_key
from musicai.notes import Melody, Note


def tune(pitches, durations, *, lead=0.0, scale=1.0, **fields):
    starts = lead + np.concatenate([[0], np.cumsum(durations)[:-1]]) * scale
    rows = zip(pitches, starts, durations, strict=True)
    return Melody(tuple(Note(int(p), float(s), float(d) * scale) for p, s, d in rows), **fields)


def random_tune(rng, length=90):
    """A walk in a major scale: as alike as unrelated folk tunes are."""
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    degrees = np.clip(14 + np.cumsum(rng.choice([-2, -1, -1, 1, 1, 2, 3, -3], length)), 0, 28)
    return tune(48 + 12 * (degrees // 7) + scale[degrees % 7], rng.choice([0.5, 0.5, 1.0, 0.25], length))


def test_split_of_never_changes():
    """Written down once: if these move, every model's test set has been trained on."""
    known = {"a": "train", "b": "train", "1": "test", "7": "test", "tune 3": "valid", "": "valid"}
    assert {key: split_of(key) for key in known} == known


def test_split_shares():
    counts = Counter(split_of(f"piece {i}") for i in range(20_000))
    assert set(counts) == set(SPLITS)
    shares = {split: counts[split] / 20_000 for split in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "valid": 0.1, "test": 0.1}, abs=0.01)


pitches = st.lists(st.integers(40, 90), min_size=1, max_size=40)


@given(pitches, st.integers(-20, 20), st.sampled_from([0.0, 0.5, 3.0]), st.sampled_from([0.5, 1.0, 2.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_melody_key_ignores_what_does_not_matter(pitches, shift, lead, scale):
    durations = np.resize([0.5, 1.0, 1 / 3, 0.25], len(pitches))
    one = tune(pitches, durations, name="one", key="C major", tempo=90.0)
    two = tune([p + shift for p in pitches], durations, lead=lead, scale=scale, name="two", tempo=200.0)
    assert melody_key(one) == melody_key(two)


def test_melody_key_sees_what_matters():
    base = tune([60, 62, 64, 65], [1, 1, 1, 1])
    others = [
        tune([60, 62, 64, 66], [1, 1, 1, 1]),
        tune([60, 62, 64, 65], [1, 2, 1, 1]),
        tune([60, 62, 64], [1, 1, 1]),
        tune([65, 64, 62, 60], [1, 1, 1, 1]),
    ]
    assert len({melody_key(melody) for melody in [base, *others]}) == 5
    assert melody_key(Melody(())) == melody_key(Melody(()))


def test_transposed_and_changed_copies_join_unrelated_tunes_do_not():
    rng = np.random.default_rng(0)
    originals = [random_tune(rng) for _ in range(200)]
    copies = []
    for melody in originals:
        pitches, durations = melody.pitches + rng.integers(-7, 8), melody.durations
        for i in rng.choice(len(pitches), 5, replace=False):
            pitches[i] += rng.choice([-2, -1, 1, 2])
        copies.append(tune(pitches, durations, lead=2.0))
    groups = group_duplicates([*originals, *copies])
    joined = groups[:200] == groups[200:]
    assert joined.mean() >= 0.98  # five changed notes of 90 break at most 40 of 83 runs of seven intervals
    assert len(set(groups[:200].tolist())) == 200  # no false merge


def test_two_halves_and_added_repeat_join():
    rng = np.random.default_rng(1)
    whole = random_tune(rng, 120)
    half = tune(whole.pitches[:60] + 3, whole.durations[:60])
    doubled = tune(np.tile(whole.pitches, 2), np.tile(whole.durations, 2))
    repeated_notes = tune(np.repeat(whole.pitches, 2), np.repeat(whole.durations / 2, 2))
    assert group_duplicates([whole, half, doubled, repeated_notes, random_tune(rng)]).tolist() == [0, 0, 0, 0, 4]


def test_group_ids_do_not_depend_on_names_and_survive_short_and_empty():
    rng = np.random.default_rng(2)
    short = tune([60, 62, 64], [1, 1, 1])
    melodies = [Melody(()), short, random_tune(rng), short.transpose(4), Melody((), name="x")]
    assert group_duplicates(melodies).tolist() == [0, 1, 2, 1, 0]
    assert group_duplicates([]).tolist() == []


def test_many_copies_of_one_tune_stay_one_group():
    """A shingle with a thousand owners is compared with neighbours only; the chain still joins all of them."""
    rng = np.random.default_rng(3)
    melody = random_tune(rng)
    groups = group_duplicates([melody.transpose(int(i % 11) - 5) for i in range(1_000)])
    assert set(groups.tolist()) == {0}


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Devil's Dream., The", "devils dream"),
        ("DEVILS DREAM -- REEL", "devils dream"),
        ("The Hare in the Corn. No. 2.", "hare in corn"),
        ("Fisher's Hornpipe (2nd Setting)", "fishers"),
        ("Cock & Hen", "cock and hen"),
        ("Déirdre", "deirdre"),
        ("The Reel of Tulloch", "reel of tulloch"),
        *(
            (plain, "")
            for plain in ("", "Reel", "An Irish Air.", "Untitled", "A Favorite Quick Step", "Jig No. 2", "?")
        ),
    ],
)
def test_title_keys(title, key):
    assert title_key(title) == key


def test_namesakes_and_known_pairs_share_a_split():
    rng = np.random.default_rng(5)
    tunes = [replace(random_tune(rng), name=f"Tune {chr(65 + i % 20)}{chr(65 + i // 20)}") for i in range(200)]
    alone = split_tunes(tunes)
    assert set(alone) == set(SPLITS)
    assert split_tunes([replace(tune, name="The Reel") for tune in tunes]) == alone  # a name that says nothing
    assert len(set(split_tunes([replace(tune, name="Old Polly's Reel") for tune in tunes]))) == 1
    joined = split_tunes(tunes, same=[(3, i) for i in range(100)])
    assert set(joined[:100]) == {alone[0]}  # that of the first of the group
    assert joined[100:] == alone[100:]


def test_adding_tunes_moves_none():
    rng = np.random.default_rng(6)
    tunes = [replace(random_tune(rng), name=str(rng.integers(1000)) + "x") for _ in range(120)]
    assert split_tunes(tunes)[:80] == split_tunes(tunes[:80])
