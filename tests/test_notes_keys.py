"""Names, frequencies and keys against hand-worked values and music21."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicai.notes import (
    Melody,
    Note,
    Score,
    Track,
    estimate_key,
    hz_to_midi,
    key_correlations,
    midi_to_hz,
    note_name,
    note_number,
    pitch_class,
    transpose_key,
)

# "Ah! vous dirai-je, maman", its first eight bars, in C major.
TWINKLE = Melody.from_pitches([60, 60, 67, 67, 69, 69, 67, 65, 65, 64, 64, 62, 62, 60], [1, 1, 1, 1, 1, 1, 2] * 2)
# "Greensleeves", its first eight bars, in A minor.
GREENSLEEVES = Melody.from_pitches(
    [69, 72, 74, 76, 77, 76, 74, 71, 67, 69, 71, 72, 69, 69, 68, 69, 71, 68, 64],
    [1, 2, 1, 1.5, 0.5, 1, 2, 1, 1.5, 0.5, 1, 2, 1, 1.5, 0.5, 1, 2, 1, 2],
)


def test_pitch_and_frequency_by_hand():
    assert midi_to_hz(69) == 440
    assert midi_to_hz(60) == pytest.approx(261.6256, abs=1e-4)
    assert hz_to_midi(880) == 81
    np.testing.assert_allclose(hz_to_midi(midi_to_hz(np.arange(128))), np.arange(128), atol=1e-9)
    with pytest.raises(ValueError, match=r"frequency 0\.0 Hz has no pitch"):
        hz_to_midi([440, 0])


def test_names_by_hand():
    assert [note_name(p) for p in (0, 21, 60, 61, 69, 127)] == ["C-1", "A0", "C4", "C#4", "A4", "G9"]
    assert all(note_number(note_name(p)) == p for p in range(128))
    for bad in (-1, 128, 60.5):
        with pytest.raises(ValueError, match=str(bad)):
            note_name(bad)
    assert (note_number("Bb3"), note_number("Cb4"), pitch_class("F##")) == (58, 59, 7)
    with pytest.raises(ValueError, match="note name 'H2' does not look like"):
        note_number("H2")


def test_keys_transpose():
    assert transpose_key("D minor", 3) == "F minor"
    assert transpose_key("Cb major", 12) == "Cb major"
    assert transpose_key("C major", 1) == "Db major"
    assert transpose_key("no key at all", 1) == ""


def test_correlation_by_hand():
    """A C major triad, each note one beat, against the major profile: r = 5.4725 / (1.5 * 4.37564)."""
    triad = np.zeros(12)
    triad[[0, 4, 7]] = 1
    correlations = key_correlations(triad)
    assert correlations["C major"] == pytest.approx(0.83378, abs=1e-5)
    assert max(correlations, key=correlations.get) == "C major"
    assert len(correlations) == 24


@pytest.mark.parametrize("semitones", range(-5, 7))
def test_key_of_tunes_in_every_transposition(semitones):
    for tune, key in ((TWINKLE, "C major"), (GREENSLEEVES, "A minor")):
        assert estimate_key(tune.transpose(semitones)) == transpose_key(key, semitones)


def test_drums_have_no_key():
    drums = Track([Note(37, 0, 100)], is_drum=True)
    assert estimate_key(Score((*TWINKLE.to_score().tracks, drums))) == "C major"
    with pytest.raises(ValueError, match="no pitched notes"):
        estimate_key(Score((drums,)))
    with pytest.raises(ValueError, match="all twelve pitch classes sound equally long"):
        estimate_key(Melody.from_pitches(range(60, 72)))


def test_key_agrees_with_music21():
    stream = pytest.importorskip("music21.stream")
    from music21 import analysis, note

    rng = np.random.default_rng(7)
    for _ in range(20):
        degrees = rng.choice([0, 2, 3, 5, 7, 8, 10], size=30) + rng.integers(50, 62)
        lengths = rng.choice([0.5, 1.0, 1.5, 2.0], size=30)
        part = stream.Stream()
        for pitch, length in zip(degrees, lengths, strict=True):
            part.append(note.Note(int(pitch), quarterLength=float(length)))
        theirs = analysis.discrete.KrumhanslSchmuckler().getSolution(part)
        tonic, mode = estimate_key(Melody.from_pitches(degrees, lengths)).split()
        assert (pitch_class(tonic), mode) == (theirs.tonic.pitchClass, theirs.mode)


@given(st.lists(st.integers(40, 80), min_size=1, max_size=30), st.integers(-12, 12))
def test_intervals_and_key_follow_a_transposition(pitches, semitones):
    melody = Melody.from_pitches(pitches)
    moved = melody.transpose(semitones)
    assert moved.intervals.tolist() == melody.intervals.tolist()
    best = sorted(key_correlations(np.bincount(melody.pitches % 12, minlength=12)).values())[-2:]
    if best[1] - best[0] > 1e-9:
        assert estimate_key(moved) == transpose_key(estimate_key(melody), semitones)
