"""A query is laid over every place of the collection, and the notes that agree are counted.

Few words of a short query survive its mistakes, but many single notes do. Each has one byte, its symbol: the interval
to the next note, and how much longer that lasts. As processors compare dozens of bytes at once, all of a million tunes
are compared about as fast as the places of a few words are looked up, and more of the right ones are found.
"""

import numpy as np

from musicai.search._scale.store import Store
from musicai.search._scale.words import compiled

LONGEST = 16  # notes of the query that are compared
LEAP = 15  # semitones: wider intervals count as this
CHANGES = (0.35, 0.76, 1.32, 2.8)  # how many times as long the next note is: the limits between five classes
END = 7  # instead of a class where a line ends; instead of an interval, there is a 0
INTERVAL, CHANGE = 0.75, 0.85  # how likely they survive the mistakes of a query
GROUP = 4  # notes; between groups, a note may be missing or extra,
SLIP = 4  # ... which costs this many bits
PART, EDGE, LANES = 1 << 13, 32, 256  # places that are compared at once, some more at both ends, and a divisor of them
MAPPED = 1 << 24  # places after which pages are let go


def symbols_of(pitches: np.ndarray, steps: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """The symbols of notes, given how long each lasts until the next, and which are the last of their lines."""
    intervals = np.clip(np.diff(np.rint(pitches).astype(int), append=0), -LEAP, LEAP) + LEAP + 1
    changes = np.digitize(np.append(steps[1:], 1) / np.maximum(steps, 1e-9), CHANGES)
    intervals[lasts], changes[lasts], changes[lasts - 1] = 0, END, END
    return (intervals << 3 | changes).astype(np.uint8)


def weigh(symbols: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """What it is worth that each interval and each change agrees, uint8 (2, notes), and how many of it make a bit."""
    shares = np.maximum(counts, 1).reshape(32, 8) / np.maximum(counts, 1).sum()
    kept = np.array([[INTERVAL], [CHANGE]])
    chance = np.stack([shares.sum(1)[symbols >> 3], shares.sum(0)[symbols & 7]])
    worths = np.maximum(0, np.log2(kept / chance) - np.log2((1 - kept) / (1 - chance)))
    worths[1, (symbols & 7) == END] = 0
    unit = min(2.0, 250 / max(1.0, worths.sum()))
    return np.rint(worths * unit).astype(np.uint8), unit


@compiled
def _add(symbols, wanted, worths, total):
    for k in range(len(wanted)):
        symbol, worth, here = wanted[k], worths[k], symbols[k : k + len(total)]
        if worth > 0:
            for i in range(len(total)):
                total[i] += worth if here[i] == symbol else np.uint8(0)


@compiled
def _slip(total, cost, out):
    """The best of each place and its neighbours, which cost something."""
    n = len(total) - 2
    before, here, after = total[:n], total[1 : n + 1], total[2:]
    for i in range(n):
        out[i + 1] = max(here[i], np.uint8(max(max(before[i], after[i]), cost) - cost))


@compiled
def _prune(scores, places, count, state):
    """Keep the places with more than the score that no more than `count` of them have."""
    seen, least, left = np.zeros(256, np.int64), 255, count
    for score in scores:
        seen[score] += 1
    while least > 0 and seen[least] <= left:
        left, least = left - seen[least], least - 1
    n = 0
    for i in range(len(scores)):
        if scores[i] > least:
            scores[n], places[n] = scores[i], places[i]
            n += 1
    state[0], state[1] = n, min(least + 1, 255)


@compiled
def _take_apart(symbols, intervals, changes):
    for i in range(len(symbols)):
        intervals[i] = symbols[i] & np.uint8(248)
    for i in range(len(symbols)):
        changes[i] = symbols[i] & np.uint8(7)


@compiled
def _slide(symbols, begin, end, wanted, worths, cost, count, scores, places, state):
    """Add the best places from `begin` to `end` to the state[0] that were found so far, from the score state[1] on."""
    notes, size = wanted.shape[1], PART + 2 * EDGE
    intervals, changes = np.zeros(size + notes, np.uint8), np.zeros(size + notes, np.uint8)
    total, other, most = np.zeros(size, np.uint8), np.zeros(size, np.uint8), np.zeros(LANES, np.uint8)
    for part in range(begin, end, PART):
        low, high = max(part - EDGE, 0), min(len(symbols), part + PART + EDGE + notes)
        intervals[:], changes[:], total[:], most[:] = 0, END, 0, 0
        _take_apart(symbols[low:high], intervals[low - part + EDGE :], changes[low - part + EDGE :])
        for k in range(0, notes, GROUP):
            if k:
                _slip(total, cost, other)
                total, other = other, total
            _add(intervals[k:], wanted[0, k : k + GROUP], worths[0, k : k + GROUP], total)
            _add(changes[k:], wanted[1, k : k + GROUP], worths[1, k : k + GROUP], total)
        inner = total[EDGE : EDGE + min(PART, end - part)]
        for first in range(0, len(inner), LANES):
            lanes = inner[first : first + LANES]
            for i in range(len(lanes)):
                most[i] = max(most[i], lanes[i])
        for lane in range(LANES):
            for i in range(lane, len(inner) if most[lane] >= state[1] else lane, LANES):
                if inner[i] >= state[1]:
                    scores[state[0]], places[state[0]] = inner[i], part + i
                    state[0] += 1
                    if state[0] == len(scores):
                        _prune(scores, places, count, state)


def find_places(store: Store, pitches: np.ndarray, starts: np.ndarray | None, count: int) -> np.ndarray:
    """About `count` places at which the query begins if it, or the LONGEST part in its middle, agrees best."""
    skip = max(0, (len(pitches) - LONGEST) // 2)
    pitches, starts = pitches[skip:][:LONGEST], None if starts is None else starts[skip:][:LONGEST]
    steps = np.ones(len(pitches)) if starts is None else np.diff(starts, append=starts[-1])
    wanted = symbols_of(pitches, steps, np.array([len(pitches) - 1]))[:-1]
    worths, unit = weigh(wanted, store["symbol_counts"])
    if starts is None:
        worths[1] = 0
    scores, places, state = np.empty(2 * count, np.uint8), np.empty(2 * count, np.int64), np.array([0, 1])
    query = (np.stack([wanted & 248, wanted & 7]), worths, np.uint8(SLIP * unit), count, scores, places, state)
    for begin in range(0, len(store["symbols"]), MAPPED):
        _slide(store["symbols"], begin, min(begin + MAPPED, len(store["symbols"])), *query)
        store.release()
    _prune(scores[: state[0]], places, count, state)
    return np.sort(places[: state[0]]) - skip
