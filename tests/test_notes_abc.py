"""ABC read by the standard: accidentals to the bar line, tuplets, fields, decorations; the notes of music21's parse."""

import warnings

import pytest

from musicai.data import folk
from musicai.notes import Melody, Score, Track
from musicai.notes.abc import label_of, parse_tune, read_abc_score, write_abc
from musicai.notes.notation import join_ties

BARS = ["|", "||", "|]", "[|", "|:", ":|", "::", ":|:", ":||:", ".|", "[|]", "|1", ":|2", "[1", "|[2", "::[2"]
HEADER = "X:1\nT:t\nM:4/4\nL:1/4\nK:C\n"


def rows(text: str) -> list[tuple[int, float, float]]:
    return [(note.pitch, note.start, note.duration) for note in parse_tune(text)["notes"]]


def notes(abc: str, header: str = HEADER) -> list[tuple[int, float, float]]:
    return [pytest.approx(row) for row in rows(header + abc + "\n")]


def pitches(abc: str, header: str = HEADER) -> list[int]:
    return [pitch for pitch, _, _ in rows(header + abc + "\n")]


def lengths(abc: str, header: str = HEADER) -> list[float]:
    return pytest.approx([length for _, _, length in rows(header + abc + "\n")])


def test_fields():
    text = "X:7\nT:Test\nM:6/8\nL:1/8\nQ:3/8=80\nK:Dm\nd2f a3 |\n"
    row = parse_tune(text)
    assert (row["number"], row["name"], row["key"], row["tempo"]) == ("7", "Test", "D minor", 120.0)
    assert row["time_signature"] == (6, 8)
    assert rows(text) == [(74, 0, 1), (77, 1, 0.5), (81, 1.5, 1.5)]


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("C D | E2 z F |", [(60, 0, 1), (62, 1, 1), (64, 2, 2), (65, 5, 1)]),  # a rest is a gap
        ("C x D y E Z F", [(60, 0, 1), (62, 2, 1), (64, 3, 1), (65, 8, 1)]),  # invisible, no time, a whole bar
        ("C3 D- | D4 |", [(60, 0, 3), (62, 3, 5)]),  # a tie
        ("C2- C- C- | C4 |", [(60, 0, 8)]),  # a chain of ties
        ("C2 D2- | E4 |", [(60, 0, 2), (62, 2, 2), (64, 4, 4)]),  # a slur written as a tie
        ("|: C D :| E F |", [(60, 0, 1), (62, 1, 1), (64, 2, 1), (65, 3, 1)]),  # repeats as written
        ("[CEG]2 [Ac]2 |", [(67, 0, 2), (72, 2, 2)]),  # the top note of a chord
        ("[C2G]- [CG]2 [c-e-] [ce] |", [(67, 0, 4), (76, 4, 2)]),  # tied chords
        ("{g}C2 {fga}D2 |", [(60, 0, 2), (62, 2, 2)]),  # grace notes take no time
        ('"Am"C2 "^SEGUE"D2 ">"E |', [(60, 0, 2), (62, 2, 2), (64, 4, 1)]),  # chord symbols and words
        ("HC2 ~D .E TF vG |", [(60, 0, 2), (62, 2, 1), (64, 3, 1), (65, 4, 1), (67, 5, 1)]),  # signs of one letter
        ("!fade!C2 +segno+D2 !D.C. al fine!E +ff+F", [(60, 0, 2), (62, 2, 2), (64, 4, 1), (65, 5, 1)]),  # decorations
        ("+C3E3+ D", [(64, 0, 3), (62, 3, 1)]),  # a chord of ABC 1.6
        ("C A::D E", [(60, 0, 1), (69, 1, 1), (62, 2, 1), (64, 3, 1)]),  # not a field "A:"
        ("C D !\nE F !\nG |", [(60, 0, 1), (62, 1, 1), (64, 2, 1), (65, 3, 1), (67, 4, 1)]),  # an old line break
        ("C \\\nD % E F\n%%staffsep 5 E\nG |", [(60, 0, 1), (62, 1, 1), (67, 2, 1)]),  # lines that go on, comments
        ("C2 & E2 | D |", [(60, 0, 2), (62, 2, 1)]),  # the first layer of a bar
        ("C D\n\nThe bag on a cafe bed |", [(60, 0, 1), (62, 1, 1)]),  # an empty line ends the tune
        ("G3 Hx | A |", [(67, 0, 3), (69, 3, 1)]),  # a fermata over the bar line
        ("w: a bad bed\nC D\nW: a cab", [(60, 0, 1), (62, 1, 1)]),
    ],
)
def test_hand_worked_notes(abc, expected):
    assert notes(abc) == expected


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("^C C | C", [61, 61, 60]),  # to the bar line
        ("^C c | ^c C", [61, 72, 73, 60]),  # in its octave
        ("^C, C, C =C, C,", [49, 49, 60, 48, 48]),
        ("^C =C C _C C", [61, 60, 60, 59, 59]),
        ("^^F F __B B =B B", [67, 67, 69, 69, 71, 71]),
        ("T^C C ~_B B .=B B", [61, 61, 70, 70, 71, 71]),  # behind a decoration
        ("{^C}D C | C", [62, 61, 60]),  # grace notes count
        ("[^CE] C [CE,] | C", [64, 61, 61, 60]),  # chords, too
        ("C ^C-|C C", [60, 61, 60]),  # a tie over the bar line keeps the pitch of its own note only
        ("^C- | D C", [61, 62, 60]),
        ("^C (3CDC C", [61, 61, 62, 61, 61]),
        ("^C [K:G] C F", [61, 60, 66]),  # a new signature
        *((f"^C{bar}C", [61, 60]) for bar in BARS),
        ('^C ["1st" C | C', [61, 61, 60]),
    ],
)
def test_accidentals_last_to_the_bar_line(abc, expected):
    assert pitches(abc) == expected


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("C/ D/4 E// F3/2 G3/ A8", [0.5, 0.25, 0.25, 1.5, 1.5, 8]),
        ("C>D E<F", [1.5, 0.5, 0.5, 1.5]),
        ("C>>D E<<<F", [1.75, 0.25, 0.125, 1.875]),
        ("C>(D E)<.F G>{a}A c>-B", [1.5, 0.5, 0.5, 1.5, 1.5, 0.5, 1.5, 0.5]),  # over slurs, signs and graces
        ("C>z D", [1.5, 1]),
        ("(3CDE F2 |", [2 / 3] * 3 + [2]),
        ("(3{c}CDE F2 |", [2 / 3] * 3 + [2]),  # a grace note is none of the three
        ("((3CD)E (3(C{d}D)E F", [2 / 3] * 6 + [1]),
        ("(3C>DE F", [1, 1 / 3, 2 / 3, 1]),
        ("(2CD (4CDEF (6CDEFGA", [1.5] * 2 + [0.75] * 4 + [1 / 3] * 6),
        ("(5CDEFG A", [0.4] * 5 + [1]),  # 5 in the time of 2
        ("[M:6/8](5CDEFG A", [0.6] * 5 + [1]),  # of 3 in a compound metre
        ("(3:2:4CDEF G", [2 / 3] * 4 + [1]),
        ("(5:4CDEFG A", [0.8] * 5 + [1]),
        ("(3::2C2D E", [4 / 3, 2 / 3, 1]),
        ("(3[CE]zD E", [2 / 3, 2 / 3, 1]),
        ("C [L:1/8] D [L:1/16]E\nL:1/2\nF [M:3/4] G", [1, 0.5, 0.25, 2, 2]),  # fields in a line and between lines
        ("[C2E2]2 [CE]/ [C/E]", [4, 0.5, 0.5]),
    ],
)
def test_lengths(abc, expected):
    assert lengths(abc) == expected


@pytest.mark.parametrize(
    ("metre", "expected", "unit"),
    [
        ("C", (4, 4), 0.5),
        ("C|", (2, 2), 0.5),
        ("2/4", (2, 4), 0.25),
        ("6/8", (6, 8), 0.5),
        ("none", (4, 4), 0.5),
        ("2+3/8", (5, 8), 0.25),
        ("2+2+3/8", (7, 8), 0.5),
        ("(2+2+3)/8", (7, 8), 0.5),
        ("2 + 3 / 4", (5, 4), 0.5),
        ("FREI4/4", (4, 4), 0.5),
    ],
)
def test_metres_and_the_length_they_imply(metre, expected, unit):
    row = parse_tune(f"X:1\nM:{metre}\nK:C\nC|\n")
    assert (row["time_signature"], row["notes"][0].duration) == (expected, unit)


@pytest.mark.parametrize(
    ("tempo", "expected"),
    [("1/4=100", 100), ("3/8=80", 120), ('"Slow" 1/2 =50', 100), ("1/4 3/8=40", 100), ("90", 90), ('"Slow"', 120)],
)
def test_tempos(tempo, expected):
    assert parse_tune(f"X:1\nQ:{tempo}\nK:C\nC|\n")["tempo"] == expected


@pytest.mark.parametrize(
    ("key", "name", "expected"),  # of F G A B c d e
    [
        ("C", "C major", "65 67 69 71 72 74 76"),
        ("G", "G major", "66 67 69 71 72 74 76"),
        ("Gm", "G minor", "65 67 69 70 72 74 75"),
        ("Ador", "A dorian", "66 67 69 71 72 74 76"),
        ("Bb", "Bb major", "65 67 69 70 72 74 75"),
        ("F#m", "F# minor", "66 68 69 71 73 74 76"),
        ("EbLyd", "Eb lydian", "65 67 69 70 72 74 75"),
        ("A Mix", "A mixolydian", "66 67 69 71 73 74 76"),
        ("C#", "C# major", "66 68 70 72 73 75 77"),
        ("Abm", "Ab minor", "64 66 68 70 71 73 75"),
        ("E Phrygian", "E phrygian", "65 67 69 71 72 74 76"),
        ("Bloc", "B locrian", "65 67 69 71 72 74 76"),
        ("AMinor clef=bass", "A minor", "65 67 69 71 72 74 76"),
        ("HP", "", "65 67 69 71 72 74 76"),
        ("Hp", "", "66 67 69 71 73 74 76"),
        ("none", "", "65 67 69 71 72 74 76"),
        ("D =c", "D major", "66 67 69 71 72 74 76"),
        ("D Phr ^f", "D phrygian", "66 67 69 70 72 74 75"),
        ("D exp _b _e ^f", "", "66 67 69 70 72 74 75"),
    ],
)
def test_keys(key, name, expected):
    row = parse_tune(f"X:1\nL:1/4\nK:{key}\nFGABcde|\n")
    assert (row["key"], " ".join(str(note.pitch) for note in row["notes"])) == (name, expected)


@pytest.mark.parametrize("mark", ["V:1", "[V:1]"])
def test_first_voice_is_put_together(mark):
    other = mark.replace("1", "2")
    abc = f"{mark}\nC D | E F |\n{other}\nC4 | C4 |\n{mark} \nG A | G2 |\n{other}\n C4 | C4 |\n"
    assert pitches(abc) == [60, 62, 64, 65, 67, 69, 67]


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_line_ends_of_other_systems(newline):
    text = HEADER + "^C C |\nC D\n\na text about ABC"
    assert parse_tune(text.replace("\n", newline)) == parse_tune(text)
    assert pitches(text, "") == [61, 61, 60, 62]


def test_unreadable_tunes_are_named_and_the_rest_read():
    tunes = {"M:x/y\nK:C\nCDE|": "M:x/y", "K:C": "no notes", "CDE|": "no key", "Q:1/0=80\nK:C\nC": "divided by zero"}
    tunes |= {"K:C\n^/C": "microtone", "K:zz\nC": "K:zz", "K:C\nC/0": "a length is divided by zero"}
    tunes |= {f"{field}\nK:C\nC": f"{field}: not a length" for field in ("L:1/G", "L:1/0", "L:0")}
    tunes |= {f"{field}\nK:C\nC": f"{field}: not a metre" for field in ("M:0/4", "M:4/0", "M:4")}
    for text, reason in tunes.items():
        with pytest.raises(ValueError, match=reason):
            parse_tune(f"X:8\nT:Broken\n{text}\n")
    assert label_of("X:8\nT:Broken\nK:C\n") == "8 'Broken'"


def test_agrees_with_the_full_parse_of_music21():
    """Two dozen tunes of all three collections; `scripts/check_abc.py` compares all 4,248."""
    pytest.importorskip("music21", reason="pip install musicai[corpus]")
    from music21 import converter, harmony

    texts = [text for name in folk.COLLECTIONS for text in folk.read_texts(name)][::170]
    for text in texts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rule = "%abc-2.1\n%%propagate-accidentals octave\n"
            part = converter.parseData(rule + text, format="abc").parts[0]
        full = [
            (max(p.midi for p in n.pitches), n.offset, n.quarterLength, True, bool(n.tie) and n.tie.type != "stop")
            for n in part.flatten().notes
            if not isinstance(n, harmony.Harmony) and not n.duration.isGrace
        ]
        if not any(sign in text for sign in ("H", ">(", '">', "::")):  # faults of music21
            assert rows(text) == [pytest.approx(tuple(n)) for n in join_ties(full)], label_of(text)


def test_parts_keep_their_names(tmp_path):
    tune, low = Melody.from_pitches([72, 74]).notes, Melody.from_pitches([48, 50]).notes
    for names in (("melody",), ("oboe d'amore", 'the "low" 5% part'), ("", "bass")):
        tracks = tuple(Track(notes, name=name) for name, notes in zip(names, (tune, low), strict=False))
        write_abc(tmp_path / "song.abc", Score(tracks))
        found = read_abc_score(tmp_path / "song.abc").tracks
        assert [track.name for track in found] == [name.replace('"', "") for name in names]
        assert [track.notes for track in found] == [track.notes for track in tracks]
    header = 'X:1\nV:1 clef=treble name="Tune"\nV:2 nm="Ground" clef=bass\nK:C\n[V:1]cd|\n[V:2]C2|\n'
    (tmp_path / "header.abc").write_text(header)
    assert [track.name for track in read_abc_score(tmp_path / "header.abc").tracks] == ["Tune", "Ground"]


@pytest.mark.parametrize(
    ("line", "key", "first"),
    [
        ("K:D dA FA | d2 fd |", "D major", [74, 69, 66, 69, 74, 78, 74]),
        ("K:Am|:ABc:|", "A minor", [69, 71, 72]),
        ("K:E minor G | A", "E minor", [67, 69]),
        ('K:Bbmix "Bb7"~B2 |', "Bb mixolydian", [70]),
        ("K:G clef=treble |", "G major", []),
        ("K:G treble |:", "G major", []),
        ("K:G % A | B", "G major", []),
    ],
)
def test_music_after_the_key(line, key, first):
    row = parse_tune(f"X:1\nM:4/4\nL:1/8\n{line}\nG4|\n")
    assert row["key"] == key
    assert [note.pitch for note in row["notes"]] == [*first, 67]
