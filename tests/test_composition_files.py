"""Songs written to MIDI, MusicXML and ABC, and read by programs that are not ours."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from musicai.notes import Note, Score, Track, write_score
from musicai.notes.notation import signature_of

SONGS = [
    ("D dorian", (6, 8), 110),
    ("Bb minor", (4, 4), 96),
    ("F# mixolydian", (3, 4), 181),
    ("E phrygian", (9, 8), 60),
]
RHYTHMS = {  # of three or two eighths, in twelfths of a quarter note
    3: [(6, 6, 6), (12, 6), (6, 12), (18,), (9, 3, 6), (6, 6, 3, 3)],
    2: [(6, 6), (12,), (9, 3), (3, 9), (4, 4, 4), (3, 3, 3, 3), (2, 2, 2, 6)],
}


@pytest.fixture(scope="module")
def readers():
    """The folder's script of that name."""
    pytest.importorskip("music21")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        yield importlib.import_module("readers")


def song(key, meter, tempo):
    """Eight bars of melody, chords and bass, as `compose` writes them, with notes tied over bar lines."""
    rng, ticks, melody = np.random.default_rng(sum(meter)), 0, []
    bar = 48 * meter[0] // meter[1]
    size = 3 if meter[1] == 8 else 2
    while ticks < 8 * bar:
        kind = RHYTHMS[size]
        for length in kind[rng.integers(len(kind))]:
            if rng.random() < 0.15 and melody and melody[-1][1] + melody[-1][2] == ticks:
                melody[-1][2] += length  # held on, over the beat or the bar line
            elif rng.random() < 0.9:
                melody.append([int(rng.integers(60, 84)), ticks, length])
            ticks += length
    notes = [Note(pitch, start / 12, length / 12) for pitch, start, length in melody]
    roots, half = rng.integers(48, 60, 8), bar / 24
    chords = [
        Note(r + up, 2 * half * i + at, half) for i, r in enumerate(roots) for up in (0, 3, 7) for at in (0, half)
    ]
    bass = [Note(root - 12, 2 * half * i, 2 * half) for i, root in enumerate(roots)]
    tracks = (Track(notes, 73, name="melody"), Track(chords, name="chords"), Track(bass, 32, name="bass"))
    return Score(tracks, ((0.0, float(tempo)),), ((0.0, *meter),), key=key, name="A song, & more")


@pytest.mark.parametrize(("key", "meter", "tempo"), SONGS)
def test_others_read_what_was_written(readers, tmp_path, key, meter, tempo):
    score = song(key, meter, tempo)
    notes = readers.rounded([(note.pitch, note.start, note.duration) for note in score.notes])
    for name in ("song.mid", "song.musicxml", "song.abc"):
        write_score(tmp_path / name, score)
        programs = [readers.read_by_music21] + [readers.read_by_symusic] * name.endswith(".mid")
        programs += [readers.read_by_verovio] * name.endswith(".musicxml")
        for read in programs:
            found = read(tmp_path / name)
            assert found.notes == notes, (name, read.__name__)
            assert found.tempo == pytest.approx(tempo, abs=0.01)
            assert found.meter == meter
            assert found.sharps == signature_of(key)[0]
