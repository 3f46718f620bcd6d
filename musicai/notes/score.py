"""Melodies, with one note at a time, and scores, with many tracks. Times are in beats (quarter notes). Chapter 1."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from musicai.notes.keys import transpose_key
from musicai.notes.note import Note, Track, as_notes, check_text, listed, real, require, whole

if TYPE_CHECKING:
    import torch  # else loaded only for piano rolls

PIANO = (21, 109)  # A0 to C8, the 88 keys of a piano
SLACK = 1e-6  # beats: the rounding error allowed in sums of fractions such as 1/3


@dataclass(frozen=True)
class Melody:
    """Notes one after another; rests are the gaps.

    >>> Melody.from_pitches([60, 62, 64]).intervals.tolist()
    [2, 2]

    Args:
        notes: in order of start, without overlaps.
        name: a title.
        key: the key, such as "D minor", or "" if unknown.
        tempo: beats (quarter notes) per minute.
        time_signature: (numerator, denominator).

    Raises:
        ValueError: if a note starts before the previous one ends; the message gives its index.

    Chapter 1.
    """

    notes: tuple[Note, ...]
    name: str = ""
    key: str = ""
    tempo: float = 120.0
    time_signature: tuple[int, int] = (4, 4)

    def __post_init__(self):
        keep = object.__setattr__
        keep(self, "notes", as_notes(self.notes))
        check_text(self, "name", "key")
        keep(self, "tempo", real(self.tempo, "tempo", above=0.0))
        keep(self, "time_signature", check_time_signature(self.time_signature))
        for i, (one, two) in enumerate(pairwise(self.notes), 1):
            if two.start < one.end - SLACK or two.start <= one.start:
                early = f"melody note {i} starts at {two.start}, before note {i - 1} ({one.start}..{one.end}) ends"
                raise ValueError(f"{early}; a melody has one note at a time (Score.melody() takes the highest)")

    @classmethod
    def from_pitches(
        cls, pitches, durations=1.0, *, velocity=80, name="", key="", tempo=120.0, time_signature=(4, 4)
    ) -> "Melody":
        """Make a melody from pitches in a row: `Melody.from_pitches([60, None, 62], durations=[1, 0.5, 0.5])`.

        Args:
            pitches: MIDI numbers, with None for a rest.
            durations: in beats, either one number for all or one per pitch.
            velocity: 1..127, for all notes.
            name: a title.
            key: the key, such as "D minor".
            tempo: beats per minute.
            time_signature: (numerator, denominator).

        Raises:
            ValueError: if the lists differ in length, or a value is out of range.
        """
        pitches = listed(pitches, "pitches", "[60, None, 62]")
        durations = [durations] * len(pitches) if np.ndim(durations) == 0 else durations
        durations = [real(duration, "duration") for duration in durations]
        require(len(durations) == len(pitches), f"{len(pitches)} pitches but {len(durations)} durations")
        starts = accumulate(durations, initial=0.0)  # one more than there are notes: the last is the end
        rows = zip(pitches, starts, durations, strict=False)
        notes = [Note(pitch, start, duration, velocity) for pitch, start, duration in rows if pitch is not None]
        return cls(tuple(notes), name, key, tempo, time_signature)

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def pitches(self) -> np.ndarray:
        """int64 (notes,): MIDI numbers."""
        return np.array([note.pitch for note in self.notes], dtype=np.int64)

    @property
    def intervals(self) -> np.ndarray:
        """int64 (notes - 1,): semitones from each note to the next, which do not change under transposition."""
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
        """Move every note, and the key, by semitones; a pitch that would leave 0..127 raises a ValueError."""
        return replace(self, notes=transposed(self.notes, semitones), key=transpose_key(self.key, semitones))

    def to_score(self, program: int = 0) -> "Score":
        """Make a score with this melody as its only track, played by a General MIDI program 0..127."""
        track, metres = Track(self.notes, program, name=self.name), ((0.0, *self.time_signature),)
        return Score((track,), ((0.0, self.tempo),), metres, self.key, self.name)

    def show(self) -> str:
        """Engrave the melody: see `Score.show`."""
        return self.to_score().show()


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
        key: the opening key, such as "D minor", or "" if unknown.
        name: a title.

    Raises:
        ValueError: if a value is out of range, or tempos or time signatures are out of order.

    Chapter 1.
    """

    tracks: tuple[Track, ...]
    tempos: tuple[tuple[float, float], ...] = ((0.0, 120.0),)
    time_signatures: tuple[tuple[float, int, int], ...] = ((0.0, 4, 4),)
    key: str = ""
    name: str = ""

    def __post_init__(self):
        keep = object.__setattr__
        keep(self, "tracks", listed(self.tracks, "tracks", "[Track([Note(60, 0, 1)])]"))
        if not all(isinstance(track, Track) for track in self.tracks):
            raise ValueError(f"a score takes a list of Tracks, not {self.tracks!r:.200}")
        check_text(self, "name", "key")
        tempos = [(beat, real(bpm, "tempo", above=0.0)) for beat, bpm in _rows(self, "tempos", [(0, 120)])]
        rows = _rows(self, "time_signatures", [(0, 3, 4)])
        signatures = [(beat, *check_time_signature(pair)) for beat, *pair in rows]
        keep(self, "tempos", _in_order(tempos, "tempo"))
        keep(self, "time_signatures", _in_order(signatures, "time signature"))

    @cached_property
    def _clock(self) -> tuple[np.ndarray, ...]:
        """The beat and the second of each tempo change, and the seconds per beat from then on."""
        beats, tempos = np.array(self.tempos).T
        pace = 60.0 / tempos
        seconds = np.concatenate([[0.0], np.cumsum(np.diff(beats) * pace[:-1])])
        return beats, seconds, pace

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes of all tracks, including drums, sorted by start, then pitch."""
        return Track([note for track in self.tracks for note in track.notes]).notes

    @property
    def pitched_notes(self) -> tuple[Note, ...]:
        """All notes except those of drums, sorted by start, then pitch."""
        return Track([note for track in self.tracks if not track.is_drum for note in track.notes]).notes

    @property
    def duration(self) -> float:
        """Beats until the last note ends."""
        return max((note.end for track in self.tracks for note in track.notes), default=0.0)

    def seconds(self, beat):
        """Convert a beat (a number or an array) to a time in seconds. The inverse of `beats`."""
        return _along(beat, *self._clock)

    def beats(self, second):
        """Convert a time in seconds (a number or an array) to a beat. The inverse of `seconds`."""
        beats, seconds, pace = self._clock
        return _along(second, seconds, beats, 1 / pace)

    def transpose(self, semitones: int) -> "Score":
        """Move the key and all notes except drums by semitones; a pitch that would leave 0..127 raises a ValueError."""
        tracks = [t if t.is_drum else replace(t, notes=transposed(t.notes, semitones)) for t in self.tracks]
        return replace(self, tracks=tuple(tracks), key=transpose_key(self.key, semitones))

    def melody(self) -> Melody:
        """Extract the skyline: the highest note at any time, ignoring drums (Uitdenbogerd and Zobel, 1999).

        Of notes that begin together, the highest is kept. A higher note cuts off the one that is sounding. A lower one
        is left out unless the two barely overlap (a legato, by less than half of either), in which case it follows.
        """
        line: list[Note] = []
        for note in sorted(self.pitched_notes, key=lambda note: (note.start, -note.pitch, -note.duration)):
            last = line[-1] if line else None
            overlap = last.end - note.start if last else 0.0
            if overlap > SLACK:
                legato = overlap < min(last.duration, note.duration) / 2
                if note.start <= last.start or (note.pitch < last.pitch and not legato):
                    continue
                line[-1] = replace(last, duration=note.start - last.start)
            line.append(note)
        return Melody(tuple(line), self.name, self.key, self.tempos[0][1], self.time_signatures[0][1:])

    def piano_roll(self, step: float = 0.25, keys: tuple[int, int] = PIANO, onsets: bool = False) -> "torch.Tensor":
        """Show which keys sound in each time step: bool (keys, frames), by default (88, frames) with A0 in row 0.

        Both ends of a note are rounded to the nearest frame, and it fills at least one. Drums and pitches beyond `keys`
        are left out. A note repeated without a gap looks like one; `onsets=True` gives the frames where notes begin.

        Args:
            step: beats per frame.
            keys: (lowest, highest + 1) MIDI pitches.
            onsets: whether to show only each note's first frame.
        """
        import torch

        step, (low, high) = real(step, "step", above=0.0), keys
        spans = [(note.pitch, *_frames(note, step)) for note in self.pitched_notes]
        roll = np.zeros((high - low, max((stop for _, _, stop in spans), default=0)), dtype=bool)
        for pitch, first, stop in spans:
            if low <= pitch < high:
                roll[pitch - low, first : first + 1 if onsets else stop] = True
        return torch.from_numpy(roll)

    @classmethod
    def from_piano_roll(cls, roll, step=0.25, *, onsets=None, lowest=21, tempo=120.0, program=0, name="") -> "Score":
        """Make a score from a (keys, frames) roll: each run of frames above 0 is a note, split where `onsets` has one.

        Args:
            roll: tensor or array of bool or numbers.
            step: beats per frame.
            onsets: where notes begin, in the shape of `roll`; without it, a repeated note becomes one long note.
            lowest: the pitch of row 0.
            tempo: beats per minute.
            program: General MIDI instrument 0..127.
            name: a title.
        """
        import torch

        on = torch.as_tensor(roll).cpu() > 0
        require(on.ndim == 2, f"a piano roll is (keys, frames); this has shape {tuple(on.shape)}")
        onsets = torch.zeros_like(on) if onsets is None else torch.as_tensor(onsets).cpu() > 0
        require(onsets.shape == on.shape, f"onsets have shape {tuple(onsets.shape)}, the roll {tuple(on.shape)}")
        edge = torch.zeros(len(on), 1, dtype=torch.bool)
        begins = on & (onsets | ~torch.cat([edge, on[:, :-1]], 1))
        ends = on & torch.cat([(~on | begins)[:, 1:], ~edge], 1)
        # Row by row, the n-th beginning belongs to the n-th end.
        pairs = zip(begins.nonzero().tolist(), ends.nonzero().tolist(), strict=True)
        notes = [Note(lowest + key, first * step, (last + 1 - first) * step) for (key, first), (_, last) in pairs]
        return cls((Track(notes, program, name=name),), ((0.0, tempo),), name=name)

    def show(self) -> str:
        """Engrave the score as SVG, which a notebook shows as a picture: see `engrave`."""
        from musicai.notes.files import engrave

        return engrave(self)

    def concat(self, other: "Score") -> "Score":
        """Join this score and the other, which keeps its own tempos and time signatures.

        Tracks with the same program, name, pan and kind (drums or not) become one.
        """
        end, tracks = self.duration, {}
        for begin, score in ((0.0, self), (end, other)):
            for track in score.tracks:
                notes = tracks.setdefault((track.program, track.is_drum, track.name, track.pan), [])
                notes += [replace(note, start=note.start + begin) for note in track.notes]
        tracks = [Track(notes, *rest) for rest, notes in tracks.items()]
        tempos = _joined(self.tempos, other.tempos, end)
        signatures = _joined(self.time_signatures, other.time_signatures, end)
        return replace(self, tracks=tracks, tempos=tempos, time_signatures=signatures)


def transposed(notes: tuple[Note, ...], semitones: int) -> tuple[Note, ...]:
    """Move notes by semitones."""
    return tuple(replace(note, pitch=note.pitch + semitones) for note in notes)


def check_time_signature(pair) -> tuple[int, int]:
    """Check that MIDI can hold a (numerator, denominator): 1..255 over a power of two."""
    if np.shape(pair) != (2,):
        raise ValueError(f"time signature {pair!r:.80} is not a pair such as (6, 8)")
    numerator, denominator = (whole(x, 1, 255, "time signature's number") for x in pair)
    if denominator & (denominator - 1):
        raise ValueError(f"time signature {numerator}/{denominator}: the lower number must be a power of two")
    return numerator, denominator


def _rows(score: Score, what: str, example: list[tuple]) -> list[tuple]:
    """The rows of an attribute, each as long as the example's."""
    given = getattr(score, what)
    rows = [tuple(row) if isinstance(row, Iterable) else () for row in listed(given, what, str(example))]
    require(all(len(row) == len(example[0]) for row in rows), f"{what} {given!r:.80} is not a list such as {example}")
    return rows


def _in_order(changes: list[tuple], what: str) -> tuple[tuple, ...]:
    """Return changes as (float beat, ...), checking that the first is at beat 0 and each is later than the last."""
    beats = [real(beat, f"{what}'s beat") for beat, *_ in changes]
    if beats[:1] != [0.0] or any(two <= one for one, two in pairwise(beats)):
        raise ValueError(f"each {what} needs a beat: the first is 0, and the rest increase; got {beats}")
    return tuple((beat, *rest) for beat, (_, *rest) in zip(beats, changes, strict=True))


def _joined(first: tuple, second: tuple, end: float) -> tuple:
    """The changes of `first` before beat `end`, then those of `second`."""
    return (*(c for c in first if c[0] < end), *((c[0] + end, *c[1:]) for c in second))


def _frames(note: Note, step: float) -> tuple[int, int]:
    """The frames [first, stop) that a note fills: both ends to the nearest frame, at least one frame."""
    first = math.floor(note.start / step + 0.5)
    return first, max(first + 1, math.floor(note.end / step + 0.5))


def _along(x, at: np.ndarray, values: np.ndarray, slopes: np.ndarray):
    """Follow a line through the points (at, values), with a separate slope after each."""
    i = np.searchsorted(at[1:], x, side="right")
    y = values[i] + (np.asarray(x, dtype=float) - at[i]) * slopes[i]
    return float(y) if y.ndim == 0 else y
