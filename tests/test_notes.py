"""Notes, melodies and scores: what may be built, and what follows from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicai.notes import Melody, Note, Score, Track


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pitch": 128}, "pitch 128 is not a whole number from 0 to 127"),
        ({"pitch": -1}, "pitch -1 is not a whole number from 0 to 127"),
        ({"pitch": 60.5}, r"pitch 60\.5 is not a whole number"),
        ({"velocity": 0}, "velocity 0 is not a whole number from 1 to 127"),
        ({"start": -0.5}, r"start -0\.5 is not a finite number of at least 0"),
        ({"start": float("nan")}, "start nan is not a finite number"),
        ({"duration": 0}, r"duration 0\.0 is not a finite number above 0"),
        ({"duration": float("inf")}, "duration inf is not a finite number"),
        ({"duration": "long"}, "duration 'long' is not a finite number above 0"),
        ({"start": None}, "start None is not a finite number"),
        ({"start": 10**400}, "start 10+"),
        ({"pitch": "C4"}, "pitch 'C4' is not"),
        ({"velocity": []}, r"velocity \[\] is not"),
    ],
)
def test_a_note_says_what_is_wrong(fields, message):
    with pytest.raises(ValueError, match=message):
        Note(**({"pitch": 60, "start": 0, "duration": 1} | fields))


def test_a_note_takes_numpy_numbers_and_keeps_plain_ones():
    note = Note(np.int64(60), np.float32(0.5), 2, np.uint8(100))
    assert note == Note(60, 0.5, 2.0, 100)
    assert [type(x) for x in (note.pitch, note.start, note.duration, note.velocity)] == [int, float, float, int]
    assert note.end == 2.5


def test_melody_by_hand():
    melody = Melody.from_pitches([60, None, 64, 62], durations=[1, 0.5, 0.5, 2])
    assert melody.pitches.tolist() == [60, 64, 62]
    assert melody.intervals.tolist() == [4, -2]
    assert melody.starts.tolist() == [0, 1.5, 2]
    assert melody.durations.tolist() == [1, 0.5, 2]
    assert melody.duration == 4
    assert len(melody) == 3
    assert Melody.from_pitches([60, 62], durations=[1, 0.5]).notes == (Note(60, 0, 1), Note(62, 1, 0.5))


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="pitch 200 is not"):
        Melody.from_pitches([60, 62, 200])
    with pytest.raises(ValueError, match=r"duration -1\.0 is not a finite number above 0"):
        Melody.from_pitches([60, 62], [1, -1])
    with pytest.raises(ValueError, match="2 pitches but 1 durations"):
        Melody.from_pitches([60, 62], [1])
    with pytest.raises(ValueError, match=r"note 1 starts at 0\.5, before note 0 .*ends"):
        Melody((Note(60, 0, 1), Note(62, 0.5, 1)))
    with pytest.raises(ValueError, match="note 1 is 62, not a Note"):
        Track((Note(60, 0, 1), 62))
    with pytest.raises(ValueError, match="pitch 131 is not a whole number from 0 to 127"):
        Melody.from_pitches([60, 120]).transpose(11)


def test_score_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"each tempo needs a beat: .* got \[0\.0, 0\.0\]"):
        Score((), tempos=((0, 100), (0, 120)))
    with pytest.raises(ValueError, match=r"each tempo needs a beat: .* got \[1\.0\]"):
        Score((), tempos=((1, 100),))
    with pytest.raises(ValueError, match=r"tempo 0\.0 is not a finite number above 0"):
        Score((), tempos=((0, 0),))
    with pytest.raises(ValueError, match="4/3: the lower number must be a power of two"):
        Score((), time_signatures=((0, 4, 3),))
    with pytest.raises(ValueError, match=r"a score takes a list of Tracks, not .*Note"):
        Score((Note(60, 0, 1),))
    with pytest.raises(ValueError, match=r"pan 1\.5 is outside"):
        Track((), pan=1.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Score((), tempos=100), r"tempos 100 is not a list such as \[\(0, 120\)\]"),
        (lambda: Score((), tempos=(0, 100)), r"tempos \(0, 100\) is not a list"),
        (lambda: Score((), tempos=[(0, 100, 3)]), r"tempos \[\(0, 100, 3\)\] is not a list"),
        (lambda: Score((), time_signatures=(3, 4)), r"time_signatures \(3, 4\) is not a list such as \[\(0, 3, 4\)\]"),
        (lambda: Score((), time_signatures="3/4"), "time_signatures '3/4' is not a list"),
        (lambda: Score(5), r"tracks 5 is not a list such as \[Track"),
        (lambda: Score((), key=None), "key None is not text"),
        (lambda: Track(Note(60, 0, 1)), r"notes Note.* is not a list such as \[Note"),
        (lambda: Track((), name=5), "name 5 is not text"),
        (lambda: Melody(None), r"notes None is not a list such as \[Note"),
        (lambda: Melody((), key=5), "key 5 is not text"),
        (lambda: Melody.from_pitches(60), r"pitches 60 is not a list such as \[60, None, 62\]"),
        (lambda: Melody.from_pitches([60], [None]), "duration None is not a finite number"),
    ],
)
def test_what_is_no_list_or_no_text_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_may_be_any_iterables():
    score = Score(iter([Track([Note(60, 0, 1)])]), tempos=np.array([[0, 60], [2, 90]]), time_signatures=[[0, 3, 4]])
    assert score.tempos == ((0.0, 60.0), (2.0, 90.0))
    assert score.time_signatures == ((0.0, 3, 4),)
    assert len(score.tracks) == 1


def test_transposing_moves_notes_and_key_but_not_drums():
    drums = Track((Note(36, 0, 1),), is_drum=True)
    score = Score((Track((Note(60, 0, 1),)), drums), key="D minor").transpose(3)
    assert [t.notes[0].pitch for t in score.tracks] == [63, 36]
    assert score.key == "F minor"
    melody = Melody.from_pitches([60, 64, 61], key="Eb major")
    assert melody.transpose(-3).pitches.tolist() == [57, 61, 58]
    assert melody.transpose(-3).key == "C major"
    assert melody.transpose(5).transpose(-5) == melody


def test_seconds_by_hand():
    score = Score((), tempos=((0, 60), (4, 120), (6, 30)))  # 4 s, then 1 s, then 2 s a beat
    assert score.seconds(2) == 2
    assert score.seconds(6) == 5
    assert score.seconds([0, 4, 5, 7]).tolist() == [0, 4, 4.5, 7]
    assert score.beats([0, 4, 4.5, 7]).tolist() == [0, 4, 5, 7]
    assert isinstance(score.seconds(1), float)


tempo_maps = st.lists(st.tuples(st.floats(0.01, 50), st.floats(5, 500)), max_size=6).map(
    lambda steps: [(0.0, 100.0), *zip(np.cumsum([s for s, _ in steps]).tolist(), [b for _, b in steps], strict=True)]
)


@given(tempos=tempo_maps, beats=st.lists(st.floats(0, 400), min_size=1, max_size=9))
def test_seconds_and_beats_are_inverse_and_rise(tempos, beats):
    score = Score((), tempos=tempos)
    seconds = score.seconds(beats)
    np.testing.assert_allclose(score.beats(seconds), beats, rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(score.seconds(sorted(beats))) >= 0)


def test_melody_of_a_score_is_the_skyline():
    tune = [Note(72, 0, 2), Note(74, 2, 1), Note(71, 3, 1)]
    chords = [Note(48, 0, 4), Note(64, 0, 1), Note(64, 1, 1), Note(67, 2, 2)]
    drums = Track([Note(81, 0.5, 1)], is_drum=True)
    score = Score((Track(chords), Track(tune), drums), tempos=((0, 90),), key="C major", name="Air")
    assert score.melody() == Melody(tuple(tune), "Air", "C major", 90)


def test_skyline_cuts_at_a_higher_note_and_forgives_legato():
    notes = [Note(60, 0, 4), Note(64, 1, 1.1), Note(62, 2, 1)]
    assert Score((Track(notes),)).melody().notes == (Note(60, 0, 1), Note(64, 1, 1), Note(62, 2, 1))


@given(st.lists(st.builds(Note, st.integers(0, 127), st.floats(0, 50), st.floats(1e-3, 9)), max_size=40))
def test_skyline_of_anything_is_a_melody_of_its_notes(notes):
    melody = Score((Track(notes),)).melody()  # Melody's own checks refuse an overlap
    assert {(n.pitch, n.start) for n in melody.notes} <= {(n.pitch, n.start) for n in notes}
    assert bool(melody.notes) == bool(notes)


def test_concat():
    a = Melody.from_pitches([60, 62], tempo=100).to_score()
    b = Melody.from_pitches([64], tempo=80, time_signature=(3, 4)).to_score()
    joined = a.concat(b)
    assert joined.tracks[0].notes == (Note(60, 0, 1), Note(62, 1, 1), Note(64, 2, 1))
    assert joined.tempos == ((0, 100), (2, 80))
    assert joined.time_signatures == ((0, 4, 4), (2, 3, 4))
    assert joined.seconds(3) == pytest.approx(2 * 0.6 + 0.75)
    bass = joined.concat(Melody.from_pitches([48]).to_score(program=32))
    assert [(t.program, len(t.notes)) for t in bass.tracks] == [(0, 3), (32, 1)]


def test_values_hash_and_compare():
    melody = Melody.from_pitches([60, 62])
    assert len({melody, Melody.from_pitches([60, 62])}) == 1
    assert len({melody.to_score(), melody.to_score()}) == 1


@pytest.mark.parametrize("pair", ["6/8", 4, None, (4, 4, 4), []])
def test_a_time_signature_is_a_pair(pair):
    with pytest.raises(ValueError, match=r"time signature .* is not a pair such as \(6, 8\)"):
        Melody.from_pitches([60], time_signature=pair)
