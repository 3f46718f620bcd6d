"""What one may ask of a song, checked, and how a melody measures up to it. Chapter 7.

>>> from musicai.notes import Melody
>>> density(Melody.from_pitches([60, 62, 64], [1, 0.5, 0.5]))
1.5
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from numbers import Real

import numpy as np

from musicai.composition.tunes import TICKS
from musicai.notes import Melody, pitch_class
from musicai.notes.notation import MODES, signature_of

ALIASES = {"": "major", "m": "minor", "ionian": "major", "aeolian": "minor"}


def density(melody: Melody) -> float:
    """Count the notes per beat of a melody.

    >>> density(Melody.from_pitches([60, 62, None], [0.5, 0.5, 1]))  # a rest at the end doesn't count
    2.0

    Args:
        melody: with at least one note.

    Returns: notes per beat (quarter note), from beat 0 to the end of the last note; nan without notes.

    Chapter 7.
    """
    return len(melody) / melody.duration if melody.notes else math.nan


def syncopation(melody: Melody, pickup: float = 0.0) -> float:
    """Measure how many notes are syncopated: they last over a stronger position of the bar than they start at.

    >>> syncopation(Melody.from_pitches([60, 62, 64, 65], [0.5, 1, 0.5, 2]))  # the second lasts over a beat
    0.25

    Args:
        melody: with a time signature.
        pickup: beats before the first bar line.

    Returns: the share of syncopated notes, 0 to 1; nan without notes.

    Source: Longuet-Higgins and Lee, *The Rhythmic Interpretation of Monophonic Music* (1984). Chapter 7.
    """
    levels, first = metric_levels(melody.time_signature), round(pickup * TICKS)
    starts = np.rint(melody.starts * TICKS).astype(int) - first
    lengths = np.rint(melody.durations * TICKS).astype(int)
    found = [levels[np.arange(s + 1, s + d) % len(levels)].max(initial=0) > levels[s % len(levels)]
             for s, d in zip(starts, lengths, strict=True)]  # fmt: skip
    return float(np.mean(found)) if found else math.nan


def closeness(melody: Melody, source: Melody) -> float:
    """Compare two melodies on one time axis: the F1 score of their notes, as pairs of onset and pitch.

    >>> closeness(Melody.from_pitches([60, 62, 64]), Melody.from_pitches([60, 64, 64, 65]))
    0.571...

    Args:
        melody, source: in one key; onsets are rounded to a 24th of a beat.

    Returns: 0 (no note in common) to 1 (the same notes).

    Source: the note measure of MIREX's transcription tasks. Chapter 7.
    """
    ours, theirs = ({(round(note.start * TICKS), note.pitch) for note in m.notes} for m in (melody, source))
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))


@cache
def metric_levels(meter: tuple[int, int]) -> np.ndarray:
    """Rank the positions of a bar: its beginning is strongest, then half bars, beats, their parts, and so on.

    >>> metric_levels((6, 8))[::12].tolist()  # eighth by eighth: two beats of three
    [5, 3, 3, 4, 3, 3]

    Triplets rank with the duplets of the same beat.

    Args:
        meter: (numerator, denominator).

    Returns: int64 (ticks,), one level for each 24th of a beat.

    Source: Lerdahl and Jackendoff, *A Generative Theory of Tonal Music* (1983), chapter 4. Chapter 7.
    """
    bar, unit = meter[0] * 4 * TICKS // meter[1], beat_ticks(meter)
    grids = [(bar,), *[(bar // 2,)] * (bar // unit > 2 and bar // unit % 2 == 0), (unit,)]
    parts = 3 if meter[0] % 3 == 0 and unit * meter[1] > 4 * TICKS else 2
    while unit > TICKS // 8 and unit % parts == 0:
        grids.append((unit // parts, *[unit // 3] * (parts == 2 and unit % 3 == 0)))
        unit, parts = unit // parts, 2
    levels = np.zeros(bar, np.int64)
    for level, grid in enumerate(reversed(grids), 1):
        for step in grid:
            levels[::step] = level
    return levels


def beat_ticks(meter: tuple[int, int]) -> int:
    """The ticks of a felt beat: three of the lower number in compound metres such as 6/8 and 3/8, else one."""
    compound = meter[0] % 3 == 0 and (meter[0] > 3 or meter[1] > 4)
    return (3 if compound else 1) * 4 * TICKS // meter[1]


def scale_of(mode: str) -> list[int]:
    """The semitones of a mode's scale above its tonic.

    >>> scale_of("dorian")
    [0, 2, 3, 5, 7, 9, 10]
    """
    return sorted(7 * (fifth - MODES.index(mode)) % 12 for fifth in range(7))


@dataclass(frozen=True)
class Controls:
    """What a song is asked to be. Hard controls are exact; density, syncopation and closeness are steered towards.

    >>> Controls("D dorian", (6, 8), 110.0, 16, ("A", "A", "B", "B"), (62, 83)).tonic
    2

    Args:
        key: a tonic and a mode.
        meter: (numerator, denominator).
        tempo: beats (quarter notes) per minute.
        bars: how many sound, repeats included.
        form: the section that each equal part of the song is.
        range: the lowest and the highest MIDI pitch.
        density: notes per beat, or nan for the model's choice.
        syncopation: the share of syncopated notes, or nan for the model's choice.
        closeness: to the source, from 0 to 1; 0 without a source.
        voices: 1 or 4.
        chords: whether a single voice is accompanied.
        temperature: of the draws; 1 follows the model.
        strict: whether all notes belong to the scale.
        seed: of the draws.

    Chapter 7.
    """

    key: str
    meter: tuple[int, int]
    tempo: float
    bars: int
    form: tuple[str, ...]
    range: tuple[int, int]
    density: float = math.nan
    syncopation: float = math.nan
    closeness: float = 0.0
    voices: int = 1
    chords: bool = True
    temperature: float = 0.9
    strict: bool = False
    seed: int = 0

    @property
    def tonic(self) -> int:
        """Its pitch class, 0 (C) to 11 (B)."""
        return pitch_class(self.key.split()[0])

    @property
    def mode(self) -> str:
        """The mode, such as "dorian"."""
        return self.key.split()[1]

    @property
    def sections(self) -> dict[str, int]:
        """How often each section sounds, in the order in which they are written."""
        return {label: self.form.count(label) for label in self.form}

    @property
    def span(self) -> int:
        """Ticks per section."""
        return self.bars // len(self.form) * len(metric_levels(self.meter))


def refuse(name: str, value: object, fits: str) -> ValueError:
    """The error for an argument that cannot be had: it names the argument, its value and what would fit."""
    try:
        shown = f"{value!r:.80}"
    except Exception:  # a number with too many digits, or an object that cannot show itself
        shown = f"a {type(value).__name__}"
    return ValueError(f"{name}={shown}: give {fits}")


def tell(value: object) -> str:
    """The value of a control as a person reads it.

    >>> tell((6, 8)), tell(("D4", "B5")), tell(0.4375), tell(math.nan)
    ('6/8', 'D4 to B5', '0.438', 'free')

    Args:
        value: a value from `Song.controls`; nan was left to the model.

    Returns: a few words.

    Chapter 7.
    """
    if isinstance(value, tuple):
        return ("/" if isinstance(value[0], int) else " to ").join(map(str, value))
    return str(value) if not isinstance(value, float) else "free" if math.isnan(value) else f"{value:.3g}"


def read_number(name: str, value: object, low: float, high: float, whole: bool = False) -> float:
    """Check that a number lies in low..high."""
    fits = f"a {'whole ' * whole}number from {low:g} to {high:g}"
    number = value.item() if isinstance(value, np.generic) else value
    good = isinstance(number, Real) and not isinstance(number, bool) and low <= number <= high
    if not good or (whole and number != int(number)):
        raise refuse(name, value, fits)
    return int(number) if whole else float(number)


def read_key(key: object) -> str:
    """Check the name of a key, and spell it so that its signature has at most seven sharps or flats.

    >>> read_key("Dm"), read_key("f# Dorian"), read_key("G# major")
    ('D minor', 'F# dorian', 'Ab major')
    """
    found = isinstance(key, str) and re.fullmatch(r"\s*([A-Ga-g])([#b♯♭]?)[\s-]*([A-Za-z]*)\s*", key)
    word = found[3].lower() if found and found[3] != "M" else ""
    modes = [name for name in (*MODES, *ALIASES) if name == word or (len(word) >= 3 and name.startswith(word))]
    if not found or not modes:
        raise refuse("key", key, f'a tonic and a mode, such as "D dorian"; modes are {", ".join(sorted(MODES))}')
    sign = found[2].replace("♯", "#").replace("♭", "b")
    return signature_of(f"{found[1].upper()}{sign} {ALIASES.get(modes[0], modes[0])}")[1]


def read_meter(meter: object) -> tuple[int, int]:
    """Check a metre such as "6/8" or (6, 8), whose bars must last from 1 to 8 beats."""
    found = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*", meter) if isinstance(meter, str) else None
    pair = found.groups() if found else meter if isinstance(meter, tuple | list) and len(meter) == 2 else (0, 0)
    try:
        top, unit = (int(read_number("meter", int(x) if isinstance(x, str) else x, 1, 64, True)) for x in pair)
    except ValueError:
        top, unit = 0, 1
    if unit not in (2, 4, 8, 16) or not 1 <= 4 * top / unit <= 8:
        raise refuse("meter", meter, 'a metre such as "6/8", over 2, 4, 8 or 16, with 1 to 8 quarter notes per bar')
    return top, unit
