"""`search.alignment` for whole collections. Chapter 6.

Many lines are laid end to end in a block that fits into the processor's cache, with a gap between two lines that no
step can cross. Row i of the block needs only the four rows before it, and its cells do not need each other: each loop
over a row is compiled to vectors of 16-bit numbers. (What is read is read before anything is compared, else the
compiler makes no vectors.)
"""

from collections import namedtuple

import numpy as np

from musicai.search.alignment import LONGEST, NEVER, Alignment, Chains, likelihood, trace
from musicai.search.costs import ERRORS, EXTRA, FAR, IN_TIME, MISSING, OCTAVE, SPREAD, STEPS, TICKS, Costs, QueryWeights
from musicai.search.lines import Lines
from musicai.threads import jit

SIZE = 2048  # cells of a block
GAP = 1 + max(max(step) for step in STEPS)  # cells between lines, more than any step
ROWS = GAP  # rows that are kept
LOGS = np.rint(OCTAVE * np.log2(np.arange(LONGEST + 1).clip(1) / TICKS)).astype(np.int16)
MOVES = np.array(STEPS)
TEMPOS = np.arange(-40, 41, 4)  # that are tried, from that at which the query is as fast as the line on average
LAST = TEMPOS[-1] + len(IN_TIME)  # a note that is further off is out of time at all of them
PACES = IN_TIME[np.abs(np.arange(-LAST, LAST + 1)[:, None] - TEMPOS).clip(max=len(IN_TIME) - 1)]  # (off, tempos)
i16 = np.int16
fast = jit(error_model="numpy", nogil=True)
inner = jit(error_model="numpy", nogil=True, no_cpython_wrapper=True)  # called by compiled code only

_likelihood = fast(likelihood)


# A type of this file: compiled code on disk is dropped when this file changes, and not when another does.
Weights = namedtuple("Weights", QueryWeights._fields)


class Block(namedtuple("Block", "pitches ticks lags guess wrong best tempo step end shift bounds")):
    """Some lines, end to end, and the rows of their tables; int16 arrays (cells,), where nothing else is said.

    Args:
        pitches: MIDI numbers.
        ticks: int32 (cells,), onsets.
        lags: (lags, cells), log2 of the time since the note so many notes before.
        guess: the tempo.
        wrong: (2, cells), the score of the wrong pairs between, and zeros.
        best, tempo, step: (rows, cells), as in `alignment.Chains`.
        end, shift: the score of the best chain that ends here, and its transposition.
        bounds: int64 (lines, 2), first cell and last + 1 of each line.
    """


def align_all(query_pitches, query_starts, lines: Lines, candidates=None, costs=None) -> tuple:
    """Align a query with every line: the score and the transposition that `align` finds for each.

    >>> from musicai.notes import Melody
    >>> lines = Lines.from_pieces([Melody.from_pitches([50, 57, 55]), Melody.from_pitches([60, 62, 64])])
    >>> scores, shifts = align_all([70, 72, 74], None, lines)
    >>> int(scores.argmax()), shifts[1]
    (1, np.int8(-10))

    Args:
        query_pitches: array (notes,), MIDI numbers, perhaps with fractions.
        query_starts: array (notes,), onsets in any unit, increasing; None to compare pitches only.
        lines: the collection.
        candidates: int array, the numbers of the lines to compare; all by default.
        costs: of errors; by default `Costs.default()`. Or what `Costs.weigh` returns for this query.

    Returns: scores, float32 (n,), in nats, and transpositions, int8 (n,), in the order of the lines or candidates.

    Raises:
        ValueError: if the query is empty.

    Chapter 6.
    """
    weights = _weights(costs, query_pitches, query_starts)
    chosen = np.arange(len(lines)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    scores, shifts = np.empty(len(chosen), np.float32), np.empty(len(chosen), np.int8)
    longest = int((lines.offsets[chosen + 1] - lines.offsets[chosen]).max(initial=0))
    block = _block(max(SIZE, longest + 2 * GAP), ROWS)
    _run(block, lines.pitches, lines.starts, lines.offsets, chosen, Weights(*weights), MOVES, LOGS, scores, shifts)
    return scores, shifts


def weigh(query_pitches: np.ndarray, query_starts, lines: Lines, shifts: np.ndarray) -> np.ndarray:
    """How much likelier a query is as part of each line, by all of its alignments, than as notes at large.

    >>> from musicai.notes import Melody
    >>> weigh([70, 72], None, Lines.from_pieces([Melody.from_pitches([60, 62, 64])]), np.array([-10])).round(1)
    array([0.6])

    Args:
        query_pitches: (notes,), MIDI numbers, perhaps with fractions.
        query_starts: (notes,), onsets in any unit, increasing; None to compare pitches only.
        lines: the candidates.
        shifts: int (lines,), semitones from the query to each line, from `align_all`.

    Returns: float64 (lines,), in nats.

    Chapter 6.
    """
    costs, ends = Costs.default(), lines.offsets[1:]
    weights, times = costs.weigh(query_pitches, query_starts), np.diff(lines.starts, append=0)
    times[ends - 1] = lines.durations[ends - 1]
    pitches, line_steps = lines.pitches.astype(int), LOGS[np.rint(TICKS * times).clip(1, LONGEST).astype(int)]
    query, steps = weights.pitches.astype(int), weights.spans[: 0 if query_starts is None else -1, 1].astype(int)
    parts = zip(lines.offsets, ends, shifts.astype(int), strict=False)
    found = [_likelihood_at_any_tempo(query, pitches[a:b], shift, steps, line_steps[a:b]) for a, b, shift in parts]
    chance = (weights.gains.sum() + weights.beats.sum()) / weights.units - len(steps) * (costs.steady + np.log(SPREAD))
    return np.log(np.array(found) + 1e-300) + chance


@fast
def _likelihood_at_any_tempo(query, line, shift, steps, line_steps):
    """The mean of `likelihood` over the tempos, which lie side by side so that each step is taken for all at once."""
    if not len(steps):
        return _likelihood(query, line, shift, steps, line_steps, 0)
    usual, ones = int(np.rint(steps.mean() - line_steps.mean())), np.ones(len(TEMPOS))
    reached, before, total = np.zeros((len(query) + 1, len(TEMPOS))), ones.copy(), np.zeros(len(TEMPOS))
    reached[0] = 1.0
    for j in range(len(line)):
        before[:] = 1.0
        for i in range(len(query)):
            error = ERRORS[min(abs(line[j] - query[i] - shift), 13)]
            extra = EXTRA[min(abs(query[i] - query[i - 1]), 13)] if i else 0.0
            timed, off = i < len(steps), steps[min(i, len(steps) - 1)] - line_steps[j] - usual
            in_time = PACES[min(max(off, -LAST), LAST) + LAST] if timed else ones
            fewer, these = reached[i], reached[i + 1]
            for k in range(len(TEMPOS)):
                now = before[k] * error * in_time[k] + fewer[k] * extra + these[k] * MISSING
                before[k], these[k] = these[k], now
        total += reached[-1]
    return total.mean() / len(line)


def align(query_pitches, query_starts, line_pitches, line_starts, costs=None) -> Alignment:
    """Compute `alignment.align`; `costs` may be what `Costs.weigh` returns for this query."""
    weights = _weights(costs, query_pitches, query_starts)
    pitches, count = np.asarray(line_pitches, dtype=np.uint8), len(line_pitches)
    if not count:
        raise ValueError("the line to align with has no notes")
    starts = np.zeros(count, np.float32) if line_starts is None else np.asarray(line_starts, dtype=np.float32)
    block = _block(count + 2 * GAP, max(ROWS, len(weights.pitches)))
    found = np.empty(1, np.float32), np.empty(1, np.int8)
    _run(block, pitches, starts, np.array([0, count]), np.zeros(1, np.int64), Weights(*weights), MOVES, LOGS, *found)
    table = (x[: len(weights.pitches), GAP : GAP + count].astype(int) for x in (block.best, block.tempo, block.step))
    return trace(Chains(*table), weights, pitches.astype(int))


def _weights(costs: Costs | QueryWeights | None, pitches, starts) -> QueryWeights:
    return costs if isinstance(costs, QueryWeights) else (costs or Costs.default()).weigh(pitches, starts)


def _block(size: int, rows: int) -> Block:
    tables = [np.full((rows, size), NEVER, i16) for _ in range(3)]
    lags, wrong, bounds = np.zeros((GAP, size), i16), np.zeros((2, size), i16), np.zeros((size // GAP, 2), np.int64)
    guess, end, shift = (np.zeros(size, i16) for _ in range(3))
    pitches = np.full(size, 1000, i16)
    return Block(pitches, np.zeros(size, np.int32), lags, guess, wrong, *tables, end, shift, bounds)


@fast
def _run(block, pitches, starts, offsets, chosen, weights, moves, logs, scores, shifts):
    """Fill block after block with lines and find the scores of all."""
    done, traced = 0, len(block.best) >= len(weights.pitches)
    full = traced or weights.rates[5] != 0 or weights.beats.any()
    while done < len(chosen):
        count = _fill(block, pitches, starts, offsets, chosen[done:])
        size = block.bounds[count - 1, 1] + GAP if count else GAP
        if full:
            _measure(block, count, size, weights, logs)
        block.end[:] = NEVER
        for i in range(len(weights.pitches)):
            _row(block, i, size, weights, moves, full)
            for k in range(count):
                block.best[i % len(block.best), block.bounds[k, 1] : block.bounds[k, 1] + GAP] = NEVER
            _end(block, i, size, weights)
        for k in range(count):
            first, last = block.bounds[k]
            scores[done + k], shifts[done + k] = _score(block, first, last, weights.units)
        done += count


@inner
def _fill(block, pitches, starts, offsets, chosen):
    """Copy lines into the block until it is full; return how many."""
    cell, count = GAP, 0
    for line in chosen:
        first, last = offsets[line], offsets[line + 1]
        if cell + last - first + GAP > len(block.end):
            break
        block.bounds[count, 0], block.bounds[count, 1] = cell, cell + last - first
        for x in range(first, last):
            block.pitches[cell] = pitches[x]
            block.ticks[cell] = np.int32(np.rint(TICKS * np.float64(starts[x])))
            cell += 1
        block.pitches[cell : cell + GAP], block.ticks[cell : cell + GAP] = 1000, 0
        cell += GAP
        count += 1
    return count


@inner
def _measure(block, count, size, weights, logs):
    """The times between notes, and the guess of the tempo."""
    ticks = block.ticks
    for lag in range(1, len(block.lags)):
        for j in range(lag, size):
            block.lags[lag, j] = logs[min(max(ticks[j] - ticks[j - lag], 1), LONGEST)]
    for k in range(count):
        first, last = block.bounds[k]
        for j in range(first, last):
            end = min(j + len(weights.pitches) - 1, last - 1)
            span = logs[min(max(ticks[end] - ticks[j], 1), LONGEST)]
            block.guess[j] = i16(span - weights.spans[0, end - j]) if end > j else i16(0)


@inner
def _row(block, i, size, weights, moves, full):
    """Row i of the tables."""
    rows, now, back = len(block.best), i % len(block.best), 0
    block.best[now, GAP:size] = i16(i * weights.rates[0])
    block.step[now, :size], block.wrong[0, :size] = 0, 0
    for j in range(size):  # as a slice, it would take seconds to compile
        block.tempo[now, j] = block.guess[j]
    for number in range(len(weights.steps)):
        a, b = moves[number]
        if a > i:
            continue
        while a == b and back < a - 1:
            back += 1
            _add_wrong(block, i, back, size, weights)
        then, between = (i - a) % rows, int(a != b or a == 1)
        if full:
            _extend(block, now, then, between, i, number, a, b, size, weights)
        else:
            _extend_pitches(block, now, then, between, i, number, a, b, size, weights)


@inner
def _add_wrong(block, i, back, size, weights):
    """`alignment._wrong`, added to what is between."""
    pitches, others = block.pitches[GAP:size], block.pitches[GAP - back : size - back]
    total, interval = block.wrong[0, GAP:size], i16(weights.pitches[i] - weights.pitches[i - back])
    gain = weights.gains[i - back]
    slip, wrong, octave = (i16(weights.rates[2] + gain), i16(weights.rates[3] + gain), i16(weights.rates[4] + gain))
    for j in range(len(total)):
        error = i16(i16(pitches[j] - others[j]) - interval)
        error = i16(max(error, i16(-error)))
        score = slip if error <= 2 else wrong
        score = octave if error == 12 else score
        total[j] = i16(total[j] + score)


@inner
def _extend(block, now, then, between, i, number, a, b, size, weights):
    """`alignment._extend`."""
    best, tempo, step = block.best[now, GAP:size], block.tempo[now, GAP:size], block.step[now, GAP:size]
    before, pace = block.best[then, GAP - b : size - b], block.tempo[then, GAP - b : size - b]
    wrong = block.wrong[between, GAP:size]
    pitches, others = block.pitches[GAP:size], block.pitches[GAP - b : size - b]
    next_time, time = block.lags[1, GAP - b + 1 : size - b + 1], block.lags[b, GAP:size]
    own, whole = weights.spans[i - a, 1], weights.spans[i - a, a]
    beat, slope, loose = weights.beats[i - a], weights.rates[5], weights.rates[6]
    interval, mark = i16(weights.pitches[i] - weights.pitches[i - a]), i16(number + 1)
    agree = i16(weights.steps[number] + weights.gains[i])
    other = i16((weights.rates[1] if number == 0 else NEVER // 2) + weights.gains[i])
    far = i16(FAR)
    for j in range(len(best)):
        old, old_tempo, how, here = best[j], tempo[j], step[j], pace[j]
        one, two = i16(i16(next_time[j] - own) - here), i16(i16(time[j] - whole) - here)
        size_one, size_two = i16(max(one, i16(-one))), i16(max(two, i16(-two)))
        off = one if size_one <= size_two else two
        cost = i16(slope * i16(min(i16(min(size_one, size_two)), far))) >> i16(4)
        in_time = i16(max(i16(beat - i16(cost)), loose))
        score = agree if i16(pitches[j] - others[j]) == interval else other
        score = i16(i16(i16(before[j] + wrong[j]) + score) + in_time)
        follow = i16(here + i16(off >> i16(2)))
        better = score > old
        best[j] = score if better else old
        tempo[j] = follow if better else old_tempo
        step[j] = mark if better else how


@inner
def _extend_pitches(block, now, then, between, i, number, a, b, size, weights):
    """`_extend` without rhythm, where all is in time, if only the score is asked for."""
    best, before = block.best[now, GAP:size], block.best[then, GAP - b : size - b]
    pitches, others, wrong = block.pitches[GAP:size], block.pitches[GAP - b : size - b], block.wrong[between, GAP:size]
    interval, agree = i16(weights.pitches[i] - weights.pitches[i - a]), i16(weights.steps[number] + weights.gains[i])
    other = i16((weights.rates[1] if number == 0 else NEVER // 2) + weights.gains[i])
    for j in range(len(best)):
        old, score = best[j], agree if i16(pitches[j] - others[j]) == interval else other
        score = i16(i16(before[j] + wrong[j]) + score)
        best[j] = score if score > old else old


@inner
def _end(block, i, size, weights):
    """Let the chains end here, if that is better than where they ended before."""
    best, end, shift, pitches = block.best[i % len(block.best)], block.end, block.shift, block.pitches
    rest, pitch = i16(weights.rates[0] * (len(weights.pitches) - 1 - i)), weights.pitches[i]
    for j in range(size):
        old, old_shift, score, now = end[j], shift[j], i16(best[j] + rest), i16(pitches[j] - pitch)
        better = score > old
        end[j] = score if better else old
        shift[j] = now if better else old_shift


@inner
def _score(block, first, last, units):
    """The average over the places where the chain could end, and the transposition of the best."""
    top, at = i16(NEVER), first
    for j in range(first, last):
        if block.end[j] > top:
            top, at = block.end[j], j
    total = 0.0
    for j in range(first, last):
        if block.end[j] > top - 12 * units:  # the others count for nothing
            total += np.exp((block.end[j] - top) / units)
    return np.float32(top / units + np.log(total / (last - first))), np.int8(block.shift[at])
