"""The words of `musicai.search.ngrams` as numbers, compiled.

A number is made of a word's pattern, intervals and rhythm; words that differ only in rhythm are neighbours.
"""

import numpy as np
from numba import njit

from musicai.search.ngrams import LONGER, PATTERNS, WIDEST

RHYTHMS = 9  # numbers for words that differ only in rhythm: two comparisons at most
_NOTES = np.array([len(pattern) for pattern in PATTERNS])
_OFFSETS = np.array([pattern + (0,) * (max(_NOTES) - len(pattern)) for pattern in PATTERNS])
_FIRST = np.cumsum([0, *((2 * WIDEST + 1) ** (_NOTES - 1))])  # of each pattern's words, before rhythm

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
