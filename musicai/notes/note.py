"""One note, and a track of notes for one instrument. Chapter 1."""

import math
from dataclasses import dataclass, replace
from operator import index


def whole(value, low: int, high: int, what: str) -> int:
    """`value` as an int within low..high, or a ValueError that says what it is."""
    try:
        number = index(value)
    except TypeError:
        raise ValueError(f"{what} {value!r} is not a whole number") from None
    if not low <= number <= high:
        raise ValueError(f"{what} {number} is outside {low}..{high}")
    return number


def real(value, what: str, above: float = -math.inf, least: float = -math.inf) -> float:
    """`value` as a finite float, > `above` and >= `least`, or a ValueError that says what it is."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} {value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} {number} is not finite")
    if number <= above or number < least:
        raise ValueError(f"{what} {number} must be {f'above {above:g}' if number <= above else f'{least:g} or more'}")
    return number


@dataclass(frozen=True, slots=True)
class Note:
    """A pitch, and when and how hard it is struck.

    >>> Note(60, start=0, duration=1)  # middle C for one beat
    Note(pitch=60, start=0.0, duration=1.0, velocity=80)

    Args:
        pitch: MIDI number 0..127; 60 is middle C.
        start: when it begins, in beats (quarter notes), 0 or more.
        duration: how long it is held, in beats, above 0.
        velocity: how hard it is struck, 1..127.

    Raises:
        ValueError: a value is out of range or not finite.

    Chapter 1.
    """

    pitch: int
    start: float
    duration: float
    velocity: int = 80

    def __post_init__(self):
        keep = object.__setattr__
        keep(self, "pitch", whole(self.pitch, 0, 127, "pitch"))
        keep(self, "start", real(self.start, "start", least=0.0))
        keep(self, "duration", real(self.duration, "duration", above=0.0))
        keep(self, "velocity", whole(self.velocity, 1, 127, "velocity"))
        real(self.end, f"start {self.start} + duration {self.duration}:")

    @property
    def end(self) -> float:
        """When it is released, in beats."""
        return self.start + self.duration


def as_notes(notes, what: str) -> tuple[Note, ...]:
    """Notes as a tuple, or a ValueError that names the first that is not a Note."""
    notes = tuple(notes)
    for i, note in enumerate(notes):
        if not isinstance(note, Note):
            raise ValueError(f"{what}: note {i} is {note!r}, not a Note")
    return notes


def changed(note: Note, i: int, **changes) -> Note:
    """A copy of note number `i` with changes; an error names the note."""
    try:
        return replace(note, **changes)
    except ValueError as error:
        raise ValueError(f"note {i} ({note}): {error}") from None


def transposed(notes: tuple[Note, ...], semitones: int) -> tuple[Note, ...]:
    """The notes moved by semitones; ValueError names the note that would leave 0..127."""
    semitones = whole(semitones, -127, 127, "semitones")
    return tuple(changed(note, i, pitch=note.pitch + semitones) for i, note in enumerate(notes))


@dataclass(frozen=True)
class Track:
    """The notes that one instrument plays; they may overlap.

    >>> Track([Note(64, 1, 1), Note(60, 0, 1)], program=73).notes[0].pitch  # a flute
    60

    Args:
        notes: in any order; kept sorted by start, then pitch.
        program: General MIDI instrument 0..127 (0 is a grand piano); for drums, the kit.
        is_drum: whether it is a drum kit, whose pitches name drums (36 is the bass drum).
        name: what to call it.
        pan: from -1 (left) to 1 (right).

    Raises:
        ValueError: a value is out of range, or one of `notes` is not a Note.

    Chapter 1.
    """

    notes: tuple[Note, ...]
    program: int = 0
    is_drum: bool = False
    name: str = ""
    pan: float = 0.0

    def __post_init__(self):
        keep = object.__setattr__
        notes = as_notes(self.notes, f"track {self.name!r}")
        keep(self, "notes", tuple(sorted(notes, key=lambda n: (n.start, n.pitch, n.duration, n.velocity))))
        keep(self, "program", whole(self.program, 0, 127, "program"))
        keep(self, "is_drum", bool(self.is_drum))
        keep(self, "pan", real(self.pan, "pan"))
        if not -1 <= self.pan <= 1:
            raise ValueError(f"pan {self.pan} is outside -1 (left)..1 (right)")
