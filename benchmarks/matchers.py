"""Peers that benchmarks/search.py measures beside ours, written from descriptions or with other people's libraries.

`FolkFriendStyle` works as FolkFriend (github.com/TomWyllie/folkfriend) describes itself: tunes as text, one letter per
eighth note and pitch, 4-grams to find candidates, then Needleman and Wunsch's alignment. `Music21Windows` compares the
strings of music21.search with difflib, as its own `scoreSimilarity` does, window by window. Neither knows any
transposition, so they are asked in the key of the tune.
"""

import difflib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numba import njit
from scipy.signal import lfilter, oaconvolve

from musicai.notes import Melody

FOLD = 12  # pitches are folded into one octave; on recordings, this peer did better so than with two
CANDIDATES = 500


class FolkFriendStyle:
    """4-grams on absolute pitch, then alignment of the query with part of each candidate.

    >>> scale, song = Melody.from_pitches([60, 62, 64, 65, 67], 0.5), Melody.from_pitches([67, 64, 64, 65, 62], 0.5)
    >>> FolkFriendStyle([scale, song]).rank([64, 64, 65, 62], [0.5] * 4, eighth=0.5)
    [1]
    """

    def __init__(self, tunes: Sequence[Melody]):
        self.texts = [letters(tune.pitches, tune.durations / 0.5) for tune in tunes]
        self.owners = defaultdict(set)
        for i, text in enumerate(self.texts):
            for gram in _grams(text):
                self.owners[gram].add(i)

    def rank(self, pitches: Sequence, durations: Sequence, eighth: float | None = None) -> list[int]:
        """The numbers of the tunes that share 4-grams with the query, best first.

        Without the length of an eighth, the median duration is taken for one, as most notes of dance tunes are.
        """
        query = letters(pitches, np.asarray(durations) / (eighth or np.median(durations)))
        shared = Counter(i for gram in set(_grams(query)) for i in self.owners.get(gram, ()))
        scores = {i: needleman_wunsch(query, self.texts[i]) for i, _ in shared.most_common(CANDIDATES)}
        return sorted(scores, key=scores.__getitem__, reverse=True)


def letters(pitches: Sequence, eighths: Sequence) -> np.ndarray:
    """int64: each pitch, folded, as often as it has eighth notes (1 to 8 times)."""
    folded = np.rint(pitches).astype(np.int64) % FOLD
    return np.repeat(folded, np.clip(np.rint(eighths), 1, 8).astype(np.int64))


def _grams(text: np.ndarray) -> list[int]:
    return (np.lib.stride_tricks.sliding_window_view(text, 4) @ FOLD ** np.arange(4)).tolist() if len(text) > 3 else []


@njit(cache=True)
def needleman_wunsch(query: np.ndarray, text: np.ndarray, match=2.0, other=-1.0, gap=-1.0) -> float:
    """The best score of the whole query against any part of the text."""
    above = np.zeros(len(text) + 1)  # the query may begin anywhere
    for i in range(len(query)):
        diagonal, above[0] = above[0], above[0] + gap
        for j in range(len(text)):
            both = diagonal + (match if query[i] == text[j] else other)
            diagonal = above[j + 1]
            above[j + 1] = max(both, diagonal + gap, above[j] + gap)
    return above.max()


class Music21Windows:
    """The strings of `music21.search.translateStreamToStringNoRhythm`, compared by difflib in a rolling window."""

    def __init__(self, tunes: Sequence[Melody]):
        self.texts = [self._text(tune.pitches) for tune in tunes]

    @staticmethod
    def _text(pitches: Sequence) -> str:
        from music21 import note, search, stream

        return search.translateStreamToStringNoRhythm(stream.Stream([note.Note(int(p)) for p in pitches]))

    def rank(self, pitches: Sequence, step: int = 2) -> list[int]:
        """The numbers of all tunes, best first."""
        query = self._text(pitches)
        matcher, scores = difflib.SequenceMatcher(None, b=query), []
        for text in self.texts:
            windows = (text[i : i + len(query)] for i in range(0, max(1, len(text) - len(query) + step), step))
            scores.append(max(matcher.set_seq1(window) or matcher.ratio() for window in windows))
        return np.argsort(scores, kind="stable")[::-1].tolist()


def spoiled(sound: np.ndarray, rng: np.random.Generator, snr: float = 5.0) -> np.ndarray:
    """Play a sound (16 kHz) in a room that rings for half a second, with noise that is `snr` decibels softer."""
    tail = rng.standard_normal(8000) * 10 ** (-3 * np.arange(8000) / 8000)
    wet = sound + oaconvolve(sound, tail / np.sqrt((tail**2).sum()))[: len(sound)]
    noise = lfilter([1], [1, -0.9], rng.standard_normal(len(sound)))
    wet += noise * np.sqrt((wet**2).mean() / (noise**2).mean()) * 10 ** (-snr / 20)
    return (wet / np.abs(wet).max()).astype(np.float32)
