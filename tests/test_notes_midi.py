"""MIDI: what is written is read back; broken files raise one error that says why."""

import os
import struct
from dataclasses import replace

import numpy as np
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Melody, MidiError, Note, Score, Track, read_midi, write_midi
from musicai.notes.midi import TICKS, _events

GRID = st.integers(0, 400).map(lambda n: n / 12)  # twelfths of a beat: sixteenths and triplets
LONG = st.integers(1, 48).map(lambda n: n / 12)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
KEYS = st.sampled_from(["", "C major", "Eb minor", "F# minor", "Cb major", "A# minor"])


def alone(notes: list[Note]) -> list[Note]:
    """Without notes that a pitch's earlier note still covers: MIDI cannot tell those apart."""
    ends, kept = {}, []
    for note in sorted(notes, key=lambda n: n.start):
        gap = note.start - ends.get(note.pitch, -1.0)
        if gap == 0 or gap > 0.01:
            kept.append(note)
            ends[note.pitch] = note.end
    return kept


def scores(start, duration):
    notes = st.builds(Note, st.integers(0, 127), start, duration, st.integers(1, 127))
    lists = st.lists(notes, min_size=1, max_size=12).map(alone)
    pan = st.integers(-63, 63).map(lambda n: n / 63)
    tracks = st.lists(st.builds(Track, lists, st.integers(0, 127), st.booleans(), NAMES, pan), min_size=1, max_size=15)
    changes = st.lists(st.integers(1, 300), unique=True, max_size=4).map(lambda beats: [0, *sorted(beats)])
    tempos = changes.flatmap(lambda b: st.tuples(*(st.tuples(st.just(x), st.integers(10, 700)) for x in b)))
    bars = st.tuples(st.integers(1, 255), st.sampled_from([1, 2, 4, 8, 16, 128]))
    meters = changes.flatmap(lambda b: st.tuples(*(bars.map(lambda pair, x=x: (x, *pair)) for x in b)))
    return st.builds(Score, tracks.map(tuple), tempos, meters, KEYS, NAMES)


def there_and_back(score: Score, folder) -> Score:
    path = folder / "score.mid"
    write_midi(path, score)
    assert [p.name for p in folder.iterdir()] == ["score.mid"]
    return read_midi(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("midi")


@settings(max_examples=40)
@given(score=scores(GRID, LONG))
def test_scores_on_the_grid_come_back_as_they_were(score, folder):
    back = there_and_back(score, folder)
    assert back.tempos == score.tempos
    assert back.time_signatures == score.time_signatures
    assert (back.key, back.name) == (score.key, score.name)
    assert len(back.tracks) == len(score.tracks)
    for new, old in zip(back.tracks, score.tracks, strict=True):
        assert (new.program, new.is_drum, new.name) == (old.program, old.is_drum, old.name)
        assert new.pan == pytest.approx(old.pan, abs=1e-12)
        assert [(n.pitch, n.velocity) for n in new.notes] == [(n.pitch, n.velocity) for n in old.notes]
        for a, b in zip(new.notes, old.notes, strict=True):
            assert (a.start, a.duration) == pytest.approx((b.start, b.duration), abs=1e-12)


@settings(max_examples=40)
@given(score=scores(st.floats(0, 500), st.floats(0.01, 50)))
def test_any_score_comes_back_to_the_nearest_tick(score, folder):
    back = there_and_back(score, folder)
    for new, old in zip(back.tracks, score.tracks, strict=True):
        key = lambda n: (n.pitch, n.start)  # noqa: E731
        for a, b in zip(sorted(new.notes, key=key), sorted(old.notes, key=key), strict=True):
            assert (a.pitch, a.velocity) == (b.pitch, b.velocity)
            assert a.start == pytest.approx(b.start, abs=0.5 / TICKS + 1e-9)
            assert a.end == pytest.approx(b.end, abs=0.5 / TICKS + 1e-9)


@given(bpm=st.floats(3.6, 5000))
@settings(max_examples=40)
def test_tempo_keeps_whole_microseconds_and_settles(bpm, folder):
    score = Score((Track([Note(60, 0, 1)]),), tempos=((0, bpm),))
    back = there_and_back(score, folder)
    assert abs(60e6 / back.tempos[0][1] - 60e6 / bpm) <= 1
    assert there_and_back(back, folder).tempos == back.tempos


def test_symusic_reads_what_we_write(tmp_path):
    write_midi(tmp_path / "a.mid", Melody.from_pitches([60, 62], [1, 0.5], key="D minor", tempo=97).to_score(40))
    midi = symusic.Score(tmp_path / "a.mid")
    (track,) = midi.tracks
    assert (midi.tpq, track.program, track.is_drum) == (960, 40, False)
    assert [(n.time, n.duration, n.pitch, n.velocity) for n in track.notes] == [(0, 960, 60, 80), (960, 480, 62, 80)]
    assert midi.tempos[0].mspq == 618557
    assert (midi.key_signatures[0].key, midi.key_signatures[0].tonality) == (-1, 1)


# ---- files by hand, byte by byte

ON, OFF, END = b"\x00\x90\x3c\x50", b"\x60\x80\x3c\x40", b"\x00\xff\x2f\x00"


def chunk(events: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(events)) + events


def midi_file(*events: bytes, layout=1, division=96, tracks=None) -> bytes:
    head = struct.pack(">4sIHHH", b"MThd", 6, layout, len(events) if tracks is None else tracks, division)
    return head + b"".join(chunk(e) for e in events)


def test_a_file_by_hand():
    score = read_midi(midi_file(b"\x00\xff\x03\x04Song" + ON + OFF + END, layout=0))
    assert score == Score((Track([Note(60, 0, 1, 80)], name="Song"),), name="Song")


@pytest.mark.parametrize(
    ("events", "notes"),
    [
        (ON + b"\x60\x3c\x00" + END, [Note(60, 0, 1, 80)]),  # running status, velocity 0 lets go
        (ON + b"\x30\xff\x01\x01a" + b"\x30\x3c\x00" + END, [Note(60, 0, 1, 80)]),  # running over a text
        (ON + b"\x00\x80\x3c\x00" + END, [Note(60, 0, 1 / 96, 80)]),  # let go at once: a tick
        (ON + END, []),  # never let go
        (ON + OFF, [Note(60, 0, 1, 80)]),  # no end of track
        (ON + b"\x00\x90\x3e\x50" + OFF + END, [Note(60, 0, 1, 80)]),
        (b"\x00\xf0\x02\x01\xf7" + ON + OFF + END, [Note(60, 0, 1, 80)]),  # system exclusive
    ],
)
def test_what_files_may_do(events, notes):
    assert list(read_midi(midi_file(events)).notes) == notes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin with a whole MThd header"),
        (b"RIFF" + bytes(40), "does not begin with a whole MThd header"),
        (b"RIFF" + bytes(4) + b"RMIDdata" + bytes(40), "does not begin with a whole MThd header"),
        (midi_file(ON + OFF + END, ON + OFF + END, layout=2), r"2 tracks are independent patterns \(format 2\)"),
        (midi_file(ON + OFF + END, division=0), "0 ticks per quarter note"),
        (midi_file(ON + OFF + END, division=0xE728), "SMPTE"),
        (midi_file(ON + OFF + END, tracks=3), "ends after 1 of the 3 tracks"),
        (midi_file(ON + OFF + END)[:-1], "promises 12 bytes; 11 are left"),
        (midi_file(ON + b"\x60\x80\x3c"), "track 0 ends within an event"),
        (midi_file(b"\x00\x3c\x50" + END), "00 3c 50 is not a MIDI message"),
        (midi_file(b"\x00\x90\xbc\x50" + END), "90 bc 50 is not a MIDI message"),
        (midi_file(b"\x00\xf4" + END), "f4 00 ff is not a MIDI message"),
        (midi_file(b"\xff\xff\xff\xff\x00\x90\x3c\x50"), "longer than 4 bytes"),
        (midi_file(b"\x00\xff\x01\xff\xff\xff\x7f"), "track 0 ends within an event"),
        (midi_file(b"\xff\xff\xff\x7f\x90\x3c\x40" + OFF + END), "hours, more than 24"),
        (midi_file(b"\x00\xff\x01\x7f" + bytes(127)) + bytes(8 << 20), "larger than 8 MiB"),
    ],
)
def test_broken_files_say_why(data, reason, tmp_path):
    with pytest.raises(MidiError, match=reason):
        read_midi(data)
    path = tmp_path / "broken.mid"
    path.write_bytes(data)
    with pytest.raises(MidiError, match=r"broken\.mid: .*" + reason):
        read_midi(path)


def second(at: bytes) -> bytes:
    """Middle C once more, for a beat, this delta time later."""
    return at + b"\x90\x3c\x50\x60\x80\x3c\x40"


@pytest.mark.parametrize(
    ("events", "notes"),
    [
        # note-off lost: 0, 1 (both end at 2), 3..4, 5..6
        (ON + second(b"\x60") + second(b"\x60") + second(b"\x60"), [(0, 2), (1, 1), (3, 1), (5, 1)]),
        # struck three times, one note-off
        (ON + b"\x60\x90\x3c\x50" + second(b"\x60"), [(0, 3), (1, 2), (2, 1)]),
        # struck again before the note-off of the same tick: the first ends, the second sounds on
        (ON + b"\x60\x90\x3c\x50\x00\x80\x3c\x00" + OFF, [(0, 1), (1, 1)]),
        # a note-off too many, and another channel's
        (ON + b"\x60\x81\x3c\x00\x60\x80\x3c\x00\x60\x80\x3c\x00", [(0, 2)]),
    ],
)
def test_notes_end_as_in_pretty_midi(events, notes):
    """Its rule: a note-off ends all notes of its pitch and channel that began before it."""
    assert [(n.start, n.duration) for n in read_midi(midi_file(events + END)).notes] == notes


ODD = [
    b"\x00\xff\x59\x02\x08\x00",  # eight sharps
    b"\x00\xff\x59\x02\x00\x02",  # a third mode
    b"\x00\xff\x59\x01\x02",  # too short
    b"\x00\xff\x51\x03\x00\x00\x00",  # no time at all
    b"\x00\xff\x51\x00",
    b"\x00\xff\x58\x04\x04\x40\x18\x08",  # 2 ** 64 in the bar
    b"\x00\xff\x58\x04\x00\x02\x18\x08",  # no beat in the bar
    b"\x00\xff\x58\x01\x04",
    b"\x00\xff\x54\x05\x60\x00\x03\x00\x00",  # SMPTE offset
    b"\x00\xff\x7f\x03\x00\x00\x41",  # sequencer specific
    b"\x00\xf7\x01\xf3",  # an escaped byte
]


@pytest.mark.parametrize("odd", ODD)
def test_odd_events_do_not_lose_the_file(odd):
    assert read_midi(midi_file(odd + ON + OFF + END)) == read_midi(midi_file(ON + OFF + END))
    inside = b"\x60" + odd[1:] + b"\x60\x3c\x00"  # and a running status goes on after it
    assert read_midi(midi_file(ON + inside + END)).notes == (Note(60, 0, 2, 80),)


def test_a_key_without_a_signature_is_respelled(folder):
    score = Score((Track([Note(60, 0, 1)]),), key="D# major")
    assert there_and_back(score, folder).key == "Eb major"


def test_a_mode_is_kept_as_text_beside_the_signature_of_a_major_or_minor_key(folder):
    score = Score((Track([Note(60, 0, 1)]),))
    for mode, key in {
        "E dorian": "B minor",
        "G mixolydian": "C major",
        "F lydian": "C major",
        "E phrygian": "A minor",
        "B locrian": "A minor",
    }.items():
        assert there_and_back(replace(score, key=mode), folder).key == mode
        written = (folder / "score.mid").read_bytes()
        for other in (b"F# dorian", b"a text"):  # does not agree, or is not a key: the signature decides
            text = b"\xff\x01" + bytes([len(mode)]) + mode.encode()
            changed = b"\xff\x01" + bytes([len(mode)]) + other.ljust(len(mode))[: len(mode)]
            assert text in written
            assert read_midi(written.replace(text, changed)).key == key
    assert there_and_back(replace(score, key="H"), folder).key == ""


def test_longer_headers_other_chunks_and_riff_are_read():
    plain = midi_file(ON + OFF + END)
    longer = plain[:4] + struct.pack(">I", 10) + plain[8:14] + b"more" + plain[14:]
    other = plain[:14] + b"XFIH" + struct.pack(">I", 3) + b"abc" + plain[14:]
    riff = b"RIFF" + struct.pack("<I", len(plain) + 26) + b"RMID" + b"DISP" + struct.pack("<I", 6) + b"abcdef"
    riff += b"data" + struct.pack("<I", len(plain)) + plain
    for data in (longer, other, riff, midi_file(ON + OFF + END, layout=2)):
        assert read_midi(data) == read_midi(plain)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"F\xfcr Elise \xa9 2008", "Für Elise © 2008"),
        (b"Fl\xf6te", "Flöte"),
        (b"Don\x92t \x93stop\x94", "Don’t “stop”"),
        (b"caf\xe9 \x8f", "café \x8f"),
        ("ピアノ".encode("cp932"), "ピアノ"),
        ("主旋律".encode("cp932"), "主旋律"),
        ("ﾋﾟｱﾉ 1".encode("cp932"), "ﾋﾟｱﾉ 1"),
        ("Vn さくら".encode("cp932"), "Vn さくら"),
        ("Für Elise – ピアノ".encode(), "Für Elise – ピアノ"),
        (b"padded\x00\x00", "padded"),
        (b"\xef\xbb\xbfmarked", "marked"),
    ],
)
def test_names_keep_their_letters(raw, text, folder):
    title = b"\x00\xff\x03" + bytes([len(raw)]) + raw
    score = read_midi(midi_file(title + END, title + ON + OFF + END))
    assert (score.name, score.tracks[0].name) == (text, text)
    assert there_and_back(score, folder) == score


def test_names_that_no_file_can_hold(tmp_path):
    write_midi(tmp_path / "a.mid", Melody.from_pitches([60], name="a\udc90b"))  # half of a character
    assert read_midi(tmp_path / "a.mid").name == "a?b"
    (tmp_path / "\udc90.mid").write_bytes(b"")
    with pytest.raises(MidiError, match=r"\\udc90\.mid: not a MIDI file"):
        read_midi(tmp_path / "\udc90.mid")


def heard(data: bytes) -> dict[tuple[int, int], tuple[int, int]]:
    """(program, pan) in force when each (tick, pitch) begins, for a player that merges the tracks."""
    events = []
    for k, chunk in enumerate(data.split(b"MTrk")[1:]):
        events += [(tick, k, i, status, content) for i, (tick, status, content) in enumerate(_events(chunk[4:], k))]
    programs, pans, found = [0] * 16, [64] * 16, {}
    for tick, _, _, status, content in sorted(events):
        kind, channel = status & 0xFFF0, status & 15
        if kind == 0xC0:
            programs[channel] = content[0]
        elif kind == 0xB0 and content[0] == 10:
            pans[channel] = content[1]
        elif kind == 0x90:
            found[tick, content[0]] = programs[channel], pans[channel], channel == 9
    return found


@pytest.mark.parametrize("tracks", [15, 17, 40])
def test_a_player_hears_the_right_programs(tracks, folder):
    sounds = [(5 * i if tracks < 16 else i % 15, (i % 5 - 2) * 31 / 63, False) for i in range(tracks)]
    sounds += [(0, 0.0, True), (25, 0.0, True), (0, 1 / 63, True)]
    score = Score([Track([Note(30 + i, i / 4, 1)], p, d, f"p{i}", pan) for i, (p, pan, d) in enumerate(sounds)])
    assert there_and_back(score, folder).tracks == score.tracks
    wanted = {(240 * i, 30 + i): (p, 64 + round(63 * pan), d) for i, (p, pan, d) in enumerate(sounds)}
    assert heard((folder / "score.mid").read_bytes()) == wanted


def test_more_instruments_than_channels_are_refused(tmp_path):
    score = Score([Track([Note(60, i, 1)], program=5 * i) for i in range(17)])
    with pytest.raises(MidiError, match=r"17 different programs and pans; MIDI has 15 channels.*give some the same"):
        write_midi(tmp_path / "a.mid", score)
    assert not list(tmp_path.iterdir())


@settings(max_examples=30)
@given(score=scores(GRID, LONG))
def test_symusic_reads_the_same_score(score, folder):
    there_and_back(score, folder)
    tracks = [t for t in symusic.Score(folder / "score.mid").tracks if len(t.notes)]
    for theirs, ours in zip(tracks, score.tracks, strict=True):
        assert (theirs.program, theirs.is_drum, theirs.name) == (ours.program, ours.is_drum, ours.name)
        notes = sorted((n.time / TICKS, n.pitch, n.duration / TICKS, n.velocity) for n in theirs.notes)
        wanted = sorted((n.start, n.pitch, n.duration, n.velocity) for n in ours.notes)
        np.testing.assert_allclose(notes, wanted, atol=1e-9)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.mid"
    write_midi(path, Melody.from_pitches([60]).to_score())
    old = path.read_bytes()
    with pytest.raises(MidiError, match=r"a\.mid: tempo 2\.0 is not in MIDI"):
        write_midi(path, Melody.from_pitches([62], tempo=2).to_score())
    with pytest.raises(MidiError, match="a gap of 960,000,000,000 ticks is longer than MIDI can represent"):
        write_midi(path, Score((Track([Note(60, 1e9, 1)]),)))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_midi(path, Melody.from_pitches([64]).to_score())
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a.mid"]


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mid"):
        read_midi(tmp_path / "none.mid")


def test_a_melody_is_written_as_its_score(tmp_path):
    melody = Melody.from_pitches([60, None, 64], [1, 0.5, 2], name="tune", key="D minor", tempo=90)
    write_midi(tmp_path / "melody.mid", melody)
    write_midi(tmp_path / "score.mid", melody.to_score())
    assert (tmp_path / "melody.mid").read_bytes() == (tmp_path / "score.mid").read_bytes()
    assert read_midi(tmp_path / "melody.mid").melody() == melody


def test_what_cannot_be_written_is_named(tmp_path):
    melody = Melody.from_pitches([60])
    with pytest.raises(FileNotFoundError, match=r"no/a\.mid: there is no folder .*no; create it first"):
        write_midi(tmp_path / "no" / "a.mid", melody)
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        write_midi(tmp_path, melody)
