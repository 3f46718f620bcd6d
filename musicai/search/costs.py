"""What a mistake costs: how likely people's errors are, against how likely any other notes would be. Chapter 6.

A query note that agrees with the tune is worth the more, the rarer its interval is: `intervals` and `ratios` say how
likely an interval or a change of rhythm is in music at large. `scripts/fit_search.py` has taken the costs of wrong
pitches from a mixture of Gaussians and then moved each number up and down until the right tunes of simulated queries
stood out best; `fitted.json` keeps them.
"""

import json
from collections import namedtuple
from dataclasses import dataclass, replace
from functools import cache
from math import comb, log
from pathlib import Path
from typing import Self

import numpy as np

# From one note of the query that agrees with the line to the next one: how many notes further in each of them.
PLACES = [(a, b) for a in range(1, 7) for b in range(1, 7) if abs(a - b) < (2 if max(a, b) > 4 else 3)]
STEPS = tuple(sorted(PLACES, key=max))
UNITS = 16  # scores are whole numbers of this fraction of a nat, so that 16 bits hold them,
ROOM = 1_250  # nats that fit into them
OCTAVE = 32  # logarithms of times are whole numbers, of which a factor of two has this many
TICKS = 48  # per beat: times within a line are rounded to these
FAR = 96  # three octaves of tempo: further off costs no more
# If someone makes the mistakes that we call mild: how likely a note is so many semitones off, how likely an extra one
# follows at that distance, and how likely it is missing.
ERRORS = np.array([0.86, 0.012, 0.012, 0.008, 0.004, 0.004, *[1e-4] * 6, 0.01, 1e-4])
EXTRA = np.array([0.006, 0.006, 0.006, 0.004, 0.002, 0.002, *[1e-4] * 8])
MISSING = 0.04
# With rhythm: how much likelier than any of SPREAD times it is that a note is so many 1/OCTAVE octaves out of time.
SPREAD = 160
IN_TIME = np.array([*[11.0] * 5, 10.0, 8.0, 5.0, 2.5, 1.0, 0.3, 0.1, 0.02])


class QueryWeights(namedtuple("QueryWeights", "pitches spans gains beats steps rates units")):
    """The costs of one query's errors in whole numbers: what `search.alignment` computes with.

    Args:
        pitches: int16 (notes,).
        spans: int16 (notes, notes + 1), log2 of the time from note i to note i + k.
        gains: int16 (notes,), what it is worth that a note has the right pitch.
        beats: int16 (notes,), likewise the right time until the next note.
        steps: int16 (steps,), what each of STEPS costs, up to those that pass over a quarter of the query.
        rates: int16 (7,): edge, change, slip, wrong, octave, and how much being out of time costs: slope, most.
        units: how many of these numbers make a nat.

    Chapter 6.
    """


@dataclass(frozen=True)
class Costs:
    """Natural logarithms of probabilities, and of ratios of them: how people err, and what music is like at large.

    >>> costs = Costs.default()
    >>> costs.slip > costs.wrong  # a note is more often a semitone or two off than, say, a sixth
    True

    Args:
        intervals: (49,), of the intervals -24..24 in queries at large.
        ratios: (33,), of a duration over the one before, in quarters of an octave from -16 to 16, per 1/OCTAVE octave.
        right: of a note that is as in the line.
        slip: of a note one or two semitones off, for each of the four pitches.
        wrong: likewise of a note that is off by anything else.
        octave: likewise of a note an octave off.
        deletion: of a note of the line that the query lacks.
        insertion: of a note of the query that the line lacks.
        other: the cost of a wrong note beside a missing or an extra one, when it is unclear which is which.
        edge: the cost of each note of the query before the first or after the last one that agrees.
        change: the cost of going on in another key.
        steady: of a note that is in time, per 1/OCTAVE octave.
        slope: the cost of each octave by which a duration is out of time,
        loose: but all in all no more than this.

    Chapter 6.
    """

    intervals: tuple[float, ...]
    ratios: tuple[float, ...]
    right: float
    slip: float
    wrong: float
    octave: float
    deletion: float
    insertion: float
    other: float
    edge: float
    change: float
    steady: float
    slope: float
    loose: float

    @classmethod
    @cache
    def default(cls) -> Self:
        """The costs that were fitted to simulated errors in the training split of the folk corpus."""
        return cls(**json.loads(Path(__file__).with_name("fitted.json").read_text())["costs"])

    @classmethod
    def one_key(cls) -> Self:
        """The default costs, but so that the key never changes: the last note's key is that of the whole query."""
        return replace(cls.default(), change=-500.0)

    def step(self, query: int, line: int) -> float:
        """The log-probability of going on by so many notes of the query and of the line, but for the notes between."""
        both, extra, missing = min(query, line), max(query - line, 0), max(line - query, 0)
        unclear = 0 if query == line else (both - 1) * self.other + log(comb(max(query, line) - 1, both - 1))
        return self.right + extra * self.insertion + missing * self.deletion + unclear

    def weigh(self, pitches: np.ndarray, starts: np.ndarray | None = None) -> QueryWeights:
        """Work out what each note of a query is worth, in whole numbers.

        >>> Costs.default().weigh([60, 62, 64]).pitches
        array([60, 62, 64], dtype=int16)

        Args:
            pitches: (notes,), MIDI numbers, perhaps with fractions: they are rounded once the query is in tune.
            starts: (notes,), onsets in any unit; None without rhythm.

        Returns: QueryWeights.

        Raises:
            ValueError: if there are no notes, or not as many starts as pitches.

        Chapter 6.
        """
        whole = _in_tune(np.asarray(pitches, dtype=float))
        if not len(whole) or (starts is not None and len(starts) != len(whole)):
            count = "none" if starts is None else len(starts)
            raise ValueError(f"a query needs a note or more, and a start for each: {len(whole)} notes, {count} starts")
        units = min(float(UNITS), ROOM * UNITS / (16 * len(whole)))  # one type: else numba compiles twice
        intervals = np.diff(whole).clip(-24, 24) + 24
        gains = np.append(0, -np.array(self.intervals)[intervals])
        spans = np.zeros((len(whole), len(whole) + 1), dtype=int) if starts is None else _spans(starts)
        beats = np.zeros(len(whole))
        if starts is not None:
            quarters = np.rint(np.diff(spans[:-1, 1]) * 4 / OCTAVE).astype(int).clip(-16, 16)
            beats[:-1] = self.steady - np.array(self.ratios)[np.append(0, quarters)[: len(whole) - 1] + 16]
        steps = [self.step(*step) for step in STEPS if max(step) <= max(2, len(whole) // 4 + 1)]
        slope = 0 if starts is None else 16 / OCTAVE * self.slope
        rates = [self.edge, self.change, self.slip, self.wrong, self.octave, slope, self.loose]
        scaled = (np.rint(units * np.array(x)).astype(np.int16) for x in (gains, beats, steps, rates))
        return QueryWeights(whole.astype(np.int16), spans.astype(np.int16), *scaled, units)


def _in_tune(pitches: np.ndarray) -> np.ndarray:
    """Round pitches to semitones, having shifted them so that they are as close to semitones as possible."""
    offset = np.angle(np.exp(2j * np.pi * pitches).sum()) / (2 * np.pi)
    return np.rint(pitches - offset).astype(int)


def _spans(starts: np.ndarray) -> np.ndarray:
    """The logarithm of the time from each note to the k-th one after it (notes, notes + 1); 0 beyond the last."""
    starts = np.asarray(starts, dtype=float)
    count = len(starts)
    later = np.arange(count)[:, None] + np.arange(count + 1)
    times = starts[np.minimum(later, count - 1)] - starts[:, None]
    tiny = 1e-4 * max(starts[-1] - starts[0], 1e-9)
    return np.where(later < count, np.rint(OCTAVE * np.log2(np.maximum(times, tiny))).clip(-3000, 3000), 0).astype(int)
