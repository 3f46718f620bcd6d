"""The postings of `musicai.search.ngrams`, compiled: building them in bounded memory, and counting votes.

A word is a number made of its pattern, intervals and rhythm. Words that differ only in rhythm are neighbours, because a
query looks at all of them. The places where a word occurs are written as differences, seven bits to a byte.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numba import njit

from musicai.search._scale.store import Column, Store
from musicai.search.ngrams import ENOUGH, LONGER, MOST, PATTERNS, READ, WIDEST, WIDTH, worth

PLACES = 1 << 25  # postings that are held in memory while building
LINES = 50_000  # lines whose words are looked up at once
PART = 1 << 18  # windows whose votes are counted at once
SAMPLE = 1 << 18  # windows from which the threshold is estimated
BLOCK = 256  # windows that are compared with it at once
RHYTHMS = 9  # numbers for words that differ only in rhythm: two comparisons at most

_SIGNS = [["".join(signs) for signs in product("<=>", repeat=len(pattern) - 2)] for pattern in PATTERNS]
_NOTES = np.array([len(pattern) for pattern in PATTERNS])
_OFFSETS = np.array([pattern + (0,) * (max(_NOTES) - len(pattern)) for pattern in PATTERNS])
_FIRST = np.cumsum([0, *((2 * WIDEST + 1) ** (_NOTES - 1))])  # of each pattern's words, before rhythm
WORDS = int(_FIRST[-1]) * RHYTHMS

compiled = njit(cache=True, error_model="numpy", nogil=True)


@compiled
def number_words(pitches, onsets):
    """The number of the word that each pattern makes at each note, (notes, patterns); -1 where the line ends first."""
    words = np.full((len(pitches), len(_NOTES)), -1, np.int32)
    for i in range(len(pitches)):
        for p in range(len(_NOTES)):
            n, offsets, word, rhythm = _NOTES[p], _OFFSETS[p], np.int64(0), np.int64(0)
            if i + offsets[n - 1] >= len(pitches):
                continue
            for e in range(n - 1):
                step = np.int64(pitches[i + offsets[e + 1]]) - np.int64(pitches[i + offsets[e]])
                word = word * (2 * WIDEST + 1) + min(max(step, -WIDEST), WIDEST) + WIDEST
            for e in range(n - 2):
                before = onsets[i + offsets[e + 1]] - onsets[i + offsets[e]]
                after = onsets[i + offsets[e + 2]] - onsets[i + offsets[e + 1]]
                rhythm = rhythm * 3 + 1 + np.int64(after > LONGER * before) - np.int64(before > LONGER * after)
            words[i, p] = (_FIRST[p] + word) * RHYTHMS + rhythm
    return words


@compiled
def _invert(pitches, rhythms, offsets, base, steps, low, at, places):
    """Write where the words from `low` on occur, word w from places[at[w - low]] on; only count if there is no room."""
    for line in range(len(offsets) - 1):
        first, last = offsets[line], offsets[line + 1]
        onsets = np.zeros(last - first)
        for i in range(1, last - first):
            onsets[i] = onsets[i - 1] + steps[rhythms[first + i - 1]]
        words = number_words(pitches[first:last], onsets)
        for i in range(len(words)):
            for w in words[i] - low:
                if 0 <= w < len(at):
                    if len(places):
                        places[at[w]] = base + first + i
                    at[w] += 1


@compiled
def _encode(places, ends):
    """Write the places of one word after the other as bytes; returns these, and where each word's end."""
    code, code_ends, n, begin = np.empty(5 * len(places), np.uint8), np.empty_like(ends), 0, 0
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
    return code[:n], code_ends


def _blocks(columns: dict[str, Column]) -> Iterator[tuple]:
    """The pitches, rhythms and offsets of some lines at a time, and how many notes come before them."""
    lines = columns["pieces"].length
    for i in range(0, lines, LINES):
        offsets = columns["offsets"].read(i, min(i + LINES, lines) + 1)
        notes = (columns[name].read(offsets[0], offsets[-1]) for name in ("pitches", "rhythms"))
        yield *notes, offsets - offsets[0], offsets[0]


def append_postings(columns: dict[str, Column], steps: np.ndarray) -> None:
    """Invert the lines, one range of words after the other."""
    counts, low, size = np.zeros(WORDS, np.int64), 0, 0
    for block in _blocks(columns):
        _invert(*block, steps, 0, counts, np.empty(0, np.uint32))
    sums = np.concatenate([[0], np.cumsum(counts)])
    present = np.flatnonzero(counts)
    columns["words"].append(present)
    columns["word_counts"].append(counts[present])
    columns["posting_offsets"].append([0])
    while low < WORDS:
        high = max(low + 1, int(np.searchsorted(sums, sums[low] + PLACES, side="right")) - 1)
        at, places = sums[low:high] - sums[low], np.empty(sums[high] - sums[low], np.uint32)
        for block in _blocks(columns) if len(places) else ():
            _invert(*block, steps, low, at, places)
        code, ends = _encode(places, at)
        columns["postings"].append(code)
        columns["posting_offsets"].append(size + ends[counts[low:high] > 0])
        low, size = high, size + len(code)


@compiled
def _vote(postings, rows, votes):
    """Let each place of each word, `shift` notes later, vote for the two windows that it is in.

    rows (words, 5): where its code begins and ends, the place before it (0), shift and weight. The votes are counted
    part by part, so that they stay in the processor's cache.
    """
    for part in range(PART, len(votes) + PART, PART):
        for row in range(len(rows)):
            at, end, place, shift, weight = rows[row]
            while at < end:
                byte, bits, difference, here = np.int64(128), 0, np.int64(0), at
                while byte > 127:
                    byte = np.int64(postings[here])
                    difference |= (byte & 127) << bits
                    here, bits = here + 1, bits + 7
                window = (place + difference + shift) // WIDTH
                if window >= part:
                    break
                at, place = here, place + difference
                votes[window] = min(MOST, np.int64(votes[window]) + weight)
                votes[window + 1] = min(MOST, np.int64(votes[window + 1]) + weight)
            rows[row, 0], rows[row, 2] = at, place


def count_votes(store: Store, pitches: np.ndarray, starts: np.ndarray | None) -> np.ndarray:
    """What `InvertedIndex.votes` counts, as an array over all windows."""
    words, ends, counts, notes = (store[name] for name in ("words", "posting_offsets", "word_counts", "pitches"))
    numbers = number_words(np.rint(pitches), np.arange(len(pitches), dtype=float) if starts is None else starts)
    asked, rows, read = [], [], 0
    for place, pattern in np.argwhere(numbers >= 0).tolist():
        first, rhythm = divmod(int(numbers[place, pattern]), RHYTHMS)
        some = slice(*np.searchsorted(words, [first * RHYTHMS, (first + 1) * RHYTHMS]).tolist())
        rhythm = "" if starts is None else _SIGNS[pattern][rhythm]
        asked.append((int(counts[some].sum()), place, pattern, rhythm, some))
    for count, place, pattern, rhythm, some in sorted(asked, key=lambda word: word[0]):
        read += count
        if read > max(READ * len(notes), ENOUGH):
            break
        for word, begin, end in zip(words[some], ends[some], ends[some.start + 1 :], strict=False):
            weight = worth(count / len(notes), rhythm, _SIGNS[pattern][word % RHYTHMS])
            rows.append((begin, end if weight else begin, 0, len(pitches) - place, weight))
    votes = np.zeros((len(notes) + len(pitches)) // WIDTH + 3, np.uint8)
    _vote(store["postings"], np.array(rows, dtype=np.int64).reshape(-1, 5), votes)
    return votes


def threshold(votes: np.ndarray, count: int) -> int:
    """The number of votes that at most about `count` windows have, by a sample of them; 1 or more."""
    every = 1 + len(votes) // SAMPLE
    counts = np.bincount(votes[: len(votes) // every * every].reshape(-1, every)[:, 0], minlength=MOST + 1)
    return int(np.clip(MOST + 1 - np.searchsorted(np.cumsum(counts[::-1]) * every, count, side="right"), 1, MOST))


@compiled
def windows_above(votes, least, count):
    """The first `count` windows that have `least` votes or more."""
    found, n = np.empty(count, np.int64), 0
    for block in range(0, len(votes), BLOCK):
        most = np.uint8(0)
        for vote in votes[block : block + BLOCK]:
            most = max(most, vote)
        for i in range(block, min(block + BLOCK, len(votes)) if most >= least else block):
            if votes[i] >= least and n < count:
                found[n] = i
                n += 1
    return found[:n]


def find_windows(store: Store, pitches: np.ndarray, starts: np.ndarray | None, count: int) -> np.ndarray:
    """The first places of about `count` windows that have the most votes; the query begins there or soon after."""
    votes = count_votes(store, pitches, starts)
    windows = windows_above(votes, threshold(votes, count), count)
    store.release()
    return (windows - 1) * WIDTH - len(pitches)
