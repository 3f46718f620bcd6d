"""Is a melody new? What it has in common with the tunes of an index, beside what real tunes have. Chapter 7.

Two things are measured. The *longest run* is the most notes in a row that also stand in some tune: the same intervals,
and the same proportions between the times from note to note, so that neither transposing nor doubling all the note
values hides it. The *likeness* of a tune that `MelodyIndex.find` finds is the score of its best alignment with the
melody, divided by that of a perfect copy. It forgives what ends a run: a note changed here and there.

Folk tunes share turns of phrase, so neither is 0 for a real tune that nobody copied. HUMAN and ALIKE say how far it
goes, measured on the test split against the training split, in which no version of these tunes is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from typing import NamedTuple

import numpy as np

from musicai.notes import Melody, Score, read_score
from musicai.notes.midi import TICKS
from musicai.search import Lines, Match, MelodyIndex, align_all, default_index, lines_of
from musicai.threads import jit

# `python benchmarks/composition.py --only human` measures these on test tunes against the training tunes.
HUMAN = (11, 15)  # notes: median and 90th percentile of the longest run
ALIKE = 0.2  # 90th percentile of the likeness of the nearest tune
FLOOR = 90.0  # nats: what the nearest tune of 99 % of all excerpts of 32 notes stays below
NEAREST = 5  # tunes that a certificate lists
EXCERPT = 512  # notes that are looked for at once


class Place(NamedTuple):
    """Where the longest run is.

    >>> Place("Scale", "0", 4.0, 2)
    Place(title='Scale', id='0', start=4.0, note=2)

    Args:
        title, id: of the tune.
        start: the beat in the tune.
        note: the first note of the run in the piece, counted from 0.

    Chapter 7.
    """

    title: str
    id: str
    start: float
    note: int


@dataclass(frozen=True, eq=False)
class Novelty:
    """A certificate: what a piece has in common with known tunes.

    >>> certify(tune).original  # doctest: +SKIP
    True

    Args:
        nearest: the tunes most like it, best first.
        likeness: of the nearest tune, from 0 to 1, a perfect copy.
        longest: the most notes in a row that are also in a tune; 0 if there are not even three.
        where: the tune and the place; None if there is none.
        interval: median and 90th percentile of `longest` for real tunes.

    Chapter 7.
    """

    nearest: tuple[Match, ...]
    likeness: float
    longest: int
    where: Place | None
    interval: tuple[int, int] = HUMAN

    @property
    def original(self) -> bool:
        """Whether the longest run is no longer than in nine of ten real tunes, and the nearest tune is no more alike.

        In a few notes every tune is like another: a match of less than FLOOR nats doesn't count.
        """
        copied = self.likeness > ALIKE and self.nearest[0].score > FLOOR
        return self.longest <= self.interval[1] and not copied

    def __str__(self) -> str:
        said = "Original: it shares no more with known tunes than real tunes do."
        said = said if self.original else "Not original: it shares more with a known tune than real tunes do."
        run = "not even three notes in a row are in a known tune"
        if self.where:
            title, name, start, note = self.where
            run = f"{self.longest} notes from note {note + 1} on,\n  also in {_quoted(title, name)} from beat {start:g}"
        human = "half of real tunes share up to {}, nine of ten up to {}".format(*self.interval)
        near = [f"{_quoted(match.title, match.id)}, {self.likeness:.0%} alike" for match in self.nearest[:1]]
        near = near[0] if near and self.likeness >= 0.005 else "no tune is alike"
        if self.longest > self.interval[1] and self.likeness <= ALIKE:
            near += "; only the run is copied, or the tune at another pace"
        near += f"\n  (nine of ten real tunes: up to {ALIKE:.0%})"
        return f"{said}\nLongest run: {run}\n  ({human})\nAs a whole: {near}"

    def _repr_markdown_(self) -> str:
        first, *rest = str(self).replace("\n  ", " ").splitlines()
        return "\n".join([f"**{first}**", *(f"- {line}" for line in rest)])


def certify(piece: Melody | Score | str | PathLike, index: MelodyIndex | str | PathLike | None = None) -> Novelty:
    """Compare a piece with all tunes of an index.

    >>> index = MelodyIndex.build([Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72], name="Scale")], progress=False)
    >>> novelty = certify(Melody.from_pitches([70, 60, 55, 57, 59, 60, 62, 50]), index)
    >>> novelty.longest, novelty.where
    (5, Place(title='Scale', id='0', start=0.0, note=2))

    Args:
        piece: a Melody or a Match; a Song or a Score, of which the part called "melody" or "soprano" counts, or else
            every voice; or the path of a MIDI, MusicXML or ABC file.
        index: the tunes, or the path of an index that `musicai index` made; the default index if None.

    Returns: the certificate.

    Raises:
        ValueError: if the piece has no line of three notes, or the file cannot be read.
        OSError: if there is no such file.

    Chapter 7.
    """
    piece = read_score(piece, expand_repeats=True) if isinstance(piece, str | PathLike) else piece
    piece = getattr(piece, "piece", getattr(piece, "score", piece))  # of a Match, of a Song
    voices = [line for line in _voices(piece) if len(line) > 2]
    if not voices:
        raise ValueError("the piece has no line of three notes or more, so there is nothing to compare")
    if not isinstance(index, MelodyIndex):
        index = default_index() if index is None else MelodyIndex.open(index)
    alike = sorted((found for line in voices for found in _alike(line, index)), key=lambda found: -found[0])
    nearest: dict[str, Match] = {}
    for _, match in alike:  # of each tune, the best place
        nearest.setdefault(match.id, match)
    longest, where = max((_longest(line, index) for line in voices), key=lambda found: found[0])
    return Novelty(tuple(nearest.values())[:NEAREST], alike[0][0] if alike else 0.0, longest, where)


def longest_run(melody: Melody, lines: Lines) -> tuple[int, int, int]:
    """Find the longest run of notes that a melody and one of many lines have in common.

    >>> longest_run(Melody.from_pitches([60, 62, 64]), Lines.from_pieces([Melody.from_pitches([72, 55, 57, 59])]))
    (3, 0, 1)

    Two runs are the same if their intervals are, and the proportions of the times from each note to the next. Runs of 3
    notes get numbers, equal for equal runs, and then a table is filled row by row: how long is the run that ends here?

    Args:
        melody: of three notes or more.
        lines: the collection.

    Returns: how many notes (0 if there are not even three), the first in the melody, and the first in the lines.

    Source: Gusfield, "Algorithms on Strings, Trees, and Sequences" (1997), on the longest common substring. Chapter 7.
    """
    length, here, there = _common_run(_triples(Lines.from_pieces([melody])), _triples(lines))
    return (length + 2, here, there) if length else (0, 0, 0)


def _triples(lines: Lines) -> np.ndarray:
    """A number for each note and the two after it: their intervals, and the proportion of their times; -1 at an end."""
    steps = np.diff(np.rint(TICKS * lines.starts.astype(np.float64)).astype(np.int64)).clip(0, 2**23 - 1)
    intervals = np.diff(lines.pitches.astype(np.int64)) + 128
    common = np.gcd(steps[1:], steps[:-1]).clip(1)
    numbers = np.full(len(lines.pitches), -1, np.int64)
    numbers[:-2] = intervals[1:] << 8 | intervals[:-1]
    numbers[:-2] = (numbers[:-2] << 23 | steps[1:] // common) << 23 | steps[:-1] // common
    for back in (1, 2):
        numbers[(lines.offsets[1:] - back).clip(0)] = -1
    return numbers


@jit()
def _common_run(ours, theirs):
    """The longest run of numbers, none of them -1, in both: its length, and where it first begins in each."""
    best, here, there, row = 0, 0, 0, np.zeros(len(ours) + 1, np.int64)  # row: the length of the run that ends here
    for j in range(len(theirs)):
        for i in range(len(ours) - 1, -1, -1):
            row[i + 1] = row[i] + 1 if ours[i] == theirs[j] and theirs[j] >= 0 else 0
            if row[i + 1] > best or (row[i + 1] == best and there == j + 1 - best):
                best, here, there = row[i + 1], i + 1 - row[i + 1], j + 1 - row[i + 1]
    return best, here, there


def _longest(line: Melody, index: MelodyIndex) -> tuple[int, Place | None]:
    length, note, there = longest_run(line, index.lines)
    if not length:
        return 0, None
    i = int(np.searchsorted(index.lines.offsets, there, side="right")) - 1
    name, tune = index.read_line(i)
    return length, Place(tune.name, name, tune.notes[there - int(index.lines.offsets[i])].start, note)


def _alike(line: Melody, index: MelodyIndex) -> Iterator[tuple[float, Match]]:
    """Pairs of likeness and match, of a long line for each part of it."""
    bounds = np.linspace(0, len(line), 1 + -(-len(line) // EXCERPT)).astype(int)
    for first, last in pairwise(bounds.tolist()):
        part = replace(line, notes=line.notes[first:last])
        perfect = float(align_all(part.pitches, part.starts, Lines.from_pieces([part]))[0][0])
        for match in index.find(part, NEAREST) if perfect > 0 else ():
            score = float(align_all(part.pitches, part.starts, Lines.from_pieces([match.piece]))[0][0])
            yield min(1.0, max(0.0, score / perfect)), replace(match, score=score)  # both by the best alignment


def _voices(piece: Melody | Score) -> list[Melody]:
    """The lines that are compared."""
    tracks = tuple(track for track in getattr(piece, "tracks", ()) if track.name in ("melody", "soprano"))
    return lines_of(replace(piece, tracks=tracks) if tracks else piece)


def _quoted(title: str, name: str) -> str:
    return f'"{title}" [{name}]' if title else f"[{name}]"
