"""Accompaniments: patterns that fill their bars, chords below the melody that move little, a bass on the roots."""

from itertools import permutations, product

import pytest
from composition_helpers import METERS as COMMON

from musicai.composition.accompaniment import PATTERNS, accompany, pattern_of, strokes, voice_chord
from musicai.composition.harmony import QUALITIES, ChordSpan, add_chords, rhythm_of
from musicai.notes import Melody

METERS = [*COMMON, (6, 16)]


@pytest.mark.parametrize("meter", METERS)
def test_every_metre_has_an_accompaniment(meter):
    bar = 4 * meter[0] / meter[1]
    melody = Melody.from_pitches([72, 76, 79, 77] * 3, bar / 3, key="C major", time_signature=meter)
    chords = add_chords(melody)
    hand, bass = accompany(melody, chords)
    assert (hand.name, bass.name) == ("chords", "bass")
    assert max(note.end for note in hand.notes) == pytest.approx(4 * bar)
    for track in (hand, bass):
        for note in track.notes:
            chord = next(c for c in chords if c.end > note.start + 1e-6)
            assert note.pitch % 12 in chord.pitch_classes
            assert note.end <= chord.end + 1e-6
            assert note.velocity < 80
    assert {note.start % bar for note in bass.notes} >= {0.0}


def test_a_jig_in_full():
    chord = ChordSpan(0, 3, 0, "major")
    found = [(start, end, letter) for start, end, letter, _ in strokes((6, 8), [chord, ChordSpan(3, 6, 7, "major")])]
    assert found[:6] == [(0, 0.5, "B"), (0.5, 1, "c"), (1, 1.5, "c"), (1.5, 2, "F"), (2, 2.5, "c"), (2.5, 3, "c")]
    assert found[6:] == [(3, 6, "B"), (3, 6, "c")]  # the last bar is held


def test_held_letters_and_pickups():
    waltz = [(start, end, letter) for start, end, letter, _ in strokes((3, 4), [ChordSpan(0, 7, 0, "major")], 1)]
    assert waltz[0] == (0, 1, "c")  # the third beat of the bar before the first
    assert waltz[1] == (1, 2, "B")


def test_a_hymn_strikes_where_a_chord_or_a_bar_begins():
    chords = [ChordSpan(0, 4, 0, "major"), ChordSpan(4, 12, 5, "major"), ChordSpan(12, 16, 0, "major")]
    assert [start for start, _, letter, _ in strokes((4, 2), chords) if letter == "c"] == [0, 4, 8, 12]


def test_a_new_chord_begins_with_its_root():
    melody = Melody.from_pitches([72] * 8)
    chords = [ChordSpan(0, 2, 0, "major"), ChordSpan(2, 4, 5, "major"), ChordSpan(4, 8, 0, "major")]
    _, bass = accompany(melody, chords)
    assert [note.pitch % 12 for note in bass.notes] == [0, 5, 0]


def test_patterns_fill_bars_evenly():
    for meter, pattern in PATTERNS.items():
        assert pattern_of(meter) == pattern
        assert not pattern or (2 * sum(rhythm_of(meter))) % (len(pattern) / 2) == 0


def test_chords_move_as_little_as_they_can():
    """Compared with all close positions, written down the long way."""
    for root, quality in product(range(12), ("major", "minor", "diminished")):
        previous = (55, 60, 64)
        found = voice_chord(ChordSpan(0, 1, root, quality), previous)
        close = []
        for order in permutations([(root + step) % 12 for step in QUALITIES[quality]]):
            for octave in range(3, 6):
                low = 12 * octave + order[0]
                middle = low + (order[1] - low) % 12
                close.append((low, middle, middle + (order[2] - middle) % 12))
        close = [x for x in close if x[2] - x[0] < 12]
        way = [sum(abs(a - b) for a, b in zip(x, previous, strict=True)) for x in close]
        ours = sum(abs(a - b) for a, b in zip(found, previous, strict=True))
        assert found in close
        assert ours <= min(way) + 1  # the register may decide between positions that are about as near


def test_chords_stay_below_the_melody():
    melody = Melody.from_pitches([60, 59, 57, 55, 57, 59, 60, 62] * 2, key="C major")
    hand, _ = accompany(melody, add_chords(melody))
    for note in hand.notes:
        assert all(note.pitch < n.pitch for n in melody.notes if n.start < note.end and n.end > note.start)
