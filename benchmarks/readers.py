"""What music21, symusic and Verovio read in a written song: its notes, tempo, metre and signature."""

import base64
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import music21
import symusic
import verovio


class Reading(NamedTuple):
    """What a file says.

    Args:
        notes: (pitch, start, duration) of every note, sorted; times in quarter notes, to a 48th.
        tempo: quarter notes per minute at the beginning.
        meter: (numerator, denominator) at the beginning.
        sharps: of the key signature, negative for flats; None if there is no signature.
    """

    notes: list[tuple[int, float, float]]
    tempo: float
    meter: tuple[int, int]
    sharps: int | None


def on_grid(beats) -> float:
    """Round to a 48th of a quarter note, which is finer than anything that is composed."""
    return float(Fraction(round(float(beats) * 48), 48))


def read_by_symusic(path: Path, lost: int = 0) -> Reading:
    """Read a MIDI file in which each note is shorter by so many ticks."""
    score = symusic.Score(path)
    ticks = score.ticks_per_quarter
    notes = [(n.pitch, n.time / ticks, (n.duration + lost) / ticks) for track in score.tracks for n in track.notes]
    meter = score.time_signatures[0]
    sharps = score.key_signatures[0].key if score.key_signatures else None
    return Reading(rounded(notes), score.tempos[0].qpm, (meter.numerator, meter.denominator), sharps)


def read_by_music21(path: Path) -> Reading:
    """Read a MIDI, MusicXML or ABC file; tied notes are joined."""
    score = music21.converter.parse(path, forceSource=True, quantizePost=False, storePickle=False)
    notes = [note for part in score.parts for note in joined(part)]
    flat = score.flatten()
    meter = flat[music21.meter.TimeSignature].first()
    marks = [mark.getQuarterBPM() for mark in flat[music21.tempo.MetronomeMark]]
    key = flat[music21.key.KeySignature].first()
    return Reading(
        rounded(notes), marks[0] if marks else 120.0, (meter.numerator, meter.denominator), key and key.sharps
    )


def read_by_verovio(path: Path) -> Reading:
    """Read a MusicXML file by the MIDI file that Verovio makes of it; a ValueError if it warns."""
    verovio.enableLog(verovio.LOG_WARNING)  # on the file descriptor 2
    toolkit, stderr = verovio.toolkit(), os.dup(2)
    with tempfile.TemporaryFile("w+") as log, tempfile.NamedTemporaryFile(suffix=".mid") as file:
        os.dup2(log.fileno(), 2)
        try:
            read = toolkit.loadFile(str(path))
            file.write(base64.b64decode(toolkit.renderToMIDI()))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        log.seek(0)
        if (warning := log.read()) or not read:
            raise ValueError(f"{path}: {warning}")
        file.flush()
        return read_by_symusic(Path(file.name), lost=1)


def joined(part: music21.stream.Part) -> list[tuple]:
    """The notes of a part, with ties joined; stripTies takes a natural and a note without an accidental for two."""
    notes, open_ties = [], {}
    for item in part.flatten().notes:
        for single in item.notes if isinstance(item, music21.chord.Chord) else [item]:
            tie = (single.tie or item.tie) and (single.tie or item.tie).type
            note = (
                open_ties.pop((single.pitch.midi, on_grid(item.offset)), None) if tie in ("stop", "continue") else None
            )
            if note is None:
                notes.append(note := [single.pitch.midi, item.offset, 0])
            note[2] = item.offset + item.quarterLength - note[1]
            if tie in ("start", "continue"):
                open_ties[single.pitch.midi, on_grid(item.offset + item.quarterLength)] = note
    return [tuple(note) for note in notes]


def rounded(notes: list[tuple]) -> list[tuple[int, float, float]]:
    """Sorted, with times on the grid."""
    return sorted((pitch, on_grid(start), on_grid(start + length) - on_grid(start)) for pitch, start, length in notes)
