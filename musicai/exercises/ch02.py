"""Exercises of chapter 2, Features."""

import numpy as np

from .framework import exercise


@exercise("02.1", "Bins are sr / n_fft hertz apart; two of them must fit into the semitone.")
def frame_for_c2() -> int:
    """The smallest n_fft, a power of two, that puts C2 and C#2 at least two bin widths apart at 16 kHz."""
    return 2 ** int(np.ceil(np.log2(2 * 16_000 / (69.30 - 65.41))))


@exercise("02.2", "Like the transform, but rotating the other way and divided by N.")
def idft(X: np.ndarray) -> np.ndarray:
    """The inverse DFT: `X`, complex (N,), back to `x`, complex (N,)."""
    n = np.arange(len(X))
    return np.exp(2j * np.pi * np.outer(n, n) / len(X)) @ X / len(X)


_rng = np.random.default_rng(2)
idft.cases("The inverse of {}", *((_rng.normal(size=(n, 2)) @ (1, 1j),) for n in (1, 2, 7, 16)), atol=1e-5)


@exercise("02.3", "Sum frequency times magnitude, divide by the sum of magnitudes; bin k is at k * sr / n_fft.")
def centroid(S: np.ndarray, sr: int) -> np.ndarray:
    """Mean frequency in Hz, weighted by magnitude: `S` (1 + n_fft // 2, frames) -> (frames,)."""
    hz = np.arange(len(S)) * sr / (2 * (len(S) - 1))
    return hz @ S / S.sum(0)


_FRAMES = np.array([[0, 1, 0], [2, 0, 3], [0, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=float)
centroid.cases("Your answer for S at {1} Hz", (_FRAMES, 800), (_rng.random((1025, 4)), 16_000))


@exercise("02.4", "np.roll(a, n) moves the chroma up by n semitones; try all twelve and keep the best.")
def transposition(a: np.ndarray, b: np.ndarray) -> int:
    """By how many semitones, 0 to 11, chroma `a` (12,) must be raised to correlate best with `b`."""
    return int(np.argmax([np.corrcoef(np.roll(a, n), b)[0, 1] for n in range(12)]))


_CHROMAS = ((a, 0.5 * np.roll(a, n) + 0.1) for n, a in zip((0, 3, 7, 11), _rng.random((4, 12)), strict=True))
transposition.cases("The transposition from {} to {}", *_CHROMAS)


@exercise("02.5", "Find all local maxima, go through them from the strongest down, keep any far enough from all kept.")
def pick(strength: np.ndarray, threshold: float, gap: int) -> list[int]:
    """Frames of onsets, in order: local maxima above `threshold`, at least `gap` apart.

    A local maximum is greater than the frame before it and at least the frame after it;
    the two ends are none. Of two that are too close, the stronger one stays.
    """
    inner = strength[1:-1]
    peaks = 1 + np.flatnonzero((inner > strength[:-2]) & (inner >= strength[2:]) & (inner > threshold))
    kept: list[int] = []
    for peak in sorted(peaks, key=lambda i: -strength[i]):
        if all(abs(peak - other) >= gap for other in kept):
            kept.append(int(peak))
    return sorted(kept)


_STRENGTH = np.array([9, 0, 1, 5, 1, 0, 3, 3, 0, 7, 0, 6, 0, 8, 2, 0, 0, 2, 0, 9], dtype=float)
_SETTINGS = (0.5, 1), (2.5, 1), (0.5, 3), (0.5, 5), (8, 1)
_HILL = np.array([0, 5, 0, 0, 7, 0, 0, 9, 0, 0, 6, 0, 0, 4, 0], dtype=float)  # the order of choosing matters
pick.cases("Your list for {} with threshold {} and gap {}", *((_STRENGTH, *s) for s in _SETTINGS), (_HILL, 1, 4))


@exercise("02.6", "Fill the first row of D with its own costs alone, and carry along where each path began.")
def locate(cost: np.ndarray) -> tuple[int, int]:
    """First and last column of the cheapest path through all rows of `cost`.

    `cost` is (frames of the phrase, frames of the recording). Steps as in the chapter:
    (1, 1), (1, 0), (0, 1). The path may begin and end in any column.
    """
    D, start = np.array(cost, dtype=float), np.zeros(cost.shape, dtype=int)
    start[0] = np.arange(cost.shape[1])
    for i in range(1, cost.shape[0]):
        for j in range(cost.shape[1]):
            cells = [(i - 1, j - 1), (i - 1, j), (i, j - 1)] if j else [(i - 1, j)]
            best = min(cells, key=lambda cell: D[cell])
            D[i, j], start[i, j] = cost[i, j] + D[best], start[best]
    end = int(D[-1].argmin())
    return int(start[-1, end]), end


def _cost(length: int, begin: int, pace: int) -> np.ndarray:
    """The cost of a phrase of `length` frames against 20 frames, from `begin` on of which it is played more slowly."""
    phrase = _rng.permutation(20)[:length] * 1.0
    played = np.repeat(phrase, [1, *[pace] * (length - 2), 1][:length])  # held in the middle: the ends are clear
    recording = 100 + _rng.random(20)
    recording[begin : begin + len(played)] = played
    recording[[begin, begin + len(played) - 1]] += 0.25  # elsewhere, a single frame fits each end better
    recording[[(begin + len(played) + 3) % 20, (begin - 4) % 20]] = phrase[[0, -1]] + [0, 0.1]
    return np.abs(phrase[:, None] - recording)


_PLAYED = (1, 4, 1), (5, 0, 1), (6, 9, 1), (6, 7, 2), (4, 14, 2), (5, 3, 3)
locate.cases("Your answer for the cost {}", *((_cost(*played),) for played in _PLAYED))
