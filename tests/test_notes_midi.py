"""MIDI: what is written is read back; broken files raise one error that says why."""

import os
import struct

import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.notes import Melody, MidiError, Note, Score, Track, read_midi, write_midi
from musicai.notes.midi import TICKS

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
    tracks = st.lists(st.builds(Track, lists, st.integers(0, 127), st.booleans(), NAMES, pan), min_size=1, max_size=20)
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


@settings(deadline=None, max_examples=100)
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


@settings(deadline=None, max_examples=100)
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
@settings(deadline=None, max_examples=100)
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
        (midi_file(ON + OFF + END, division=0), "0 ticks a quarter note"),
        (midi_file(ON + OFF + END, division=0xE728), "SMPTE"),
        (midi_file(ON + OFF + END, layout=7), "format 7 with 1 tracks"),
        (midi_file(tracks=0), "format 1 with 0 tracks"),
        (midi_file(ON + OFF + END, tracks=3), "ends after 1 of the 3 tracks"),
        (midi_file(ON + OFF + END)[:-1], "promises 12 bytes; 11 are left"),
        (midi_file(ON + b"\x60\x80\x3c"), "track 0 ends within an event"),
        (midi_file(b"\x00\x3c\x50" + END), "where a status byte belongs"),
        (midi_file(b"\x00\x90\xbc\x50" + END), "above 127"),
        (midi_file(b"\x00\xf4" + END), "status byte 0xf4"),
        (midi_file(b"\xff\xff\xff\xff\x00\x90\x3c\x50"), "longer than 4 bytes"),
        (midi_file(ON + OFF + b"\x00\xff\x51\x00"), "meta event 0x51 is 0 bytes long instead of 3"),
        (midi_file(b"\x00\xff\x51\x03\x00\x00\x00" + ON + OFF + END), "0 microseconds"),
        (midi_file(b"\x00\xff\x58\x04\x00\x02\x18\x08" + ON + OFF + END), "time signature"),
        (midi_file(b"\x00\xff\x59\x02\x63\x00" + ON + OFF + END), "key signature has 99 accidentals"),
        (midi_file(b"\x00\xff\x01\xff\xff\xff\x7f"), "promises 268435455 bytes"),
        (midi_file(b"\xff\xff\xff\x7f\xb0\x07\x40" * 9 + ON + OFF + END), "ticks; more than"),
        (midi_file(b"\xff\xff\xff\x7f\x90\x3c\x40" + OFF + END), "hours, more than 24"),
        (midi_file(b"\x00\x90\x3c\x40" * 2_000_001), "more than 2,000,000 events"),
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


def test_millions_of_notes_are_refused():
    running = b"\x00\x3c\x50\x00\x3c\x00"
    with pytest.raises(MidiError, match="more than"):
        read_midi(midi_file(ON + running * 1_000_001 + OFF + END))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.mid"
    write_midi(path, Melody.from_pitches([60]).to_score())
    old = path.read_bytes()
    with pytest.raises(MidiError, match=r"a\.mid: tempo 2\.0 is outside"):
        write_midi(path, Melody.from_pitches([62], tempo=2).to_score())
    with pytest.raises(MidiError, match="hours, more than 24"):
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
    with pytest.raises(FileNotFoundError, match=r"no/a\.mid: no folder .*no; make it first"):
        write_midi(tmp_path / "no" / "a.mid", melody)
    with pytest.raises(IsADirectoryError, match="a folder is in the way"):
        write_midi(tmp_path, melody)
    with pytest.raises(TypeError, match=r"a\.mid: give a Score or a Melody to write, not list"):
        write_midi(tmp_path / "a.mid", [60])
