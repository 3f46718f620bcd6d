"""A query is laid over every place of the collection, and the notes that agree are counted.

Few words of a short query survive its mistakes, but many single notes do. Each has one byte, its symbol: the interval
to the next note, and how much longer that lasts. The same bit of 512 symbols is compared at once (see `planes.py`), so
all of a million tunes are compared faster than the places of a few words are looked up, and more of the right ones are
found.
"""

import numpy as np

from musicai.search._scale.circuits import DIGITS, SLIP, WORTH, add, agree, fetch, reach, slip, use_widest
from musicai.search._scale.planes import AFTER, BEFORE, BITS, LANES, WORDS, divide
from musicai.search._scale.store import Store
from musicai.threads import jit, share

LONGEST = 24  # notes of the query that are compared
LEAP = 15  # semitones: wider intervals count as this
CHANGES = (0.35, 0.76, 1.32, 2.8)  # how many times as long the next note is: the limits between five classes
END = 7  # instead of a class where a line ends; instead of an interval, there is a 0
INTERVAL, CHANGE = 0.75, 0.85  # how likely they survive the mistakes of a query
GROUP = 4  # notes; between groups, a note may be missing or extra
UNIT, FULL = 0.75, 98  # worths are counted in so many units per bit, and a whole query has no more than these
MOST = 7  # groups of intervals or of changes that are compared: those that tell most
RING, AHEAD = 32, 32  # rows that are kept, and how early the next ones are asked for
MAPPED = 16  # blocks after which pages are let go
SAMPLES, SAMPLE, SAFETY = 8, 512, 3  # blocks and rows searched first, to know how good the best are, or a little less

compiled = jit(error_model="numpy", nogil=True)


def symbols_of(pitches: np.ndarray, steps: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """The symbols of notes, given how long each lasts until the next, and which are the last of their lines."""
    intervals = np.clip(np.diff(np.rint(pitches).astype(int), append=0), -LEAP, LEAP) + LEAP + 1
    changes = np.digitize(np.append(steps[1:], 1) / np.maximum(steps, 1e-9), CHANGES)
    intervals[lasts], changes[lasts], changes[lasts - 1] = 0, END, END
    return (intervals << 3 | changes).astype(np.uint8)


def weigh(symbols: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What it is worth that each interval and each change agrees, (2, notes), in bits."""
    shares = np.maximum(counts, 1).reshape(32, 8) / np.maximum(counts, 1).sum()
    kept = np.array([[INTERVAL], [CHANGE]])
    chance = np.stack([shares.sum(1)[symbols >> 3], shares.sum(0)[symbols & 7]])
    worths = np.maximum(0, np.log2(kept / chance) - np.log2((1 - kept) / (1 - chance)))
    worths[1, (symbols & 7) == END] = 0
    return worths


def round_most(worths: np.ndarray) -> np.ndarray:
    """Round worths (2, a multiple of GROUP) to units, those of the MOST groups that tell most; the others become 0."""
    groups = worths.reshape(2, -1, GROUP)
    told = groups.sum(2)
    most = groups * (told >= np.sort([*told.ravel(), *[0] * MOST])[-MOST])[..., None]
    unit = min(UNIT, FULL / max(1, most.sum()))
    return np.rint(most * unit).astype(int).clip(0, 2**WORTH - 1).reshape(worths.shape)


def _arrange(symbols: np.ndarray, worths: np.ndarray) -> tuple[np.ndarray, ...]:
    """What `_slide` needs of a query; places are in bytes.

    The kinds of intervals and changes that occur: where their bits are, and which are set; and for each group, first
    of intervals, then of changes, the kinds of its notes, their worths, each bit as a whole word, and if there are any.
    """
    kinds = np.stack([symbols >> 3, symbols & 7 | 32])
    kinds = np.where(worths > 0, kinds, kinds.flat[worths.argmax()])
    kinds, notes = np.unique(kinds, return_inverse=True)
    kinds, bits = kinds.reshape(-1, 1), np.where(kinds.reshape(-1, 1) < 32, np.arange(5), [0, 1, 2, 2, 2])
    wanted, digits = -(kinds >> bits & 1), -(worths[..., None] >> np.arange(WORTH) & 1)
    notes, digits = (x.reshape(2, len(symbols) // GROUP, -1).swapaxes(0, 1) for x in (8 * WORDS * notes, digits))
    arrays = 8 * WORDS * (bits + 3 * (kinds < 32)), wanted, notes, digits, digits.any(2)
    return tuple(np.ascontiguousarray(array, dtype=np.int64) for array in arrays)


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
def _collect(totals, hits, scores, places, n, first, height):
    """Add the scores and places of the lanes that are hit in a row, whose first lane is place `first`; return n."""
    for lane in range(LANES):
        word, bit = lane >> 6, np.uint64(lane & 63)
        if hits[word] >> bit & np.uint64(1):
            score = 0
            for digit in range(DIGITS):
                score |= np.int64(totals[digit * WORDS + word] >> bit & np.uint64(1)) << digit
            scores[n], places[n] = score, first + lane * height
            n += 1
    return n


@compiled
def _slide(planes, blocks, height, query, count, least):
    """The scores and places of the best in some blocks, in `height` rows of each; the limit least[0] may rise.

    Group by group, the notes of the query are added up. Each group is one row behind the group before it, which may
    have slipped by a row, so that only the last few rows of totals and of what agrees are needed.
    """
    use_widest()
    bits, wanted, notes, worths, told = query
    kinds, groups, rows, n = len(bits), len(notes), planes.shape[1] - BEFORE - AFTER, np.int64(0)  # else compiled twice
    slips, ahead = groups - 1, (GROUP - 1) * groups
    scores, places = np.empty(2 * count + LANES, np.uint8), np.empty(2 * count + LANES, np.int64)
    limit, hits = np.zeros(DIGITS, np.int64), np.zeros(WORDS, np.uint64)
    line, size, kept = 8 * WORDS, 8 * WORDS * DIGITS, 8 * WORDS * kinds
    room = np.zeros((size * (4 * groups + 1) + RING * kept + line) // 8, np.uint64)
    room = room[-(room.ctypes.data // 8) % WORDS :]
    zeros = np.int64(room.ctypes.data)  # then four rows of totals for each group, and RING rows of what agrees
    totals, same = zeros + size, zeros + size * (4 * groups + 1)
    for block in range(blocks[0], blocks[1], blocks[2]):
        for digit in range(DIGITS):
            limit[digit] = -(least[0] + SLIP * slips >> digit & 1)
        symbols = np.int64(planes[block, BEFORE:].ctypes.data)
        for step in range(-slips - ahead, height + slips):
            row, new = symbols + (step + ahead) * BITS * line, same + (step + ahead & RING - 1) * kept
            fetch(row + AHEAD * BITS * line)
            for kind in range(kinds):
                agree(row, bits[kind].ctypes.data, wanted[kind].ctypes.data, new + kind * line)
            for group in range(groups if step >= -slips else 0):
                now, at, total = step - group, step + (GROUP - 1) * group, totals + 4 * size * group
                here, before = total + (now & 3) * size, zeros
                if group:
                    last, before = total - 4 * size, here
                    slip(last + (now - 1 & 3) * size, last + (now & 3) * size, last + (now + 1 & 3) * size, here)
                for kind in range(2):
                    if told[group, kind]:
                        a, b, c, d = notes[group, kind]
                        a, b = a + same + (at & RING - 1) * kept, b + same + (at + 1 & RING - 1) * kept
                        c, d = c + same + (at + 2 & RING - 1) * kept, d + same + (at + 3 & RING - 1) * kept
                        add(before, a, b, c, d, worths[group, kind].ctypes.data, here)
                        before = here
            here = totals + 4 * size * slips + (step - slips & 3) * size
            if step >= slips and reach(here, limit.ctypes.data, hits.ctypes.data):
                first = block * LANES * rows + step - slips
                n = _collect(room[(here - zeros) // 8 :], hits, scores, places, n, first, rows)
                if n > 2 * count:
                    n, lowest = _prune(scores[:n], places, count)
                    least[0] = max(least[0], lowest - SLIP * slips)
    return scores[:n] - np.uint8(SLIP * slips), places[:n]


def find_places(store: Store, pitches: np.ndarray, starts: np.ndarray | None, count: int) -> np.ndarray:
    """About `count` places at which the query begins if it, or the LONGEST part in its middle, agrees best."""
    skip = max(0, (len(pitches) - LONGEST) // 2)
    pitches, starts = pitches[skip:][:LONGEST], None if starts is None else starts[skip:][:LONGEST]
    steps = np.ones(len(pitches)) if starts is None else np.diff(starts, append=starts[-1])
    symbols, notes = symbols_of(pitches, steps, np.array([len(pitches) - 1]))[:-1], int(store["offsets"][-1])
    worths = weigh(symbols, store["symbol_counts"]) * [[1], [starts is not None]]
    more = -max(1, len(symbols)) % GROUP + (not len(symbols))
    query = _arrange(np.pad(symbols, (0, more)), round_most(np.pad(worths, [(0, 0), (0, more)])))
    blocks, rows = divide(notes)
    planes, least = store["planes"].reshape(blocks, -1, BITS, WORDS), np.ones(1, np.int64)

    def slide(first: int, last: int, step: int = 1, height: int = rows, best: int = count) -> tuple:
        found = _slide(planes, (first, min(last, blocks), step), height, query, best, least)
        store.release()
        return found

    step, height = max(1, blocks // SAMPLES), min(SAMPLE, rows)
    enough = SAFETY * count * height // (rows * step) + 1
    some = _join([slide(0, blocks, step, height, enough)], least[0])
    least[0] = max(least[0], _prune(*some, enough)[1])  # so that hardly any place has to be noted in vain
    found = share(lambda first: slide(first, first + MAPPED), range(0, blocks, MAPPED))
    scores, places = _join(found, least[0])
    places = np.sort(places[: _prune(scores, places, count)[0]])
    return places[places < notes] - skip


def _join(found: list[tuple[np.ndarray, np.ndarray]], least: int) -> tuple[np.ndarray, np.ndarray]:
    """The scores and places found, without lower scores, of which some came too late to be noted."""
    scores, places = (np.concatenate(column) for column in zip(*found, strict=True))
    return scores[scores >= least], places[scores >= least]
