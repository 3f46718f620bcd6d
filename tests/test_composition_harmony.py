"""Chords for a melody: the model's tables, the best path, and what every melody may expect."""

from itertools import pairwise, product

import numpy as np
import pytest
from composition_helpers import METERS as COMMON

from musicai.composition.harmony import (
    CHORDS,
    QUALITIES,
    SCALES,
    TONES,
    ChordSpan,
    add_chords,
    best_path,
    load_tables,
    rhythm_of,
    spans_of,
)
from musicai.data import Nottingham
from musicai.notes import Melody, Note
from scripts.fit_harmony import find_bars, label_chords, learn_chords

METERS = [*COMMON, (11, 16)]
SCALE = Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72], key="C major")


def test_scales_are_the_church_modes():
    assert sorted(SCALES["dorian"]) == [0, 2, 3, 5, 7, 9, 10]
    assert sorted(SCALES["minor"]) == [0, 2, 3, 5, 7, 8, 10]
    assert sorted(SCALES["locrian"]) == [0, 1, 3, 5, 6, 8, 10]
    assert len(SCALES) == 7


def test_chord_names_and_notes():
    chord = ChordSpan(0, 1, 9, "minor")
    assert chord.name == "Am"
    assert chord.pitch_classes == (9, 0, 4)
    assert all(TONES[i].sum() == len(QUALITIES[quality]) for i, (_, quality) in enumerate(CHORDS))


def test_chords_are_spelled_in_their_key():
    tune = Melody.from_pitches([70, 74, 77, 75, 72, 75, 70], [1, 1, 2, 2, 1, 1, 4], key="Bb major")
    assert {chord.name for chord in add_chords(tune)} <= {"Bb", "Eb", "F", "F7", "Cm", "Gm", "Dm", "Bb7", "C7"}
    assert ChordSpan(0, 1, 10, "minor", "B major").name == "A#m"
    assert ChordSpan(0, 1, 11, "major", "Gb major").name == "Cb"


def test_tables_are_probabilities():
    for table in load_tables("chords").values():
        np.testing.assert_allclose(np.exp(table).sum(-1), 1)


def test_tables_learned_from_nothing_are_uniform():
    tables = learn_chords([])
    np.testing.assert_allclose(np.exp(tables["first"]), 1 / len(CHORDS))


def test_dominant_goes_home_in_the_closing_bar():
    steps = load_tables("chords")["steps"][0, 4]  # into the last bar, in major
    seventh = CHORDS.index((7, "seventh"))
    assert CHORDS[steps[seventh].argmax()] == (0, "major")


def test_best_path_is_the_best_of_all_paths():
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=n) for n in (3, 2, 4, 3)]
    steps = [rng.normal(size=(len(a), len(b))) for a, b in pairwise(scores)]

    def total(path):
        return sum(s[i] for s, i in zip(scores, path, strict=True)) + sum(
            s[i, j] for s, (i, j) in zip(steps, pairwise(path), strict=True)
        )

    paths = list(product(*(range(len(s)) for s in scores)))
    assert tuple(best_path(scores, lambda t: steps[t])) == max(paths, key=total)
    likely = np.exp([total(path) for path in paths])
    drawn = [tuple(best_path(scores, lambda t: steps[t], temperature=1.0, seed=seed)) for seed in range(500)]
    found = np.array([drawn.count(path) for path in paths])
    expected = likely / likely.sum() * len(drawn)
    assert ((found - expected) ** 2 / expected).sum() < len(paths) + 6 * np.sqrt(2 * len(paths))  # chi-squared


def test_chords_are_read_off_a_roll():
    roll = np.zeros((4, 88), bool)
    for frame, pitches in enumerate([(48, 52, 55, 64), (55, 59, 62, 65, 71), (57, 60, 64, 69), (60,)]):
        roll[frame, np.array(pitches) - 21] = True
    chords, melody = label_chords(roll)
    assert [CHORDS[i] for i in chords[:3]] == [(0, "major"), (7, "seventh"), (9, "minor")]
    assert chords[3] == -1
    assert melody.tolist() == [4, 11, 9, -1]


def test_bars_are_where_chords_change():
    chords = np.repeat([0, 7, 0, 5, 7, 0], 4)
    assert find_bars(np.append(0, chords), np.zeros(25, int)) == (4, 2, 1)
    jig = np.tile([4, 4, 4, 0, 0, 0], 6)
    assert find_bars(np.repeat([0, 7, 0, 5, 7, 0], 6), jig) == (3, 2, 0)
    waltz = np.tile([4, 4, 2, 2, 0, 0], 6)
    assert find_bars(np.repeat([0, 7, 0, 5, 7, 0], 6), waltz) == (6, 1, 0)


@pytest.mark.parametrize("meter", METERS)
def test_spans_fill_bars(meter):
    assert sum(rhythm_of(meter)) == pytest.approx(4 * meter[0] / meter[1])
    melody = Melody.from_pitches([60, 64, 67] * 5, 0.5, key="C major", time_signature=meter)
    edges, places = spans_of(melody)
    assert len(edges) == len(places) + 1
    assert edges[0] == 0
    assert melody.duration <= edges[-1] + 1e-6 < melody.duration + sum(rhythm_of(meter)) + 1e-5
    chords = add_chords(melody)
    assert chords[0].start == 0
    assert chords[-1].end == pytest.approx(edges[-1])
    assert all(one.end == two.start and one.name != two.name for one, two in pairwise(chords))


def test_pickup_moves_the_bars():
    melody = Melody.from_pitches([67, 60, 64, 67, 64, 60, 64, 67, 64], key="C major")
    assert spans_of(melody, 1.0)[0].tolist() == [0, 1, 3, 5, 7, 9]
    assert spans_of(melody, 5.0)[0].tolist() == spans_of(melody, 1.0)[0].tolist()
    assert {chord.name for chord in add_chords(melody, pickup=1.0)} == {"C"}


@pytest.mark.parametrize("mode", SCALES)
def test_every_mode_ends_at_home_and_keeps_its_scale(mode):
    scale = sorted(SCALES[mode])
    degrees = [0, 2, 4, 2, 3, 1, 4, 2, 0, 0]
    melody = Melody.from_pitches([62 + scale[i] for i in degrees], [1] * 8 + [2, 2], key=f"D {mode}")
    chords = add_chords(melody)
    inside = [all((pc - 2) % 12 in SCALES[mode] for pc in chord.pitch_classes) for chord in chords]
    assert chords[-1].root == 2 or mode == "locrian"  # whose own chord is diminished
    if mode not in ("major", "minor"):
        assert all(inside)


def test_transposition_moves_the_chords():
    here, there = add_chords(SCALE), add_chords(SCALE.transpose(5))
    assert [(c.root + 5) % 12 for c in here] == [c.root for c in there]
    assert [c.quality for c in here] == [c.quality for c in there]


def test_rests_and_chromatic_notes_are_harmonised():
    notes = [Note(60 + i, 3 * i + 0.25, 0.5) for i in range(12)]
    chords = add_chords(Melody(tuple(notes), key="C major"))
    assert chords[0].start == 0
    assert chords[-1].end == 36


def test_seeds_draw_different_chords_and_the_same_again():
    melody = Melody.from_pitches([60, 64, 67, 64, 65, 69, 67, 62] * 4, key="C major")
    drawn = [tuple(add_chords(melody, temperature=1.0, seed=seed)) for seed in range(6)]
    assert len(set(drawn)) > 1
    assert drawn[0] == tuple(add_chords(melody, temperature=1.0, seed=0))


def test_a_melody_without_notes_is_refused():
    with pytest.raises(ValueError, match="without notes"):
        add_chords(Melody(()))


def test_chords_of_unseen_tunes_beat_the_constant():
    ours, constant = [], []
    for roll in Nottingham("test").rolls[:40]:
        labels, melody = label_chords(roll)
        if find_bars(labels, melody) != (3, 2, 0) or 0 not in labels:
            continue
        line = np.where(melody >= 0, 60 + melody, -1)
        notes = tuple(Note(int(p), i / 2, 0.5) for i, p in enumerate(line) if p >= 0)
        chords = add_chords(Melody(notes, key="C major", time_signature=(6, 8)))
        for i in range(0, len(line) - 2, 3):
            if labels[i] >= 0:
                found = next(c for c in chords if c.end > i / 2)
                ours.append(found.root == labels[i] % 12)
                constant.append(labels[i] % 12 == 0)
    assert len(ours) > 100
    assert np.mean(ours) > np.mean(constant) + 0.05
