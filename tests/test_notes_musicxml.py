"""MusicXML and ABC written and read back: the notes survive, hostile and damaged files give one error."""

import io
import tempfile
import zipfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from musicai.notes import Melody, Note, Score, Track, read_abc, read_musicxml, read_score, write_score
from musicai.notes.notation import MODES, Speller, bars, beams, key_name, name_in_key, signature_of, values, voices
from musicai.notes.note import note_name, note_number

DIVISIONS = "<attributes><divisions>2</divisions></attributes>"
WRITTEN = ["song.musicxml", "song.mxl", "song.abc", "song.mid"]


def rows(score):
    """(pitch, start, duration) of all notes, to a millionth of a beat."""
    return sorted((n.pitch, round(n.start, 6), round(n.duration, 6)) for n in score.notes)


def document(body: str, before: str = "", divisions: int = 2) -> bytes:
    """A score of one part around the measures `body`."""
    head = f"<attributes><divisions>{divisions}</divisions></attributes>"
    body = body.replace("<measure>", f"<measure>{head}", 1)
    return f'<score-partwise>{before}<part id="P1">{body}</part></score-partwise>'.encode()


def note(step: str, duration: int, more: str = "", octave: int = 4) -> str:
    first = "<chord/>" if "chord" in more else ""
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{first}{pitch}<duration>{duration}</duration>{more.replace('chord', '')}</note>"


def heard(data: bytes, **arguments) -> list[tuple]:
    return [(n.pitch, n.start, n.duration) for n in read_musicxml(data, **arguments).notes]


def works_or_says(call, name: str) -> None:
    """Either nothing is raised or one ValueError that names the file."""
    said = name
    try:
        call()
    except ValueError as error:
        said = str(error)
    assert name in said


# ---- reading, by hand


def test_chords_voices_rests_and_grace_notes():
    grace = "<note><grace/><pitch><step>B</step><octave>4</octave></pitch></note>"
    rest = "<note><rest/><duration>2</duration></note>"
    second = "<backup><duration>6</duration></backup><forward><duration>4</duration></forward>" + note("E", 2, octave=3)
    data = document(f"<measure>{note('C', 2)}{note('E', 2, 'chord')}{grace}{rest}{note('G', 2)}{second}</measure>")
    assert heard(data) == [(60, 0, 1), (64, 0, 1), (52, 2, 1), (67, 2, 1)]


def test_ties_join_over_the_bar_line_and_divisions_change():
    change = "<attributes><divisions>6</divisions></attributes>"
    one, two = note("C", 4, '<tie type="start"/>'), note("C", 2, '<tie type="stop"/>')
    data = document(f"<measure>{note('C', 4)}{one}</measure><measure>{change}{two}{note('C', 4)}</measure>")
    assert heard(data) == [(60, 0, 2), (60, 2, 2 + 1 / 3), (60, 4 + 1 / 3, pytest.approx(2 / 3))]


def test_accidentals_transposition_key_time_tempo_and_names():
    clarinet = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    more = f"<key><fifths>2</fifths></key><time><beats>3+2</beats><beat-type>8</beat-type></time>{clarinet}"
    sharp = "<note><pitch><step>F</step><alter>1</alter><octave>5</octave></pitch><duration>4</duration></note>"
    tempo = '<direction><direction-type/><offset>1</offset><sound tempo="90"/></direction>'
    about = (
        "<work><work-title> Air </work-title></work><part-list><score-part id='P1'><part-name>Clarinet</part-name>"
        "<midi-instrument id='x'><midi-program>72</midi-program><pan>-45</pan></midi-instrument></score-part>"
        "</part-list>"
    )
    score = read_musicxml(document(f"<measure><attributes>{more}</attributes>{tempo}{sharp}</measure>", about))
    assert (score.name, score.key, score.time_signatures) == ("Air", "C major", ((0, 5, 8),))
    assert score.tempos == ((0, 120), (0.5, 90))
    assert score.tracks == (Track([Note(76, 0, 2)], 71, name="Clarinet", pan=-0.5),)


def test_a_part_on_channel_10_is_drums_and_notes_without_pitch_are_dropped():
    about = (
        "<part-list><score-part id='P1'><part-name>Kit</part-name><midi-instrument id='d1'>"
        "<midi-channel>10</midi-channel></midi-instrument></score-part></part-list>"
    )
    where = "<unpitched><display-step>F</display-step><display-octave>4</display-octave></unpitched>"
    hit = f"<note>{where}<duration>1</duration></note>"
    (track,) = read_musicxml(document(f"<measure>{hit}{note('C', 1, octave=2)}</measure>", about)).tracks
    assert track.is_drum
    assert [(n.pitch, n.start) for n in track.notes] == [(36, 0.5)]


def test_repeats_are_played_on_request():
    forward, backward = (
        '<barline><repeat direction="forward"/></barline>',
        '<barline><repeat direction="backward"/></barline>',
    )
    one, two = (f'<barline><ending number="{i}" type="start"/></barline>' for i in (1, 2))
    body = f"<measure>{note('C', 8)}</measure><measure>{one}{note('D', 8)}{backward}</measure>"
    data = document(f"{body}<measure>{two}{note('E', 8)}</measure>")
    assert [pitch for pitch, _, _ in heard(data)] == [60, 62, 64]
    assert heard(data, expand_repeats=True) == [(60, 0, 4), (62, 4, 4), (60, 8, 4), (64, 12, 4)]
    data = document(f"<measure>{note('C', 8)}</measure><measure>{forward}{note('D', 8)}{backward}</measure>")
    assert heard(data, expand_repeats=True) == [(60, 0, 4), (62, 4, 4), (62, 8, 4)]
    body = f"<measure>{note('C', 8)}{backward}</measure><measure>{forward}{note('D', 8)}{backward}</measure>"
    other = body.replace("<step>C", "<step>E").replace("<step>D", "<step>F")
    data = document(f'{body}</part><part id="P2">{other.replace("<measure>", "<measure>" + DIVISIONS, 1)}')
    twice = [(60, 0), (64, 0), (60, 4), (64, 4), (62, 8), (65, 8), (62, 12), (65, 12)]
    assert [(pitch, start) for pitch, start, _ in heard(data, expand_repeats=True)] == twice


def test_parts_stay_together_where_one_has_an_empty_measure():
    body = f"<measure>{note('C', 8)}</measure><measure>{note('D', 8)}</measure>"
    head = "<attributes><divisions>2</divisions></attributes>"
    other = f'</part><part id="P2"><measure>{head}</measure><measure>{note("E", 8)}</measure>'
    assert heard(document(body + other)) == [(60, 0, 4), (62, 4, 4), (64, 4, 4)]


# ---- what is refused

LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 11))  # of ten thousand million "ha"
BOMB = f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not well-formed XML"),
        (b"hello", "not well-formed XML"),
        (b"<html/>", "begins with <html>"),
        (b"<score-timewise/>", "score-timewise"),
        (f"{BOMB}<score-partwise>&a10;</score-partwise>".encode(), "amplification"),
        (f"{BOMB}<score-partwise>&a10;</score-partwise>".encode("utf-16"), "amplification"),
        (f"{OUTSIDE}<score-partwise>&a;</score-partwise>".encode(), "undefined entity"),
        (b'<?xml version="1.0" encoding="klingon"?><score-partwise/>', "not well-formed XML"),
        (b"PK\3\4 and nothing more", "damaged archive"),
        (document("<measure><backup><duration>1</duration></backup></measure>"), "goes back"),
        (document(f"<measure>{note('C', 1)}</measure>", divisions=0), "divisions '0'"),
        (document(f"<measure>{note('C', 'x')}</measure>"), "duration 'x' is not a number"),
        (document(f"<measure>{note('C', 'nan')}</measure>"), "duration 'nan' is not a number"),
        (document(f"<measure>{note('C', '1e12')}</measure>"), "duration '1e12' is not a number"),
        (document(f"<measure>{note('C', 1 << 29)}</measure>"), "beats, over 1,048,576"),
        (document(f"<measure>{note('H', 1)}</measure>"), "step 'H'"),
        (document(f"<measure>{note('C', 1, octave=44)}</measure>"), "pitch 540"),
    ],
)
def test_refused_with_a_reason(data, message):
    with pytest.raises(ValueError, match=r"^MusicXML bytes: ") as error:
        read_musicxml(data)
    assert message in str(error.value)


def test_a_type_declaration_is_not_fetched():
    kind = (
        '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://nowhere.invalid/x.dtd">'
    )
    assert heard(kind.encode() + document(f"<measure>{note('C', 2)}</measure>")) == [(60, 0, 1)]


def archive(**members: bytes) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


def test_archives():
    music = document(f"<measure>{note('C', 2)}</measure>")
    container = b'<container><rootfiles><rootfile full-path="two.xml"/></rootfiles></container>'
    members = {"one.xml": b"<html/>", "two.xml": music, "META-INF__container.xml": container}
    assert heard(archive(**members)) == [(60, 0, 1)]
    assert heard(archive(**{"two.xml": music})) == [(60, 0, 1)]
    with pytest.raises(ValueError, match="no score in the archive"):
        read_musicxml(archive(readme=b""))
    with pytest.raises(ValueError, match="over 32 MiB of XML"):
        read_musicxml(archive(**{"bomb.xml": b" " * (33 << 20)}))


@given(st.binary(max_size=300), st.integers(0, 3000), st.booleans())
@settings(max_examples=80)
def test_damaged_files_give_a_score_or_one_error(patch, at, zipped):
    melody = Melody.from_pitches([60, 61, 64, None, 66], [1, 1 / 3, 2 / 3, 1, 5], key="D minor")
    data = files(melody)[zipped]
    works_or_says(lambda: read_musicxml(data[:at] + patch + data[at + len(patch) :]), "MusicXML bytes: ")


@given(st.data())
@settings(max_examples=80)
def test_any_text_in_any_place_gives_a_score_or_one_error(data):
    text = files(Melody.from_pitches([60, None, 64], [1, 0.5, 3]))[0].decode()
    places = [i for i in range(len(text) - 1) if text[i] == ">" and text[i + 1] not in "<\n"]
    at = data.draw(st.sampled_from(places)) + 1
    odd = st.sampled_from(
        ["", "-1", "0", "1e9", "9" * 5000, "nan", "inf", "1_0", "٣", "x", "</note>", "<rest/>", "<chord/>"]
    )
    new = text[:at] + data.draw(odd) + text[text.index("<", at) :]
    works_or_says(lambda: read_musicxml(new.encode()), "MusicXML bytes: ")


@cache
def files(melody) -> tuple[bytes, bytes]:
    """The melody as MusicXML, plain and compressed."""
    with tempfile.TemporaryDirectory() as folder:
        for name in WRITTEN[:2]:
            write_score(Path(folder, name), melody)
        return tuple(Path(folder, name).read_bytes() for name in WRITTEN[:2])


# ---- written and read back

beats = st.integers(0, 24 * 12).map(lambda x: x / 24)
lengths = st.integers(1, 24 * 6).map(lambda x: x / 24)
notes = st.builds(Note, st.integers(0, 127), beats, lengths, st.integers(1, 127))
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=8
)
tracks = st.builds(
    Track, st.lists(notes, min_size=1, max_size=8), st.integers(0, 127), st.booleans(), names.map(str.strip)
)
metres = st.sampled_from([(4, 4), (3, 4), (6, 8), (2, 2), (5, 8), (7, 16), (1, 4)])
keys = st.sampled_from(["", "C major", "Eb major", "F# minor", "D dorian", "A mixolydian", "Cb major", "B locrian"])
scores = st.builds(
    lambda tracks, one, two, key, name, bpm: Score(tracks, ((0, bpm), (3, 99.5)), ((0, *one), (8.5, *two)), key, name),
    st.lists(tracks, min_size=1, max_size=3), metres, metres, keys, names.map(str.strip), st.floats(20, 400),
)  # fmt: skip


@given(scores)
@settings(max_examples=30)
def test_musicxml_keeps_everything(tmp_path_factory, score):
    path = tmp_path_factory.getbasetemp() / "song.musicxml"
    write_score(path, score)
    back = read_score(path)
    assert len(back.tracks) == len(score.tracks)
    for one, two in zip(score.tracks, back.tracks, strict=True):
        assert (one.program, one.is_drum, one.name) == (two.program, two.is_drum, two.name)
        assert rows(Score((one,))) == rows(Score((two,)))
        assert sorted(n.velocity for n in one.notes) == sorted(n.velocity for n in two.notes)
    assert (back.key, back.name) == (score.key, score.name)
    assert back.tempos[0][1] == pytest.approx(score.tempos[0][1])
    assert back.time_signatures[0] == score.time_signatures[0]


@given(scores)
@settings(max_examples=30)
def test_abc_keeps_the_pitched_notes(tmp_path_factory, score):
    path = tmp_path_factory.getbasetemp() / "song.abc"
    write_score(path, score)
    pitched = Score([track for track in score.tracks if not track.is_drum])
    if pitched.tracks:
        back = read_score(path)
        assert rows(back) == rows(pitched)
        assert (back.key, back.time_signatures[0]) == (score.key, score.time_signatures[0])


@given(
    st.lists(st.tuples(st.integers(36, 96), st.integers(1, 60), st.integers(0, 24)), min_size=1, max_size=20),
    metres,
    keys,
)
@example([(60, 8, 0)] * 3 + [(62, 16, 0), (64, 8, 0)], (4, 4), "Eb major")
@settings(max_examples=50)
def test_values_fill_every_bar(steps, metre, key):
    line, at = [], 0
    for pitch, length, gap in steps:
        line.append(Note(pitch, (at + gap) / 24, length / 24))
        at += gap + length
    score = Melody(line, key=key, time_signature=metre).to_score()
    (voice,) = voices(score.tracks[0], chords=True)
    for start, stop, _ in bars(score):
        found = list(values(voice, start, stop))
        assert sum(value.duration for value in found) == stop - start
        for value in found:  # the written value, shortened by its tuplet, is what sounds
            written = Fraction(2) ** value.power * (2 - Fraction(1, 2**value.dots))
            assert written == value.duration * Fraction(*value.tuplet)
        assert sum(v.edges[0] for v in found) == sum(v.edges[1] for v in found)


def test_rounding_errors_make_no_bar_and_lose_no_note():
    last = Melody((Note(60, 0, 3.9999999), Note(62, 3.9999999, 4.0000002)))
    assert [stop for _, stop, _ in bars(last.to_score())] == [4, 8]
    short = Melody((Note(60, 0, 3.99), Note(62, 3.99, 0.001))).to_score()
    lines = voices(short.tracks[0], chords=True)
    found = [value for start, stop, _ in bars(short) for value in values(lines[0], start, stop) if value.chord]
    assert sum(value.duration for value in found) == 4 + Fraction(1, 24)


def test_a_triplet_is_written_as_a_triplet():
    melody = Melody.from_pitches([60, 62, 64, 65, 67], [1 / 3, 1 / 3, 1 / 3, 2 / 3, 1 / 3])
    (voice,) = voices(melody.to_score().tracks[0], chords=True)
    found = list(values(voice, Fraction(0), Fraction(4)))
    assert [(value.power, value.tuplet) for value in found[:5]] == [(-1, (3, 2))] * 3 + [(0, (3, 2)), (-1, (3, 2))]
    assert [value.edges for value in found[:5]] == [
        (True, False),
        (False, False),
        (False, True),
        (True, False),
        (False, True),
    ]


def test_beams_join_what_is_shorter_than_a_quarter_within_a_beat():
    melody = Melody.from_pitches([60, 62, 64, 65, None, 67, 69, 71], [0.5, 0.25, 0.25, 0.75, 0.25, 0.75, 0.25, 1])
    (voice,) = voices(melody.to_score().tracks[0], chords=True)
    line = list(values(voice, Fraction(0), Fraction(4)))
    one = [["begin"], ["continue", "begin"], ["end", "end"]]
    assert beams(line, (4, 4)) == [*one, [], [], ["begin"], ["end", "backward hook"], []]
    assert beams(line, (12, 8))[:4] == [["begin"], ["continue", "begin"], ["continue", "end"], ["end"]]


@given(st.integers(-7, 7), st.integers(0, 127))
def test_spelling_names_the_pitch(fifths, pitch):
    letter, alteration, octave, _ = Speller(fifths).spell(pitch)
    assert "C D EF G A B".index(letter) + alteration + 12 * (octave + 1) == pitch
    assert abs(alteration) <= 2


@given(st.integers(-7, 7), st.sampled_from(MODES), st.integers(0, 127))
def test_a_name_in_a_key_is_a_name_of_the_pitch_with_the_sharps_or_flats_of_the_key(fifths, mode, pitch):
    name = name_in_key(pitch, key_name(fifths, mode))
    assert note_number(name) == pitch
    if fifths > 1:  # from the tritone before the signature's last sharp on, and never the other way
        assert "b" not in name
    if fifths < -3:
        assert "#" not in name
    assert name_in_key(pitch, "") == name_in_key(pitch, "H-Dur") == note_name(pitch)


def test_accidentals_are_written_once_they_are_needed():
    speller = Speller(-1)  # F major
    assert [speller.spell(pitch)[3] for pitch in (70, 65, 66, 65, 54, 53, 67)] == [
        False,
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    speller.new_bar()
    assert not speller.spell(65)[3]


def test_signatures():
    known = {
        "C major": (0, "C major"),
        "D dorian": (0, "D dorian"),
        "F# minor": (3, "F# minor"),
        "G# major": (-4, "Ab major"),
    }
    assert {key: signature_of(key) for key in known} == known
    assert [signature_of(key) for key in ("", "H major", "C blues")] == [None] * 3


@pytest.mark.parametrize("name", WRITTEN)
def test_an_empty_score_and_one_of_rests(tmp_path, name):
    if name != "song.abc":
        write_score(tmp_path / name, Score(()))
        assert read_score(tmp_path / name).notes == ()


def test_names_that_no_xml_can_hold(tmp_path):
    write_score(tmp_path / "x.musicxml", Melody.from_pitches([60], name="a\x00b\ud800<&>"))
    assert read_score(tmp_path / "x.musicxml").name == "ab<&>"


def test_what_lasts_too_long_is_refused(tmp_path):
    far = Melody((Note(60, 1e6, 1),))
    for name in WRITTEN[:3]:
        with pytest.raises(ValueError, match="over 20,000 bars"):
            write_score(tmp_path / name, far)
    assert list(tmp_path.iterdir()) == []


def test_endings_of_names(tmp_path):
    for call in (lambda path: read_score(path), lambda path: write_score(path, Melody(()))):
        with pytest.raises(ValueError, match=r"tune\.pdf: a score's name ends in \.mid, .*not in '\.pdf'"):
            call(tmp_path / "tune.pdf")
    with pytest.raises(FileNotFoundError):
        read_score(tmp_path / "no.mxl")


# ---- ABC files


def test_many_tunes_and_a_shared_header(tmp_path):
    text = "%abc-2.1\nM:3/4\nL:1/4\n\nX:1\nT:Æ – ’s\nK:C\nCDE|\n\nsome words\n\nX:2\nL:1/8\nK:G\nF|:G:|\n"
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "tunes.abc").write_bytes(text.encode(encoding))
        one, two = read_abc(tmp_path / "tunes.abc", expand_repeats=True)
        assert (one.name, one.time_signature, one.durations.tolist()) == ("Æ – ’s", (3, 4), [1, 1, 1])
        assert (two.pitches.tolist(), two.durations.tolist()) == ([66, 67, 67], [0.5] * 3)


def test_unreadable_tunes_are_counted(tmp_path):
    path = tmp_path / "tunes.abc"
    path.write_text("X:1\nK:C\nC|\n\nX:2\nT:Bad\nK:C\nC/0|\n")
    with pytest.warns(
        UserWarning, match=r"tunes\.abc: 1 of 2 tunes left out; the first is 2 'Bad': a length is divided"
    ):
        assert len(read_abc(path)) == 1
    path.write_text("no music at all")
    with pytest.raises(ValueError, match=r"tunes\.abc: no tune can be read; no key"):
        read_abc(path)
    with pytest.raises(ValueError, match=r"tunes\.abc: no key"):
        read_score(path)


@given(st.binary(max_size=400))
def test_any_bytes_as_abc_give_melodies_or_one_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.abc"
    for content in (data, b"X:1\nK:C\n" + data):
        path.write_bytes(content)
        works_or_says(lambda: read_abc(path), "any.abc")
