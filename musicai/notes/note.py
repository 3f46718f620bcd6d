"""One note, and a track of notes for one instrument. Chapter 1."""

import math
from dataclasses import dataclass
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


def real(value, what: str, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """`value` as a finite float, > `above` and >= `least`, or a ValueError that says what it is."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} {value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} {number} is not finite")
    if number <= above or number < least:
        raise ValueError(
            f"{what} {number} must be " + (f"above {above:g}" if number <= above else f"{least:g} or more")
        )
    return number


@dataclass(frozen=True, slots=True)
class Note:
    """`Note(60, start=0, duration=1)`: middle C for one beat. Chapter 1.

    Args:
        pitch: MIDI number 0..127; 60 is middle C.
        start: when it begins, in beats (quarter notes), 0 or more.
        duration: how long it is held, in beats, above 0.
        velocity: how hard it is struck, 1..127.

    Raises:
        ValueError: a value is out of range or not finite.
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
        if not math.isfinite(self.end):
            raise ValueError(f"start {self.start} + duration {self.duration} is not finite")

    @property
    def end(self) -> float:
        """When it is let go, in beats."""
        return self.start + self.duration


def as_notes(notes, what: str) -> tuple[Note, ...]:
    """Notes as a tuple, or a ValueError that names the first that is none."""
    notes = tuple(notes)
    for i, note in enumerate(notes):
        if not isinstance(note, Note):
            raise ValueError(f"{what}: note {i} is {note!r}, not a Note")
    return notes


def changed(note: Note, i: int, **changes) -> Note:
    """A copy of note number `i` with changes; an error names the note."""
    old = {"pitch": note.pitch, "start": note.start, "duration": note.duration, "velocity": note.velocity}
    try:
        return Note(**(old | changes))
    except ValueError as error:
        raise ValueError(f"note {i} ({note}): {error}") from None


def transposed(notes: tuple[Note, ...], semitones: int) -> tuple[Note, ...]:
    """The notes moved by semitones; ValueError names the note that would leave 0..127."""
    semitones = whole(semitones, -127, 127, "semitones")
    return tuple(changed(note, i, pitch=note.pitch + semitones) for i, note in enumerate(notes))


@dataclass(frozen=True)
class Track:
    """The notes that one instrument plays; they may overlap. Chapter 1.

    Args:
        notes: any order; kept sorted by start, then pitch.
        program: General MIDI instrument 0..127 (0 is a grand piano); for drums, the kit.
        is_drum: a drum kit: pitches name drums (36 is the bass drum).
        name: what to call it.
        pan: -1 (left) to 1 (right).
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
        keep(self, "pan", real(self.pan, "pan", least=-1.0))
        if self.pan > 1:
            raise ValueError(f"pan {self.pan} is outside -1 (left)..1 (right)")
