"""N-grams, the words of a melody, and an inverted index, which says where each word occurs. Chapter 6.

Text is found by its words. A melody has none, so we make some of every few notes in a row: the intervals between them,
which do not change when a melody is transposed, and whether each lasts longer than the one before, at any tempo. One
wrong note spoils only the words that it is in. That is why some words skip a note.
"""

from collections import Counter, defaultdict
from itertools import pairwise, product
from math import log2

import numpy as np

from .lines import Lines

PATTERNS = ((0, 1, 2, 3), (0, 1, 3, 4), (0, 1, 2))  # which of the next notes make a word
WIDEST = 12  # semitones: wider intervals count as this
LONGER = 1.32  # times: anything between 1/LONGER and LONGER counts as equally long
WIDTH = 4  # notes: windows are twice as wide, and a new one begins after this many
COMMON, SAME, OTHER = 3.0, 1.0, -2.0  # bits that correct what a word is worth; see `worth`
MOST = 255  # votes that one window can have
READ = 0.04  # places that a query looks at, as a share of all notes: rare words say more than common ones,
ENOUGH = 100_000  # ... but this many in any case


def interval_ngrams(pitches: np.ndarray, n: int = 3) -> list[tuple[int, ...]]:
    """Make a word of each run of n intervals.

    >>> interval_ngrams([60, 62, 64, 60, 67], n=3)
    [(2, 2, -4), (2, -4, 7)]

    Args:
        pitches: MIDI numbers (notes,).
        n: intervals per word.

    Returns: the words, in order; none if there are no more than n notes.

    Chapter 6.
    """
    intervals = np.diff(np.rint(pitches)).astype(int).tolist()
    return [tuple(intervals[i : i + n]) for i in range(len(intervals) - n + 1)]


def rhythm_ngrams(starts: np.ndarray, n: int = 3) -> list[str]:
    """Make a word of each run of n comparisons: is a note shorter (<), about as long (=) or longer (>) than the last?

    >>> rhythm_ngrams([0, 1, 2, 2.5, 3, 4], n=3)
    ['=<=', '<=>']

    A note is taken to last until the next begins, so the way of playing does not matter.

    Args:
        starts: onset times (notes,), in any unit.
        n: comparisons per word.

    Returns: the words, in order.

    Chapter 6.
    """
    lengths = np.diff(np.asarray(starts, dtype=float))
    signs = "".join(">" if b > LONGER * a else "<" if a > LONGER * b else "=" for a, b in pairwise(lengths))
    return [signs[i : i + n] for i in range(len(signs) - n + 1)]


def words_of(pitches: np.ndarray, starts: np.ndarray | None = None) -> list[tuple[int, int, tuple[int, ...], str]]:
    """List the words of a melody as an index needs them.

    >>> words_of([60, 62, 64, 60], starts=[0, 1, 2, 4])
    [(0, 0, (2, 2, -4), '=>'), (0, 2, (2, 2), '='), (1, 2, (2, -4), '>')]

    Args:
        pitches: MIDI numbers (notes,).
        starts: onset times (notes,), in any unit, or None.

    Returns: for each word its place (of its first note), its pattern (a position in PATTERNS), the intervals between
    its notes and, if there are starts, its rhythm, which is otherwise "".

    Chapter 6.
    """
    words, pitches = [], np.asarray(pitches)
    for place, (number, pattern) in product(range(len(pitches)), enumerate(PATTERNS)):
        notes = [place + offset for offset in pattern]
        if notes[-1] < len(pitches):
            (intervals,) = interval_ngrams(pitches[notes], len(notes) - 1)
            rhythm = "" if starts is None else rhythm_ngrams(np.asarray(starts)[notes], len(notes) - 2)[0]
            words.append((place, number, tuple(max(-WIDEST, min(WIDEST, step)) for step in intervals), rhythm))
    return words


def worth(share: float, rhythm: str, other: str) -> int:
    """How many votes does a place get at which a word of the query occurs: the more, the rarer the word is.

    >>> worth(1 / 1024, "==", "=>"), worth(1 / 1024, "", "=>")
    (12, 14)

    Args:
        share: of all notes, those at which these intervals begin.
        rhythm: of the word in the query; "" if it has none.
        other: the rhythm that the word has there.

    Returns: two votes per bit of information, at least 0. The information is -log2(share), less COMMON because
    neighbouring words share notes, and more or less where the rhythm agrees or does not.

    Source: Sparck Jones, "A statistical interpretation of term specificity", 1972. Chapter 6.
    """
    agreement = sum(SAME if a == b else OTHER for a, b in zip(rhythm, other, strict=False))
    return max(0, round(2 * (-log2(share) - COMMON + agreement)))


class InvertedIndex:
    """Where does each word occur? To answer a query, only the places of its own words are looked at.

    >>> index = InvertedIndex(Lines.from_pieces([Melody.from_pitches([60, 62, 64, 65, 67, 60])]))
    >>> index.postings[0, (2, 2, 1)]
    [(0, '==')]
    >>> index.votes([70, 72, 74, 75])
    Counter({1: 6, 2: 6})

    Each place votes for where the whole query would then begin. A query with mistakes still has words whose votes
    agree, while chance meetings are scattered. Windows overlap, because one note too many or too few moves the vote.

    Args:
        lines: what to index.

    Chapter 6.
    """

    def __init__(self, lines: Lines):
        self.notes = len(lines.pitches)
        self.postings: dict[tuple, list[tuple[int, str]]] = defaultdict(list)  # (pattern, intervals) -> place, rhythm
        for first, last in pairwise(lines.offsets.tolist()):
            for place, pattern, intervals, rhythm in words_of(lines.pitches[first:last], lines.starts[first:last]):
                self.postings[pattern, intervals].append((first + place, rhythm))

    def votes(self, pitches: np.ndarray, starts: np.ndarray | None = None) -> Counter[int]:
        """Count the votes for each window: in window w, the query begins in one of 2 * WIDTH places.

        Args:
            pitches: of the query (notes,).
            starts: its onset times (notes,), or None.

        Returns: votes for window w, whose first place is (w - 1) * WIDTH - len(pitches); at most MOST.
        """
        words = [(place, rhythm, self.postings[pattern, intervals])
                 for place, pattern, intervals, rhythm in words_of(pitches, starts)]  # fmt: skip
        votes, read = Counter(), 0
        for place, rhythm, found in sorted(words, key=lambda word: len(word[2])):  # the rarest first
            read += len(found)
            if read > max(READ * self.notes, ENOUGH):
                break
            for there, other in found:
                window = (there - place + len(pitches)) // WIDTH
                for w in (window, window + 1):
                    votes[w] = min(MOST, votes[w] + worth(len(found) / self.notes, rhythm, other))
        return votes
