"""MIDI files in and out, through symusic. Chapter 1."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import symusic

from musicai.notes.midi_check import MidiError, check
from musicai.notes.note import Note, Track
from musicai.notes.score import Melody, Score
from musicai.notes.theory import pitch_class

TICKS = 960  # a quarter note; 64ths, triplets and quintuplets are exact
MAX_BYTES = 8 << 20
MAX_NOTES = 1_000_000
MAX_HOURS = 24
PAN = 10  # the controller's number

# The keys of -7 (flats) to 7 (sharps) accidentals.
MAJOR_SIGNATURES = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR_SIGNATURES = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")


def read_midi(source: str | os.PathLike | bytes) -> Score:
    """`score = read_midi("song.mid")`: the score in a MIDI file, or in its bytes. Chapter 1.

    Each (track, channel, program) that holds notes becomes a `Track`. A note that is never let go is left out; one let
    go at once gets one tick. Of a pitch struck again while it sounds, the first struck ends first. Kept: notes,
    programs, drums, names, pan (as it stands at the first note), tempos, time signatures, the opening key.

    Raises:
        MidiError: the file is broken, counts SMPTE frames, or is beyond all music (over 8 MiB, a million notes or
            24 hours); the message names the file and the reason.
        OSError: there is no such file, or it may not be read.
    """
    what = "MIDI bytes" if isinstance(source, (bytes, bytearray, memoryview)) else os.fspath(source)
    data = bytes(source) if what == "MIDI bytes" else _read(source)
    try:
        if len(data) > MAX_BYTES:
            raise MidiError(f"it is larger than {MAX_BYTES >> 20} MiB")
        title = check(data).decode("utf-8", "replace")
        return _from_symusic(symusic.Score.from_midi(data), title)
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise MidiError(f"{what}: {error}") from None


def write_midi(path: str | os.PathLike, score: Score | Melody) -> None:
    """`write_midi("song.mid", score)`: a score or a melody as a format-1 MIDI file, 960 ticks a quarter. Chapter 1.

    Times move to the nearest tick (1/1920 beat at most), a note lasts one at least; pan keeps 7 bits; tempos keep
    whole microseconds a beat; tracks without notes are not kept. A failed write leaves an old file as it was.

    Raises:
        MidiError: MIDI cannot hold the score (a tempo below 3.58, a length over 24 hours); the message says why.
        OSError: the file cannot be written.
    """
    score = score.to_score() if isinstance(score, Melody) else score
    if not isinstance(score, Score):
        raise TypeError(f"{os.fspath(path)}: give a Score or a Melody to write, not {type(score).__name__}")
    try:
        data = _to_symusic(score).dumps_midi()
    except (ValueError, RuntimeError, OverflowError) as error:
        raise MidiError(f"{os.fspath(path)}: {error}") from None
    _write(Path(path), data)


def _read(path) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing: into a temporary file beside, then renamed."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder is in the way")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _from_symusic(midi, title: str) -> Score:
    if midi.note_num() > MAX_NOTES:
        raise MidiError(f"it holds more than {MAX_NOTES:,} notes")
    tempos = {0.0: 120.0} | {event.time / midi.tpq: _bpm(event.mspq) for event in midi.tempos}
    signatures = {0.0: (4, 4)} | {e.time / midi.tpq: (e.numerator, e.denominator) for e in midi.time_signatures}
    score = Score(
        tuple(_from_symusic_track(track, midi.tpq) for track in midi.tracks if len(track.notes)),
        tuple(sorted(tempos.items())),
        tuple((beat, *pair) for beat, pair in sorted(signatures.items())),
        key=_key_name(midi.key_signatures[0]) if len(midi.key_signatures) else "",
        name=title,
    )
    return _checked_length(score)


def _from_symusic_track(track, tpq: int) -> Track:
    events = track.notes.numpy()
    starts, durations = events["time"] / tpq, np.maximum(events["duration"], 1) / tpq
    columns = (events["pitch"], starts, durations, events["velocity"])
    notes = [Note(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    first = events["time"].min()
    pans = [event for event in track.controls if event.number == PAN]
    pan = [event.value for event in pans if event.time <= first][-1:] or [event.value for event in pans][:1] or [64]
    return Track(notes, track.program, track.is_drum, track.name, max(-1.0, (pan[0] - 64) / 63))


def _to_symusic(score: Score):
    _checked_length(score)
    midi = symusic.Score(TICKS)
    for beat, bpm in score.tempos:
        midi.tempos.append(symusic.Tempo(_tick(beat), mspq=_microseconds(bpm)))
    for beat, numerator, denominator in score.time_signatures:
        midi.time_signatures.append(symusic.TimeSignature(_tick(beat), numerator, denominator))
    signature = _key_signature(score.key)
    if signature:
        midi.key_signatures.append(symusic.KeySignature(0, *signature))
    if score.name:
        midi.tracks.append(symusic.Track(name=score.name))  # a first track without notes is where titles live
    for track in score.tracks:
        midi.tracks.append(_to_symusic_track(track))
    return midi


def _to_symusic_track(track: Track):
    out = symusic.Track(name=track.name, program=track.program, is_drum=track.is_drum)
    if track.pan:
        out.controls.append(symusic.ControlChange(0, PAN, 64 + round(63 * track.pan)))
    for note in track.notes:
        start = _tick(note.start)
        out.notes.append(symusic.Note(start, max(1, _tick(note.end) - start), note.pitch, note.velocity))
    return out


def _tick(beat: float) -> int:
    return round(beat * TICKS)


def _checked_length(score: Score) -> Score:
    hours = score.seconds(max(score.duration, score.tempos[-1][0], score.time_signatures[-1][0])) / 3600
    if hours > MAX_HOURS:
        raise MidiError(f"it lasts {hours:,.0f} hours, more than {MAX_HOURS}")
    return score


def _microseconds(bpm: float) -> int:
    """Tempo as MIDI has it: microseconds a quarter note, in 24 bits."""
    microseconds = round(60e6 / bpm)
    if not 1 <= microseconds < 1 << 24:
        raise MidiError(f"tempo {bpm} is outside the 3.58 to 60,000,000 beats a minute that MIDI can hold")
    return microseconds


def _bpm(microseconds: int) -> float:
    """The shortest decimal that is stored as this many microseconds: 618557 is 97, not 96.99995."""
    if microseconds < 1:
        raise MidiError("a tempo is 0 microseconds a quarter note")
    exact = 60e6 / microseconds
    rounded = (round(exact, digits) for digits in range(12))
    return next((bpm for bpm in rounded if bpm and round(60e6 / bpm) == microseconds), exact)


def _key_name(signature) -> str:
    names = {0: MAJOR_SIGNATURES, 1: MINOR_SIGNATURES}.get(signature.tonality)
    if names is None or not -7 <= signature.key <= 7:
        raise MidiError(f"a key signature has {signature.key} accidentals, mode {signature.tonality}")
    return f"{names[signature.key + 7]} {('major', 'minor')[signature.tonality]}"


def _key_signature(key: str) -> tuple[int, int] | None:
    """(accidentals, mode) of "D minor"; None for what MIDI has no signature for."""
    tonic, _, mode = key.partition(" ")
    modes = {"major": (MAJOR_SIGNATURES, 0), "minor": (MINOR_SIGNATURES, 1)}
    if mode not in modes:
        return None
    names, number = modes[mode]
    with suppress(ValueError):
        spelled = [tonic] if tonic in names else [n for n in names if pitch_class(n) == pitch_class(tonic)]
        return names.index(spelled[0]) - 7, number
    return None
