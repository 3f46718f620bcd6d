"""Single notes, their names and frequencies, and the track of notes that one instrument plays. Chapter 1.

>>> note_name(60), midi_to_hz(69), hz_to_midi(440.0)
('C4', 440.0, 69.0)
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def require(condition: bool, reason: str) -> None:
    """Raise a ValueError with this reason unless the condition holds."""
    if not condition:
        raise ValueError(reason)


def whole(value: int, low: int, high: int, what: str) -> int:
    """Return `value` as an int in low..high, or raise a ValueError that names it."""
    if not low <= real(value, what) <= high or int(value) != value:
        raise ValueError(f"{what} {value!r:.80} is not a whole number from {low} to {high}")
    return int(value)


def real(value: float, what: str, least: float = -math.inf, above: float = -math.inf) -> float:
    """Return `value` as a finite float >= `least` and > `above`, or raise a ValueError that names it."""
    try:
        value = float(value)
        if math.isfinite(value) and value >= least and value > above:
            return value
    except (OverflowError, TypeError, ValueError):  # no number, or one with hundreds of digits
        pass
    limit = f" above {above:g}" if above > -math.inf else f" of at least {least:g}" if least > -math.inf else ""
    raise ValueError(f"{what} {value!r:.80} is not a finite number{limit}")


@dataclass(frozen=True, slots=True)
class Note:
    """A pitch, when it is struck, how hard and for how long.

    >>> Note(60, start=0, duration=1)  # middle C for one beat
    Note(pitch=60, start=0.0, duration=1.0, velocity=80)

    Args:
        pitch: MIDI number 0..127; 60 is middle C.
        start: when it begins, in beats (quarter notes); 0 or more.
        duration: how long it is held, in beats; above 0.
        velocity: how hard it is struck, 1..127.

    Raises:
        ValueError: if a value is out of range or not finite.

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

    @property
    def end(self) -> float:
        """When it is released, in beats."""
        return self.start + self.duration


def listed(items, what: str, like: str) -> tuple:
    """Return items as a tuple, or raise a ValueError that names what should have been a list."""
    require(isinstance(items, Iterable), f"{what} {items!r:.80} is not a list such as {like}")
    return tuple(items)


def as_notes(notes) -> tuple[Note, ...]:
    """Return notes as a tuple, or raise a ValueError that names the first item that is not a Note."""
    notes = listed(notes, "notes", "[Note(60, 0, 1)]")
    for i, note in enumerate(notes):
        if not isinstance(note, Note):
            raise ValueError(f"note {i} is {note!r:.80}, not a Note")
    return notes


def check_text(thing, *names: str) -> None:
    """Raise a ValueError for the first of these attributes that is no text."""
    for name in names:
        value = getattr(thing, name)
        require(isinstance(value, str), f'{name} {value!r:.80} is not text; leave it out, or give "" if it is unknown')


@dataclass(frozen=True)
class Track:
    """The notes that one instrument plays; they may overlap.

    >>> Track([Note(64, 1, 1), Note(60, 0, 1)], program=73).notes[0].pitch  # a flute
    60

    Args:
        notes: in any order; kept sorted by start, then pitch.
        program: General MIDI instrument 0..127 (0 is a grand piano); for drums, the kit.
        is_drum: whether it is a drum kit, in which each pitch is a drum (36 is the bass drum).
        name: the track's name.
        pan: from -1 (left) to 1 (right).

    Raises:
        ValueError: if a value is out of range, or one of `notes` is not a Note.

    Chapter 1.
    """

    notes: tuple[Note, ...]
    program: int = 0
    is_drum: bool = False
    name: str = ""
    pan: float = 0.0

    def __post_init__(self):
        keep = object.__setattr__
        notes = sorted(as_notes(self.notes), key=lambda note: (note.start, note.pitch, note.duration, note.velocity))
        keep(self, "notes", tuple(notes))
        check_text(self, "name")
        keep(self, "program", whole(self.program, 0, 127, "program"))
        keep(self, "is_drum", bool(self.is_drum))
        keep(self, "pan", real(self.pan, "pan"))
        require(-1 <= self.pan <= 1, f"pan {self.pan} is outside -1 (left)..1 (right)")


def midi_to_hz(pitch):
    """Convert a MIDI pitch to its frequency.

    >>> midi_to_hz(69)
    440.0

    Args:
        pitch: MIDI number, whole or fractional; a number, an array or a tensor.

    Returns: frequency in Hz, in the shape of `pitch`.

    Chapter 1.
    """
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def hz_to_midi(frequency):
    """Convert a frequency to its (fractional) MIDI pitch.

    >>> hz_to_midi(440.0)
    69.0

    Args:
        frequency: in Hz, above 0; a number or an array.

    Returns: MIDI pitch, a float or a float64 array in the shape of `frequency`.

    Raises:
        ValueError: if a frequency is not above 0.

    Chapter 1.
    """
    frequency = np.asarray(frequency, dtype=float)
    if not np.all(frequency > 0):
        raise ValueError(f"frequency {frequency[~(frequency > 0)].flat[0]} Hz has no pitch; it must be above 0")
    pitch = 69 + 12 * np.log2(frequency / 440.0)
    return float(pitch) if pitch.ndim == 0 else pitch


def note_name(pitch: int) -> str:
    """Name a MIDI pitch, using sharps.

    >>> note_name(60)
    'C4'

    Args:
        pitch: a whole number from 0 to 127.

    Returns: pitch class and octave.

    Raises:
        ValueError: if the pitch is not a whole number from 0 to 127.

    Chapter 1.
    """
    pitch = whole(pitch, 0, 127, "MIDI pitch")
    return f"{PITCH_CLASSES[pitch % 12]}{pitch // 12 - 1}"


def note_number(name: str) -> int:
    """Convert a note name to its MIDI pitch: the inverse of `note_name`.

    >>> note_number("Bb3")
    58

    Args:
        name: a letter from A to G, any number of # or b, and an octave.

    Returns: MIDI pitch.

    Raises:
        ValueError: if the name does not have that form.

    Chapter 1.
    """
    match = re.fullmatch(r"([A-G])([#b]*)(-?\d+)", name)
    require(match is not None, f'note name {name!r} does not look like "C4", "F#3" or "Bb5"')
    return STEPS[match[1]] + match[2].count("#") - match[2].count("b") + 12 * (int(match[3]) + 1)
