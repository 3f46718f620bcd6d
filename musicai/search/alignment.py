"""Align a query with part of a line, by dynamic programming, in any key and at any tempo. Chapter 6.

An alignment is a chain of notes that agree. From one to the next it takes one of STEPS: to the next note in both, or
past a few notes that are missing, extra or wrong. Intervals do not depend on the key, nor do proportions of time on the
tempo, so that neither has to be searched for: the chain's last note tells the key, and the tempo is first guessed from
the time that as many notes take, then followed.

`best[i, j]` is the score of the best chain that ends with note i of the query on note j of the line. It continues one
of the chains a few notes back, so row i follows from the four rows before it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from musicai.search.costs import ERRORS, EXTRA, FAR, IN_TIME, MISSING, OCTAVE, STEPS, TICKS, Costs, QueryWeights

NEVER = -20_000  # the score of what is impossible
LONGEST = 2**15 - 1  # ticks: longer times count as this


@dataclass(frozen=True)
class Alignment:
    """Where a query lies in a line, and which notes belong together.

    >>> align([60, 62, 64], None, [50, 55, 57, 59], None).pairs.tolist()
    [[0, 1], [1, 2], [2, 3]]

    Args:
        score: how much likelier the query is as part of the line than as notes at large, in nats; higher is better.
        start, end: the first note of the line that belongs to the query, and the one after the last.
        transposition: semitones from the query to the line.
        pairs: int64 (pairs, 2), note of the query and note of the line, both increasing.

    Chapter 6.
    """

    score: float
    start: int
    end: int
    transposition: int
    pairs: np.ndarray


class Chains(NamedTuple):
    """The best chain that ends at each pair of notes: its score, tempo and last step; all (query notes, line notes).

    Args:
        best: scores in units.
        tempo: log2 of line time over query time, in 1/OCTAVE octaves.
        step: 0 for the first note of a chain, else 1 + the index in STEPS.

    Chapter 6.
    """

    best: np.ndarray
    tempo: np.ndarray
    step: np.ndarray


def align(query_pitches, query_starts, line_pitches, line_starts, costs: Costs | None = None) -> Alignment:
    """Find the part of a line that a query fits best, whatever its key and tempo, with wrong, missing and extra notes.

    >>> found = align([60, 62, 63, 65], None, [67, 69, 71, 72, 67], None)  # in another key, and one note is wrong
    >>> found.start, found.end, found.transposition
    (0, 4, 7)

    Args:
        query_pitches: array (notes,), MIDI numbers, perhaps with fractions.
        query_starts: array (notes,), onsets in any unit, increasing; None to compare pitches only.
        line_pitches: array (notes,), MIDI numbers.
        line_starts: array (notes,), onsets in beats; needed only if the query has starts.
        costs: of errors; by default `Costs.default()`.

    Returns: an Alignment. Its score averages over all places where the chain could end: it would be the log-likelihood
    ratio if the query came from a random place in the line.

    Raises:
        ValueError: if the query or the line is empty.

    Source: Needleman and Wunsch 1970; for a query within a line, Sellers 1980. Chapter 6.
    """
    weights = (costs or Costs.default()).weigh(query_pitches, query_starts)
    if not len(line_pitches):
        raise ValueError("the line to align with has no notes")
    chains = chain(weights, np.asarray(line_pitches, dtype=int), line_starts)
    return trace(chains, weights, np.asarray(line_pitches, dtype=int))


def chain(weights: QueryWeights, pitches: np.ndarray, starts: np.ndarray | None) -> Chains:
    """Fill in the table of the best chains, row by row.

    >>> chain(Costs.default().weigh([60, 62]), np.array([70, 72, 74]), None).step.tolist()  # 1: the next note in both
    [[0, 0, 0], [0, 1, 1]]

    Args:
        weights: of the query, from `Costs.weigh`.
        pitches: int (notes,), of the line.
        starts: (notes,), in beats; None if the query has no rhythm.

    Returns: Chains.

    Chapter 6.
    """
    notes, ticks = len(weights.pitches), _ticks(starts, len(pitches))
    best, tempo, step = (np.zeros((notes, len(pitches)), dtype=int) for _ in range(3))
    for i in range(notes):
        best[i], tempo[i] = i * weights.rates[0], _guess(weights, ticks)  # a chain that starts here
        for number, (a, b) in enumerate(STEPS[: len(weights.steps)]):
            if a > i or b >= len(pitches):
                continue
            score, pace = _extend(weights, pitches, ticks, i, number, best[i - a, :-b], tempo[i - a, :-b])
            better = score > best[i, b:]
            best[i, b:][better], tempo[i, b:][better], step[i, b:][better] = score[better], pace[better], number + 1
    return Chains(best, tempo, step)


def _extend(weights, pitches, ticks, i, number, best, tempo):
    """Scores and tempos of chains to note i of the query and notes b, b + 1, ... of the line, a and b notes later."""
    a, b = STEPS[number]
    agree = pitches[b:] - pitches[:-b] == weights.pitches[i] - weights.pitches[i - a]
    otherwise = weights.rates[1] if number == 0 else NEVER // 2  # a change of key
    score = best + weights.gains[i] + np.where(agree, weights.steps[number], otherwise)
    if a == b:
        score = score + sum(_wrong(weights, pitches, i, back)[b:] for back in range(1, a))
    beat, pace = _keep_time(weights, ticks, i, number, tempo)
    return score + beat, pace


def _wrong(weights, pitches, i, back):
    """The score of the pair of notes so many steps before note i and each note of the line, which disagree."""
    _, _, slip, wrong, octave, *_ = weights.rates
    error = np.zeros(len(pitches), dtype=int)
    error[back:] = np.abs(pitches[back:] - pitches[:-back] - (weights.pitches[i] - weights.pitches[i - back]))
    return weights.gains[i - back] + np.where(error == 12, octave, np.where(error <= 2, slip, wrong))


def _keep_time(weights, ticks, i, number, tempo):
    """The worth of being in time, and the tempo after it.

    Who leaves out a note either goes on at once or waits for the next one: the closer of the two counts.
    """
    (a, b), (*_, slope, loose) = STEPS[number], weights.rates
    at_once = _log(ticks[1 : len(ticks) - b + 1] - ticks[:-b]) - weights.spans[i - a, 1] - tempo
    waiting = _log(ticks[b:] - ticks[:-b]) - weights.spans[i - a, a] - tempo
    off = np.where(np.abs(at_once) <= np.abs(waiting), at_once, waiting)
    cost = slope * np.minimum(np.abs(off), FAR) >> 4
    return np.maximum(weights.beats[i - a] - cost, loose), tempo + (off >> 2)


def _guess(weights, ticks):
    """The tempo if a query starts at each note of the line: from the time that as many notes take."""
    here = np.arange(len(ticks))
    last = np.minimum(here + len(weights.pitches) - 1, len(ticks) - 1)
    return np.where(last > here, _log(ticks[last] - ticks) - weights.spans[0, last - here], 0)


def _ticks(starts, notes):
    return np.rint(TICKS * (np.zeros(notes) if starts is None else np.asarray(starts, float))).astype(int)


def _log(ticks):
    return np.rint(OCTAVE * np.log2(ticks.clip(1, LONGEST) / TICKS)).astype(int)


def trace(chains: Chains, weights: QueryWeights, pitches: np.ndarray) -> Alignment:
    """Follow the best chain back from its end.

    >>> weights, line = Costs.default().weigh([60, 62]), np.array([70, 72, 75])
    >>> trace(chain(weights, line, None), weights, line).pairs.tolist()
    [[0, 0], [1, 1]]

    Args:
        chains: the table.
        weights: of the query.
        pitches: int (notes,), of the line.

    Returns: an Alignment.

    Chapter 6.
    """
    left = np.arange(len(weights.pitches))[::-1]
    ends = chains.best + weights.rates[0] * left[:, None]  # the notes of the query after the chain
    j = np.argmax(ends.max(axis=0))
    i = np.argmax(ends[:, j])
    nats = ends.max(axis=0) / weights.units
    score = nats.max() + np.log(np.exp(nats - nats.max()).mean())
    pairs = [(i, j)]
    while number := chains.step[i, j]:
        a, b = STEPS[number - 1]
        pairs += [(i - back, j - back) for back in range(1, a if a == b else 0)] + [(i - a, j - b)]
        i, j = i - a, j - b
    pairs = np.array(pairs[::-1], dtype=np.int64)
    shift = int(pitches[pairs[-1, 1]]) - int(weights.pitches[pairs[-1, 0]])
    return Alignment(float(score), int(pairs[0, 1]), int(pairs[-1, 1]) + 1, shift, pairs)


def likelihood(query: np.ndarray, line: np.ndarray, shift: int, steps=None, line_steps=None, tempo=0) -> float:
    """How likely someone makes a query of a random place in a line: the sum over all alignments in one key and tempo.

    `align` looks for the single best alignment in any key, and knows only right and wrong notes. Once the key is known,
    every way to explain each note of the query is cheap to count: it is the line's note, right or so many semitones
    off, or an extra one near the note before; and a note of the line may be missing. With rhythm, a note of the line
    also lasts about as long as it should at this tempo, while an extra one may last as long as it likes.

    >>> found = likelihood(np.array([60, 62]), np.array([65, 67, 60]), 5)  # 0.86 twice, from one of three places,
    >>> round(float(found), 3), round(0.86**2 / 3, 3)  # and some ways that are less likely
    (0.258, 0.247)

    Args:
        query: int (notes,), MIDI numbers.
        line: int (notes,), MIDI numbers.
        shift: semitones from the query to the line.
        steps: int (notes - 1,), log2 of the time from each note of the query to the next, in 1/OCTAVE octaves; None
            without rhythm.
        line_steps: int (notes,), likewise for each note of the line.
        tempo: what to add to the line's steps.

    Returns: a probability, which is too small for a float if hundreds of notes are wrong; with rhythm, relative to
    times that are any of SPREAD steps.

    Source: the forward algorithm; Durbin et al., "Biological Sequence Analysis" (1998), section 4.2. Chapter 6.
    """
    total, reached = 0.0, np.zeros(len(query) + 1)  # with the first i notes explained, up to this note of the line
    for j in range(len(line)):
        before = reached[0] = 1.0  # it may start anywhere
        for i in range(len(query)):
            error = ERRORS[min(abs(line[j] - query[i] - shift), 13)]
            if steps is not None and i < len(steps):
                error *= IN_TIME[min(abs(steps[i] - line_steps[j] - tempo), len(IN_TIME) - 1)]
            extra = EXTRA[min(abs(query[i] - query[i - 1]), 13)] if i else 0.0
            now = before * error + reached[i] * extra + reached[i + 1] * MISSING
            before, reached[i + 1] = reached[i + 1], now
        total += reached[-1]
    return total / len(line)
