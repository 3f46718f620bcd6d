"""A query is laid over every place of the collection, and the notes that agree are counted.

Few words of a short query survive its mistakes, but many single notes do. Each has one byte, its symbol: the interval
to the next note, and how much longer that lasts. As processors compare dozens of bytes at once, all of a million tunes
are compared about as fast as the places of a few words are looked up, and more of the right ones are found.
"""

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic

from musicai.search._scale.store import Store
from musicai.threads import Workers, jit

LONGEST = 24  # notes of the query that are compared
LEAP = 15  # semitones: wider intervals count as this
CHANGES = (0.35, 0.76, 1.32, 2.8)  # how many times as long the next note is: the limits between five classes
END = 7  # instead of a class where a line ends; instead of an interval, there is a 0
INTERVAL, CHANGE = 0.75, 0.85  # how likely they survive the mistakes of a query
GROUP = 4  # notes; between groups, a note may be missing or extra,
SLIP = 4  # ... which costs this many bits
MOST = 7  # groups of intervals or of changes that are compared: those that tell most
PART, EDGE, LANES = 1 << 13, 32, 256  # places that are compared at once, some more at both ends, and a divisor of them
ROOM = 1 << 10  # bytes: rows of tables are apart, as processors confuse equal low bits
MAPPED = 1 << 23  # places after which pages are let go
SAMPLES, SAMPLE, SAFETY = 16, 1 << 17, 3  # places searched first, to know how good the best are, or a little less

compiled = jit(error_model="numpy", nogil=True)


@intrinsic
def use_widest(_):
    """Compile the loops of the function that calls this for 512 bits, where LLVM would make do with 256.

    It does so because early processors with 512 bits slowed down by it. Its interface in Python knows no such
    attribute, hence the detour.
    """

    def generate(context, builder, signature, args):
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


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


def keep_most(worths: np.ndarray) -> None:
    """Set all worths to 0 but those of the MOST groups that tell most, uint8 (2, a multiple of GROUP)."""
    groups = worths.reshape(2, -1, GROUP)
    told = groups.sum(2, dtype=int)
    groups[told < np.sort([*told.ravel(), *[0] * MOST])[-MOST]] = 0


@compiled
def _add(symbols, wanted, worths, total):
    """Add to each place what it is worth that GROUP symbols agree; written out, so that it is one loop of vectors."""
    use_widest()
    n, none = len(total), np.uint8(0)
    here, second, third, fourth = symbols[:n], symbols[1 : n + 1], symbols[2 : n + 2], symbols[3 : n + 3]
    a, b, c, d = wanted[0], wanted[1], wanted[2], wanted[3]
    worth_a, worth_b, worth_c, worth_d = worths[0], worths[1], worths[2], worths[3]
    for i in range(n):
        one = np.uint8((worth_a if here[i] == a else none) + (worth_b if second[i] == b else none))
        two = np.uint8((worth_c if third[i] == c else none) + (worth_d if fourth[i] == d else none))
        total[i] += np.uint8(one + two)


@compiled
def _slip(total, cost, out):
    """The best of each place and its neighbours, which cost something."""
    use_widest()
    n = len(total) - 2
    before, here, after = total[:n], total[1 : n + 1], total[2:]
    for i in range(n):
        out[i + 1] = max(here[i], np.uint8(max(max(before[i], after[i]), cost) - cost))


@compiled
def _prune(scores, places, count):
    """Move those places to the front whose score no more than `count` reach; return how many, and the least score."""
    seen, least, left = np.zeros(257, np.int64), 256, count
    for score in scores:
        seen[score] += 1
    while least > 1 and seen[least - 1] <= left:
        left, least = left - seen[least - 1], least - 1
    kept = 0
    for i in range(len(scores)):
        if scores[i] >= least:
            scores[kept], places[kept] = scores[i], places[i]
            kept += 1
    return kept, least


@compiled
def _take_apart(symbols, intervals, changes):
    use_widest()
    for i in range(len(symbols)):
        intervals[i] = symbols[i] & np.uint8(248)
    for i in range(len(changes)):
        changes[i] = symbols[i] & np.uint8(7)


@compiled
def _most(total, most):
    """The best of each lane, and of all."""
    use_widest()
    top, most[:] = np.uint8(0), 0
    for first in range(0, len(total), LANES):
        lanes = total[first : first + LANES]
        for i in range(len(lanes)):
            most[i] = max(most[i], lanes[i])
    for best in most:
        top = max(top, best)
    return top


@compiled
def _slide(symbols, begin, end, wanted, worths, cost, count, least):
    """The scores and places of the best from `begin` to `end`; the lowest score that counts, least[0], may rise."""
    notes, size, n = wanted.shape[1], PART + 2 * EDGE, 0
    scores, places = np.empty(2 * count + LANES, np.uint8), np.empty(2 * count + LANES, np.int64)
    rows, most = np.zeros((4, PART + ROOM), np.uint8), np.zeros(LANES, np.uint8)
    intervals, changes, total, other = rows[0, : size + notes], rows[1, : size + notes], rows[2, :size], rows[3, :size]
    rhythm = worths[1].any()
    for part in range(begin, end, PART):
        low, high = max(part - EDGE, 0), min(len(symbols), part + PART + EDGE + notes)

        if high - low < size + notes:  # at either end of the collection
            intervals[:], changes[:] = 0, END
        here = slice(low - part + EDGE, high - part + EDGE)
        _take_apart(symbols[low:high], intervals[here], changes[here] if rhythm else changes[:0])
        total[:] = 0
        for k in range(0, notes, GROUP):
            if k:
                _slip(total, cost, other)
                total, other = other, total
            if worths[0, k : k + GROUP].any():  # a group that tells too little is left out
                _add(intervals[k:], wanted[0, k:], worths[0, k:], total)
            if worths[1, k : k + GROUP].any():
                _add(changes[k:], wanted[1, k:], worths[1, k:], total)
        inner = total[EDGE : EDGE + min(PART, end - part)]
        for lane in range(LANES if _most(inner, most) >= least[0] else 0):
            for i in range(lane, len(inner) if most[lane] >= least[0] else 0, LANES):
                if inner[i] >= least[0]:
                    scores[n], places[n] = inner[i], part + i
                    n += 1
            if n > 2 * count:
                n, lowest = _prune(scores[:n], places, count)
                least[0] = max(least[0], lowest)
    return scores[:n], places[:n]


def find_places(store: Store, pitches: np.ndarray, starts: np.ndarray | None, count: int) -> np.ndarray:
    """About `count` places at which the query begins if it, or the LONGEST part in its middle, agrees best."""
    skip = max(0, (len(pitches) - LONGEST) // 2)
    pitches, starts = pitches[skip:][:LONGEST], None if starts is None else starts[skip:][:LONGEST]
    steps = np.ones(len(pitches)) if starts is None else np.diff(starts, append=starts[-1])
    wanted = symbols_of(pitches, steps, np.array([len(pitches) - 1]))[:-1]
    worths, unit = weigh(wanted, store["symbol_counts"])
    worths[1] *= starts is not None
    symbols, least = store["symbols"], np.ones(1, np.int64)
    whole = np.zeros((2, 2, -(-len(wanted) // GROUP) * GROUP), np.uint8)
    whole[:, :, : len(wanted)] = np.stack([wanted & 248, wanted & 7]), worths
    keep_most(whole[1])

    def slide(begin: int, size: int = MAPPED, best: int = count) -> tuple[np.ndarray, np.ndarray]:
        end = min(begin + size, len(symbols))
        found = _slide(symbols, begin, end, *whole, np.uint8(SLIP * unit), best, least)
        store.release()
        return found

    step = max(SAMPLE, len(symbols) // SAMPLES)
    enough = SAFETY * count * SAMPLE // step + 1
    some = _join([slide(begin, SAMPLE, enough) for begin in range(0, len(symbols), step)])
    least[0] = _prune(*some, enough)[1]  # so that hardly any place has to be noted in vain
    with Workers(torch.device("cpu")) as workers:
        scores, places = _join([*workers.map(slide, range(0, len(symbols), MAPPED))])
    return np.sort(places[: _prune(scores, places, count)[0]]) - skip


def _join(found: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))
