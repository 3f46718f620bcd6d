"""A melody, one note at a time, and a score, many tracks in time. Times are beats (quarter notes). Chapter 1."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from torch import Tensor

from musicai.notes.note import Note, Track, as_notes, changed, real, transposed, whole
from musicai.notes.roll import PIANO, notes_to_roll, roll_to_notes, to_frames
from musicai.notes.theory import transpose_key

SLACK = 1e-6  # beats: what sums of fractions such as 1/3 may miss


@dataclass(frozen=True)
class Melody:
    """Notes one after another; rests are the gaps.

    >>> Melody.from_pitches([60, 62, 64]).intervals.tolist()
    [2, 2]

    Args:
        notes: in order of start, no two overlapping.
        name: a title.
        key: the key, such as "D minor", or "" where unknown.
        tempo: beats (quarter notes) per minute.
        time_signature: (numerator, denominator).

    Raises:
        ValueError: a note starts before the one ahead of it ends; the message names its index.

    Chapter 1.
    """

    notes: tuple[Note, ...]
    name: str = ""
    key: str = ""
    tempo: float = 120.0
    time_signature: tuple[int, int] = (4, 4)

    def __post_init__(self):
        keep = object.__setattr__
        keep(self, "notes", as_notes(self.notes, "melody"))
        keep(self, "tempo", real(self.tempo, "tempo", above=0.0))
        keep(self, "time_signature", check_time_signature(self.time_signature))
        for i, (one, two) in enumerate(pairwise(self.notes), 1):
            if two.start < one.end - SLACK or two.start <= one.start:
                raise ValueError(
                    f"melody note {i} starts at {two.start}, before note {i - 1} ({one.start}..{one.end}) ends; "
                    "a melody has one note at a time (Score.melody() takes the highest)"
                )

    @classmethod
    def from_pitches(
        cls, pitches, durations=1.0, *, velocity=80, name="", key="", tempo=120.0, time_signature=(4, 4)
    ) -> "Melody":
        """Notes in a row: `Melody.from_pitches([60, None, 62], durations=[1, 0.5, 0.5])`.

        Args:
            pitches: MIDI numbers; None is a rest.
            durations: beats, one number for all or one for each pitch.
            velocity: 1..127, one number for all or one for each pitch.
            name: a title.
            key: the key, such as "D minor".
            tempo: beats per minute.
            time_signature: (numerator, denominator).

        Raises:
            ValueError: the lists differ in length, or a value is out of range; the message names the index.
        """
        pitches, notes, start = list(pitches), [], 0.0
        lengths, velocities = (_one_each(*x, pitches) for x in (("durations", durations), ("velocities", velocity)))
        for i, (pitch, length) in enumerate(zip(pitches, lengths, strict=True)):
            try:
                length = real(length, "duration", above=0.0)
                notes += [] if pitch is None else [Note(pitch, start, length, velocities[i])]
            except ValueError as error:
                raise ValueError(f"note {i}: {error}") from None
            start += length
        return cls(tuple(notes), name, key, tempo, time_signature)

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def pitches(self) -> np.ndarray:
        """int64 (notes,): MIDI numbers."""
        return np.array([note.pitch for note in self.notes], dtype=np.int64)

    @property
    def intervals(self) -> np.ndarray:
        """int64 (notes - 1,): semitones from each note to the next; transposition leaves them as they are."""
        return np.diff(self.pitches)

    @property
    def starts(self) -> np.ndarray:
        """float64 (notes,): beats."""
        return np.array([note.start for note in self.notes], dtype=np.float64)

    @property
    def durations(self) -> np.ndarray:
        """float64 (notes,): beats."""
        return np.array([note.duration for note in self.notes], dtype=np.float64)

    @property
    def duration(self) -> float:
        """Beats until the last note ends."""
        return self.notes[-1].end if self.notes else 0.0

    def transpose(self, semitones: int) -> "Melody":
        """Every note, and the key, moved by semitones; ValueError names a note that would leave 0..127."""
        notes = transposed(self.notes, semitones)
        return replace(self, notes=notes, key=transpose_key(self.key, semitones))

    def to_score(self, program: int = 0) -> "Score":
        """A score with this melody as its only track, played by a General MIDI program 0..127."""
        track = Track(self.notes, program=program, name=self.name)
        signature = ((0.0, *self.time_signature),)
        return Score((track,), ((0.0, self.tempo),), signature, key=self.key, name=self.name)


@dataclass(frozen=True)
class Score:
    """Tracks that play together, with tempo and time signatures.

    >>> score = Score((Track([Note(60, 0, 2)]),), tempos=((0, 60), (1, 120)))
    >>> score.seconds(score.duration)
    1.5

    Args:
        tracks: the instruments.
        tempos: (beat, beats per minute), the first at beat 0.
        time_signatures: (beat, numerator, denominator), the first at beat 0.
        key: the opening key, such as "D minor", or "" where unknown.
        name: a title.

    Raises:
        ValueError: a value is out of range, or tempos or time signatures are out of order.

    Chapter 1.
    """

    tracks: tuple[Track, ...]
    tempos: tuple[tuple[float, float], ...] = ((0.0, 120.0),)
    time_signatures: tuple[tuple[float, int, int], ...] = ((0.0, 4, 4),)
    key: str = ""
    name: str = ""
    _clock: tuple[np.ndarray, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        keep = object.__setattr__
        keep(self, "tracks", tuple(self.tracks))
        for i, track in enumerate(self.tracks):
            if not isinstance(track, Track):
                raise ValueError(f"track {i} is {track!r}, not a Track")
        tempos = [(beat, real(bpm, "tempo", above=0.0)) for beat, bpm in self.tempos]
        signatures = [(beat, *check_time_signature(pair)) for beat, *pair in self.time_signatures]
        keep(self, "tempos", _in_order(tempos, "tempo"))
        keep(self, "time_signatures", _in_order(signatures, "time signature"))
        beats, pace = np.array(self.tempos).T
        pace = 60.0 / pace  # seconds per beat
        seconds = np.concatenate([[0.0], np.cumsum(np.diff(beats) * pace[:-1])])
        keep(self, "_clock", (beats, seconds, pace))

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes of all tracks, drums too, by start, then pitch."""
        return Track([note for track in self.tracks for note in track.notes]).notes

    @property
    def pitched_notes(self) -> tuple[Note, ...]:
        """All notes but those of drums, by start, then pitch."""
        return Track([note for track in self.tracks if not track.is_drum for note in track.notes]).notes

    @property
    def duration(self) -> float:
        """Beats until the last note ends."""
        return max((note.end for track in self.tracks for note in track.notes), default=0.0)

    def seconds(self, beat):
        """When a beat (a number or an array) falls, in seconds. The inverse of `beats`."""
        beats, seconds, pace = self._clock
        i = np.searchsorted(beats[1:], beat, side="right")
        return _plain(seconds[i] + (np.asarray(beat, dtype=float) - beats[i]) * pace[i])

    def beats(self, second):
        """Which beat it is at a second (a number or an array). The inverse of `seconds`."""
        beats, seconds, pace = self._clock
        i = np.searchsorted(seconds[1:], second, side="right")
        return _plain(beats[i] + (np.asarray(second, dtype=float) - seconds[i]) / pace[i])

    def transpose(self, semitones: int) -> "Score":
        """All notes but those of drums, and the key, moved by semitones; ValueError names a note that leaves 0..127."""
        tracks = [t if t.is_drum else replace(t, notes=transposed(t.notes, semitones)) for t in self.tracks]
        return replace(self, tracks=tuple(tracks), key=transpose_key(self.key, semitones))

    def melody(self) -> Melody:
        """The skyline: the highest note at any time, without drums (Uitdenbogerd and Zobel, 1999).

        Of notes that begin together the highest stays. A higher note cuts off the one that sounds. A lower one is left
        out, unless the two hardly overlap (by less than half of either, a legato): then it follows.
        """
        signature = self.time_signatures[0][1:]
        return Melody(tuple(skyline(self.pitched_notes)), self.name, self.key, self.tempos[0][1], signature)

    def piano_roll(self, step: float = 0.25, keys: tuple[int, int] = PIANO, onsets: bool = False) -> Tensor:
        """Which key sounds in which step of time: bool (keys, frames), by default (88, frames) with row 0 = A0.

        Both ends of a note move to the nearest frame, and it fills at least one. Drums, and pitches outside `keys`, are
        left out. A note repeated without a gap shows as one; `onsets=True` gives the frames where notes begin instead.

        Args:
            step: beats per frame.
            keys: (lowest, highest + 1) MIDI pitches.
            onsets: whether to show only each note's first frame.
        """
        return notes_to_roll(self.pitched_notes, step, keys, onsets)

    @classmethod
    def from_piano_roll(
        cls, roll, step=0.25, *, onsets=None, lowest=21, velocity=80, tempo=120.0, program=0, name="", pan=0.0
    ) -> "Score":
        """The score of a (keys, frames) roll: each run of frames above 0 is a note, split where `onsets` has one.

        Args:
            roll: tensor of bool or numbers.
            step: beats per frame.
            onsets: the same shape as `roll`, where notes begin; without it a repeated note is one long note.
            lowest: the pitch of row 0.
            velocity: 1..127, of all notes.
            tempo: beats per minute.
            program: General MIDI instrument 0..127.
            name: a title.
            pan: from -1 (left) to 1 (right).
        """
        track = Track(roll_to_notes(roll, step, onsets, lowest, velocity), program, name=name, pan=pan)
        return cls((track,), ((0.0, tempo),), name=name)

    def quantise(self, step: float = 0.25) -> "Score":
        """Both ends of every note moved to the nearest multiple of `step` beats; a note keeps at least one step."""
        step = real(step, "step", above=0.0)

        def on_grid(i: int, note: Note) -> Note:
            first, stop = to_frames(note, step)
            return changed(note, i, start=first * step, duration=(stop - first) * step)

        return self._each(on_grid)

    def concat(self, other: "Score", at: float | None = None) -> "Score":
        """This score, then the other from beat `at` (this one's end), with its tempos and time signatures."""
        at = real(self.duration if at is None else at, "at", least=0.0)
        later = other._each(lambda i, note: changed(note, i, start=note.start + at))
        tempos = _follow(self.tempos, other.tempos, at)
        signatures = _follow(self.time_signatures, other.time_signatures, at)
        return replace(self.merge(later), tempos=tempos, time_signatures=signatures)

    def merge(self, other: "Score") -> "Score":
        """Both scores at once, at this one's tempos; tracks with equal program, name and pan become one."""
        tracks: dict[tuple, list[Note]] = {}
        for track in (*self.tracks, *other.tracks):
            tracks.setdefault((track.program, track.is_drum, track.name, track.pan), []).extend(track.notes)
        return replace(self, tracks=tuple(Track(notes, *rest) for rest, notes in tracks.items()))

    def _each(self, change) -> "Score":
        """A copy with every note replaced by `change(index, note)`."""
        tracks = [replace(t, notes=[change(i, note) for i, note in enumerate(t.notes)]) for t in self.tracks]
        return replace(self, tracks=tuple(tracks))


def skyline(notes: Iterable[Note]) -> list[Note]:
    """See `Score.melody`."""
    line: list[Note] = []
    for note in sorted(notes, key=lambda n: (n.start, -n.pitch, -n.duration)):
        last = line[-1] if line else None
        overlap = last.end - note.start if last else 0.0
        if overlap > SLACK:
            legato = overlap < min(last.duration, note.duration) / 2
            if note.start <= last.start or (note.pitch < last.pitch and not legato):
                continue
            line[-1] = replace(last, duration=note.start - last.start)
        line.append(note)
    return line


def check_time_signature(pair) -> tuple[int, int]:
    """(numerator, denominator) as MIDI can hold it: 1..255 over a power of two."""
    numerator, denominator = (whole(x, 1, 255, "time signature's number") for x in pair)
    if denominator & (denominator - 1):
        raise ValueError(f"time signature {numerator}/{denominator}: the lower number must be a power of two")
    return numerator, denominator


def _in_order(changes: list[tuple], what: str) -> tuple[tuple, ...]:
    """Changes as (float beat, ...), the first at beat 0 and each later than the one before."""
    changes = [(real(beat, f"{what}'s beat"), *rest) for beat, *rest in changes]
    if not changes or changes[0][0] != 0:
        raise ValueError(f"the first {what} must be at beat 0; got {changes[:1] or 'none'}")
    for i, (one, two) in enumerate(pairwise(changes), 1):
        if two[0] <= one[0]:
            raise ValueError(f"{what} {i} is at beat {two[0]}, not after beat {one[0]}")
    return tuple(changes)


def _follow(first: tuple, second: tuple, at: float) -> tuple:
    """The changes of `first` before beat `at`, then those of `second`."""
    return (*(c for c in first if c[0] < at), *((c[0] + at, *c[1:]) for c in second))


def _one_each(what: str, value, items: list) -> list:
    values = [value] * len(items) if np.ndim(value) == 0 else list(value)
    if len(values) != len(items):
        raise ValueError(f"{len(items)} pitches but {len(values)} {what}")
    return values


def _plain(x: np.ndarray):
    return float(x) if np.ndim(x) == 0 else x
