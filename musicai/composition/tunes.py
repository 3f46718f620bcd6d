"""Tunes as the model writes them: one class for a note's duration, one for its pitch above the tonic, and a plan.

>>> tune = encode(FolkCorpus("test")[0])  # doctest: +SKIP
>>> decode(tune.durations, tune.pitches, tune.plan)  # doctest: +SKIP
Melody(...)
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from musicai.notes import Melody, Note, pitch_class, transpose_key

TICKS = 24  # per beat (quarter note): triplets and notes down to a thirty-second are whole numbers
LENGTHS = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 21, 24, 30, 32, 36, 42, 48, 54, 60, 66, 72, 84, 96, 120, 144)  # in ticks
DURATIONS = np.array(LENGTHS) / TICKS  # float64 (D,): beats of each class
LOWEST, HIGHEST = -24, 36  # semitones from the plan's base, a tonic near the middle of the treble staff
PITCHES = np.arange(LOWEST, HIGHEST + 1)  # int64: semitones of each class but the last, which is the rest
REST = len(PITCHES)
_SECTION = re.compile(r"(:|\|\||\|\]|\[\|)(?!.*\d)")  # a repeat or a double bar, but not before a second ending
CENTRE = 71  # the MIDI number in the middle of most tunes' ranges


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first note of a tune is written.

    >>> plan = Plan(tonic=2, mode="dorian", meter=(6, 8), sections=(8, 8))
    >>> plan.bar, plan.length, plan.base
    (3.0, 48.0, 62)

    Args:
        tonic: its pitch class, 0 (C) to 11 (B).
        mode: "major", "minor", "dorian", "mixolydian", "phrygian", "lydian" or "locrian".
        meter: (numerator, denominator).
        sections: the bars of each section as written, with repeats not played out.
        pickup: beats before the first whole bar; the last bar is shorter by as much.
        range: the lowest and highest MIDI pitch.
        density: notes per beat; nan leaves it to the model.
        syncopation: the share of notes that last over a stronger beat than their own; nan leaves it to the model.

    Chapter 7.
    """

    tonic: int
    mode: str
    meter: tuple[int, int]
    sections: tuple[int, ...]
    pickup: float = 0.0
    range: tuple[int, int] = (55, 86)
    density: float = math.nan
    syncopation: float = math.nan

    @property
    def bar(self) -> float:
        """Beats per bar."""
        return 4 * self.meter[0] / self.meter[1]

    @property
    def length(self) -> float:
        """Beats in all, the pickup included."""
        return sum(self.sections) * self.bar

    @property
    def base(self) -> int:
        """The MIDI number of the tonic that pitches are counted from."""
        return 60 + self.tonic + 12 * round((sum(self.range) / 2 - CENTRE) / 12)

    def midi(self, pitch: int) -> int:
        """The MIDI number of a pitch class, which must not be the rest."""
        return self.base + LOWEST + int(pitch)


@dataclass(frozen=True)
class TuneLayout:
    """Where a tune's bars and sections begin, in ticks from its first note.

    >>> TuneLayout.of(Plan(0, "major", (2, 4), (1, 2), pickup=0.5))
    TuneLayout(lines=(-36, 12, 60, 108, 156), starts=(1, 2), end=144)

    Args:
        lines: the start of every bar and the end of the last; a pickup's bar starts before 0.
        starts: the first bar of each section, by its place in `lines`.
        end: where the tune ends.

    Chapter 7.
    """

    lines: tuple[int, ...]
    starts: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, plan: Plan) -> "TuneLayout":
        """The layout of a plan: every bar is complete, but for the pickup and the last."""
        bar, pickup = round(plan.bar * TICKS), round(plan.pickup * TICKS)
        first, count = int(pickup > 0), sum(plan.sections)
        lines = tuple(pickup + bar * k for k in range(-first, count + 1))
        starts = first + np.cumsum((0, *plan.sections[:-1]))
        return cls(lines, tuple(starts.tolist()), count * bar)


@dataclass(frozen=True)
class Tune:
    """A melody in classes, one duration and one pitch per note or rest, with its plan and layout.

    >>> encode(Melody.from_pitches([62, 66, 69], key="D major")).onsets.tolist()
    [0, 24, 48]

    Args:
        durations: int64 (T,), places in `DURATIONS`.
        pitches: int64 (T,), places in `PITCHES`, or `REST`.
        plan: the key, metre, form and range of the tune.
        layout: where its bars and sections begin; they need not be as regular as the plan's own layout.

    Chapter 7.
    """

    durations: np.ndarray
    pitches: np.ndarray
    plan: Plan
    layout: TuneLayout

    @property
    def onsets(self) -> np.ndarray:
        """int64 (T,): where each note begins, in ticks."""
        ends = np.cumsum(np.array(LENGTHS)[self.durations])
        return np.concatenate([[0], ends[:-1]])


def encode(tune: Melody) -> Tune:
    """Describe a melody in the model's classes, and find its plan.

    >>> tune = encode(Melody.from_pitches([62, 66, None, 69], [1, 0.5, 0.5, 2], key="D major"))
    >>> tune.durations.tolist(), (tune.pitches + LOWEST).tolist(), tune.plan.sections
    ([11, 7, 7, 16], [0, 4, 37, 7], (1,))

    Args:
        tune: with a key. A `FolkTune` has its bar lines; any other melody begins with a whole bar and is one section.

    Returns: the classes, the plan and the layout. The range is that of the notes; density and syncopation are nan.

    Raises:
        ValueError: if there is no key, or a duration or a pitch is in no class.

    Chapter 7.
    """
    tonic, _, mode = tune.key.partition(" ")
    if not tonic or not tune.notes:
        raise ValueError(f"{tune.name!r} has no {'notes' if tonic else 'key'}: give it some to encode it")
    layout = _layout(tune)
    sections = tuple(np.diff((*layout.starts, len(layout.lines) - 1)).tolist())
    pickup = layout.lines[layout.starts[0]] / TICKS  # where the first whole bar begins
    span = int(tune.pitches.min()), int(tune.pitches.max())
    plan = Plan(pitch_class(tonic), mode or "major", tune.time_signature, sections, pickup, span)
    rows, now = [], 0
    for note in tune.notes:
        start, end = _ticks(note.start), _ticks(note.end)
        rows += [(start - now, REST)] * (start > now) + [(end - start, note.pitch - plan.base - LOWEST)]
        now = end
    lengths, pitches = np.array(rows).T
    if unknown := set(lengths.tolist()) - set(LENGTHS):
        raise ValueError(f"{tune.name!r}: a duration of {min(unknown) / TICKS:.4f} beats is in no class: see DURATIONS")
    if plan.range[0] - plan.base < LOWEST or plan.range[1] - plan.base > HIGHEST:
        raise ValueError(f"{tune.name!r} has pitches outside {plan.base + LOWEST}..{plan.base + HIGHEST}")
    return Tune(np.searchsorted(LENGTHS, lengths), pitches, plan, layout)


def decode(durations: Sequence[int], pitches: Sequence[int], plan: Plan) -> Melody:
    """Turn classes back into a melody.

    >>> plan = Plan(2, "dorian", (6, 8), (1,))
    >>> [note.pitch for note in decode([7, 7, 7], [24, 27, 31], plan).notes]
    [62, 65, 69]

    Args:
        durations: places in `DURATIONS`.
        pitches: places in `PITCHES`, or `REST`.
        plan: whose base the pitches are counted from.

    Returns: the melody, with the key and the metre of the plan.

    Chapter 7.
    """
    ends = np.cumsum(np.array(LENGTHS)[np.asarray(durations)])
    rows = zip(pitches, np.concatenate([[0], ends]).tolist(), ends.tolist(), strict=False)
    notes = [Note(plan.midi(p), a / TICKS, (b - a) / TICKS) for p, a, b in rows if p != REST]
    key = transpose_key(f"C {plan.mode}", plan.tonic)
    return Melody(tuple(notes), key=key, time_signature=plan.meter)


def _ticks(beats: float) -> int:
    """A time in ticks."""
    ticks = round(beats * TICKS)
    if abs(ticks - beats * TICKS) > 1e-3:
        raise ValueError(f"beat {beats:.4f} is not on the grid of {TICKS} per beat")
    return ticks


def _layout(tune: Melody) -> TuneLayout:
    """The bars and sections as written; a bar that a repeat sign cuts in two is one bar."""
    bar = round(4 * TICKS * tune.time_signature[0] / tune.time_signature[1])
    end = _ticks(tune.duration)
    signs = {_ticks(beat): sign for beat, sign in getattr(tune, "bars", ()) if 0 < beat < tune.duration - 1e-3}
    inner = sorted(signs) or list(range(bar, end, bar))
    kept = [inner[0] - bar if inner and inner[0] < bar else 0]
    starts = [int(kept[0] < 0)]
    for line, after in pairwise((*inner, end)):
        if _SECTION.search(signs.get(line, "")) and len(kept) > starts[-1]:
            starts.append(len(kept))  # here or, if this line is in the middle of a bar, at the next one
        if not line - kept[-1] < bar == after - kept[-1]:
            kept.append(line)
    lines = (*kept, max(kept[-1] + bar, end))
    return TuneLayout(lines, tuple(start for start in starts if start < len(kept)), end)
