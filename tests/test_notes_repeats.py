"""Repeats played out, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicai.notes import Note
from musicai.notes.abc import parse_tune
from musicai.notes.notation import unfold_repeats


def played(abc: str) -> str:
    """The letters of the notes in the order in which they sound."""
    notes = parse_tune(f"X:1\nL:1/4\nK:C\n{abc}\n", expand_repeats=True)["notes"]
    assert [note.start for note in notes] == list(range(len(notes)))  # no gaps
    return "".join("C.D.EF.G.A.B"[note.pitch - 60] for note in notes)


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("CD EF |", "CDEF"),
        ("|: CD :| E |", "CDCDE"),
        ("CD :| E |", "CDCDE"),  # from the beginning
        ("C :| D :| E", "CCDDE"),  # from the last repeat
        ("C || D :|", "CDD"),  # from the last double bar
        ("C |] D :|", "CDD"),
        ("C | \n | D :|", "CDCD"),  # two plain bar lines are no double bar
        ("C [|] :| D", "CCD"),  # nor is an invisible one
        ("|: C || D :|", "CDCD"),  # a repeat that was opened contains the double bar
        ("C :: D :|", "CCDD"),
        ("C :|: D :| |: E :|]", "CCDDEE"),
        ("C :||: D :||", "CCDD"),
        ("C || |: D :|", "CDD"),
        ("|: C |1 D :|2 E | F", "CDCEF"),
        ("C [1 D :| [2 E || F", "CDCEF"),
        ("C |1 D :|2 E :| F :|", "CDCEFF"),  # the second ending isn't repeated
        ("C |[1 D :|[2 E |: F |1 G :|2 A |]", "CDCEFGFA"),
        ("C [1 D :||\n[2 E || F :|", "CDCEFF"),
        ("C |1 D :| E", "CDCE"),  # only one ending is marked
        ("C :|2 D |]", "CCD"),
        ("|: C |1,3 D :|2,4 E |] F", "CDCECDCEF"),
        ("|: C |1-3 D :|4 E |]", "CDCDCDCE"),
        ("|:: C ::| D", "CCCD"),  # three times
        ("C |:: D ::|", "CDDD"),
        ("C |: [M:3/4] |: D :|", "CDD"),  # a sign that is written twice
        ("C [|]:| D", "CCD"),
        ("C :|\n[|] D :|", "CCDD"),
        ("C |:| D", "CCD"),  # as O'Neill's transcribers wrote it
        ("C || \n: D :]", "CDD"),
    ],
)
def test_played_by_hand(abc, expected):
    assert played(abc) == expected


def test_as_written_by_default():
    notes = parse_tune("X:1\nL:1/4\nK:C\n|: C |1 D :|2 E |\n")["notes"]
    assert [note.pitch for note in notes] == [60, 62, 64]


def test_a_tie_sounds_in_every_pass():
    notes = parse_tune("X:1\nL:1/4\nK:C\n|: C ^D- | D :|\n", expand_repeats=True)["notes"]
    assert notes == (Note(60, 0, 1), Note(63, 1, 2), Note(60, 3, 1), Note(63, 4, 2))


signs = st.lists(st.sampled_from(["|", "||", "|:", ":|", "::", "|1", ":|2", "[3", "|]", "[1-9", ":::|", ":"]))


@given(signs)
def test_every_span_is_played_and_none_is_made_up(bars):
    marks = {2 * i + 2: text for i, text in enumerate(bars)}
    spans = unfold_repeats(marks, 2 * len(bars) + 2)
    assert {start for start, _ in spans} == set(range(0, 2 * len(bars) + 1, 2))
    assert all(stop == start + 2 for start, stop in spans)
    assert len(spans) <= 9 * (len(bars) + 1)
