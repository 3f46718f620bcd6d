"""Notes, melodies and scores: what may be built, and what follows from it."""

import numpy as np
import pytest

from musicai.notes import Melody, Note, Score, Track


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pitch": 128}, r"pitch 128 is outside 0\.\.127"),
        ({"pitch": -1}, r"pitch -1 is outside 0\.\.127"),
        ({"pitch": 60.5}, r"pitch 60\.5 is not a whole number"),
        ({"velocity": 0}, r"velocity 0 is outside 1\.\.127"),
        ({"start": -0.5}, r"start -0\.5 must be 0 or more"),
        ({"start": float("nan")}, "start nan is not finite"),
        ({"duration": 0}, r"duration 0\.0 must be above 0"),
        ({"duration": float("inf")}, "duration inf is not finite"),
        ({"duration": "long"}, "duration 'long' is not a number"),
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


def test_errors_name_the_index_of_the_note():
    with pytest.raises(ValueError, match="note 2: pitch 200 is outside"):
        Melody.from_pitches([60, 62, 200])
    with pytest.raises(ValueError, match="note 1: duration -1.0 must be above 0"):
        Melody.from_pitches([60, 62], [1, -1])
    with pytest.raises(ValueError, match="2 pitches but 1 durations"):
        Melody.from_pitches([60, 62], [1])
    with pytest.raises(ValueError, match=r"note 1 starts at 0\.5, before note 0 .*ends"):
        Melody((Note(60, 0, 1), Note(62, 0.5, 1)))
    with pytest.raises(ValueError, match="note 1 is 62, not a Note"):
        Track((Note(60, 0, 1), 62))
    with pytest.raises(ValueError, match=r"note 1 .*pitch 131 is outside 0\.\.127"):
        Melody.from_pitches([60, 120]).transpose(11)


def test_score_says_what_is_wrong():
    with pytest.raises(ValueError, match="tempo 1 is at beat 0.0, not after beat 0.0"):
        Score((), tempos=((0, 100), (0, 120)))
    with pytest.raises(ValueError, match="first tempo must be at beat 0"):
        Score((), tempos=((1, 100),))
    with pytest.raises(ValueError, match="tempo 0.0 must be above 0"):
        Score((), tempos=((0, 0),))
    with pytest.raises(ValueError, match="4/3: the lower number must be a power of two"):
        Score((), time_signatures=((0, 4, 3),))
    with pytest.raises(ValueError, match="track 0 is .* not a Track"):
        Score((Note(60, 0, 1),))
    with pytest.raises(ValueError, match="pan 1.5 is outside"):
        Track((), pan=1.5)
