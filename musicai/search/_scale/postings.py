"""The postings of `musicai.search.ngrams`, compiled: building them in bounded memory, and counting votes.

A word is a number: which pattern, three intervals, two comparisons of rhythm. The words that differ only in rhythm are
neighbours, so a query without rhythm reads them together. The places where a word occurs are written as differences, in
as many bytes of seven bits as each one needs.
"""

from itertools import product

import numpy as np
from numba import njit

from musicai.search._scale.store import Column, Store
from musicai.search.ngrams import ENOUGH, LONGER, MOST, PATTERNS, READ, WIDEST, WIDTH, worth

PLACES = 1 << 25  # postings held in memory at once while building
SAMPLES = 1 << 20  # votes from which the threshold is estimated
BLOCK, LANES = 4096, 256  # votes that are compared at once
_NOTES = np.array([len(pattern) for pattern in PATTERNS])
_OFFSETS = np.array([pattern + (0,) * (5 - len(pattern)) for pattern in PATTERNS])
_RHYTHMS = 3 ** (_NOTES - 2)  # how many words differ only in rhythm
_BASES = np.cumsum([0, *((2 * WIDEST + 1) ** (_NOTES - 1) * _RHYTHMS)])  # the first word of each pattern
WORDS = int(_BASES[-1])

compiled = njit(cache=True, error_model="numpy", nogil=True)


@compiled
def number_words(pitches, onsets):
    """The number of the word that each pattern makes at each note, (notes, patterns); -1 where the line ends first."""
    words = np.full((len(pitches), len(_NOTES)), -1, np.int32)
    for i in range(len(pitches)):
        for p in range(len(_NOTES)):
            n, offsets, word = _NOTES[p], _OFFSETS[p], np.int64(0)
            if i + offsets[n - 1] >= len(pitches):
                continue
            for e in range(n - 1):
                step = np.int64(pitches[i + offsets[e + 1]]) - np.int64(pitches[i + offsets[e]])
                word = word * (2 * WIDEST + 1) + min(max(step, -WIDEST), WIDEST) + WIDEST
            for e in range(n - 2):
                before = onsets[i + offsets[e + 1]] - onsets[i + offsets[e]]
                after = onsets[i + offsets[e + 2]] - onsets[i + offsets[e + 1]]
                word = word * 3 + 1 + np.int64(after > LONGER * before) - np.int64(before > LONGER * after)
            words[i, p] = _BASES[p] + word
    return words


@compiled
def _words_of_line(pitches, rhythms, steps, first, last):
    onsets = np.zeros(last - first)
    for i in range(first, last - 1):
        onsets[i - first + 1] = onsets[i - first] + steps[rhythms[i]]
    return number_words(pitches[first:last], onsets)


@compiled
def _count(pitches, rhythms, steps, offsets, counts):
    for line in range(len(offsets) - 1):
        for word in _words_of_line(pitches, rhythms, steps, offsets[line], offsets[line + 1]).flat:
            if word >= 0:
                counts[word] += 1


@compiled
def _place(pitches, rhythms, steps, offsets, low, ends, places):
    """Write where the words from `low` on occur; word w has places[ends[w - low - 1] : ends[w - low]]."""
    at = np.zeros(len(ends), np.int64)
    at[1:] = ends[:-1]
    for line in range(len(offsets) - 1):
        words = _words_of_line(pitches, rhythms, steps, offsets[line], offsets[line + 1])
        for i in range(len(words)):
            for p in range(words.shape[1]):
                w = words[i, p] - low
                if 0 <= w < len(ends):
                    places[at[w]] = offsets[line] + i
                    at[w] += 1


@compiled
def _encode(places, ends, code, code_ends):
    """Write places as bytes; returns how many."""
    n = begin = 0
    for w in range(len(ends)):
        last = np.int64(0)
        for i in range(begin, ends[w]):
            difference, last = np.int64(places[i]) - last, np.int64(places[i])
            while difference > 127:
                code[n] = 128 | (difference & 127)
                difference >>= 7
                n += 1
            code[n] = difference
            n += 1
        begin, code_ends[w] = ends[w], n
    return n


def append_postings(lines: tuple, columns: dict[str, Column]) -> None:
    """Invert the lines (pitches, rhythms, steps, offsets) one range of words after the other."""
    counts = np.zeros(WORDS, np.int64)
    _count(*lines, counts)
    sums = np.cumsum(counts)
    columns["posting_offsets"].append([0])
    done = low = 0
    while low < WORDS:
        high = max(low + 1, int(np.searchsorted(sums, (sums[low - 1] if low else 0) + PLACES, side="right")))
        ends = sums[low:high] - (sums[low - 1] if low else 0)
        found = np.empty(ends[-1], np.uint32)
        _place(*lines, low, ends, found)
        code, code_ends = np.empty(5 * len(found), np.uint8), np.empty(len(ends), np.int64)
        columns["postings"].append(code[: _encode(found, ends, code, code_ends)])
        present = counts[low:high] > 0
        columns["words"].append(low + np.flatnonzero(present))
        columns["word_counts"].append(counts[low:high][present])
        columns["posting_offsets"].append(done + code_ends[present])
        done, low = done + int(code_ends[-1]), high


@compiled
def vote(postings, begin, end, shift, weight, votes):
    """Let each place of a word, `shift` notes later, vote for the two windows that it is in."""
    place = np.int64(shift)
    while begin < end:
        byte, bits = np.int64(postings[begin]), 0
        begin += 1
        difference = byte & 127
        while byte > 127:
            byte, bits = np.int64(postings[begin]), bits + 7
            begin += 1
            difference |= (byte & 127) << bits
        place += difference
        window = place // WIDTH
        votes[window] = min(MOST, np.int64(votes[window]) + weight)
        votes[window + 1] = min(MOST, np.int64(votes[window + 1]) + weight)


def count_votes(store: Store, pitches: np.ndarray, starts: np.ndarray | None) -> np.ndarray:
    """What `InvertedIndex.votes` counts, as an array over all windows."""
    words, ends, counts, notes = (store[x] for x in ("words", "posting_offsets", "word_counts", "pitches"))
    votes, read = np.zeros((len(notes) + len(pitches)) // WIDTH + 3, np.uint8), 0
    numbers = number_words(np.rint(pitches), np.arange(len(pitches), dtype=float) if starts is None else starts)
    asked = []
    for place, pattern in zip(*np.nonzero(numbers >= 0), strict=True):
        family, rhythm = divmod(int(numbers[place, pattern] - _BASES[pattern]), int(_RHYTHMS[pattern]))
        first = _BASES[pattern] + family * _RHYTHMS[pattern]
        rows = range(*np.searchsorted(words, [first, first + _RHYTHMS[pattern]]).tolist())
        signs = _signs(pattern)
        asked.append(
            (
                int(counts[rows.start : rows.stop].sum()),
                place,
                "" if starts is None else signs[rhythm],
                rows,
                first,
                signs,
            )
        )
    for count, place, rhythm, rows, first, signs in sorted(asked, key=lambda word: word[0]):
        read += count
        if read > max(READ * len(notes), ENOUGH):
            break
        for row in rows:
            if weight := worth(count / len(notes), rhythm, signs[words[row] - first]):
                vote(store["postings"], ends[row], ends[row + 1], len(pitches) - place, weight, votes)
    return votes


def _signs(pattern: int) -> list[str]:
    """The rhythms of a pattern's words, in the order of their numbers."""
    return ["".join(signs) for signs in product("<=>", repeat=int(_NOTES[pattern]) - 2)]


@compiled
def threshold(votes, count):
    """The lowest number of votes that about `count` windows have, from a sample."""
    seen, every = np.zeros(256, np.int64), 1 + len(votes) // SAMPLES
    for block in range(0, len(votes), BLOCK * every):
        for i in range(block, min(block + BLOCK, len(votes))):
            seen[votes[i]] += 1
    least, total = 255, seen[255]
    while least > 1 and (total + seen[least - 1]) * every <= count:
        least -= 1
        total += seen[least]
    return least


@compiled
def windows_above(votes, least, count):
    """The first `count` windows that have `least` votes or more."""
    found, n, largest = np.empty(count, np.int64), 0, np.empty(LANES, np.uint8)
    for block in range(0, len(votes), BLOCK):
        part = votes[block : block + BLOCK]
        largest[:] = 0
        for lane in range(0, len(part) - LANES + 1, LANES):
            for i in range(LANES):
                largest[np.uint64(i)] = max(largest[np.uint64(i)], part[np.uint64(lane + i)])
        if largest.max() < least and len(part) == BLOCK:
            continue
        for i in range(len(part)):
            if part[i] >= least and n < count:
                found[n] = block + i
                n += 1
    return found[:n]


def find_windows(store: Store, pitches: np.ndarray, starts: np.ndarray | None, count: int) -> tuple:
    """The first and last notes of the runs that have the most votes, with some room around the query."""
    votes = count_votes(store, pitches, starts)
    windows = windows_above(votes, threshold(votes, count), count)
    ends = np.flatnonzero(np.diff(windows, append=len(votes) + 9) > 2)  # neighbours are one run
    begins = windows[np.concatenate([[0], ends + 1])[:-1]] if len(ends) else windows
    n, room = len(pitches), 2 + len(pitches) // 6
    firsts = np.maximum(0, (begins - 1) * WIDTH - n - room)
    lasts = np.minimum(len(store["pitches"]), (windows[ends] + 1) * WIDTH + room)
    store.release()
    return firsts, np.maximum(lasts, firsts)
