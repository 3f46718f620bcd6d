"""Plausible wrong answers to the exercises of chapter 8; the checker must refuse each of them."""

import numpy as np


def _below(pitches, scale, steps=2):
    """The right part, so many steps below."""
    rows = [divmod(pitch, 12) for pitch in pitches]
    degrees = [7 * octave + scale.index(tone) - steps for octave, tone in rows]
    return [12 * (degree // 7) + scale[degree % 7] for degree in degrees]


def _bars(first, others, chords):
    """An accompaniment with such a first beat and such other beats."""
    return [(3 * i + b, p) for i, c in enumerate(chords) for b in range(3) for p in (others if b else first)(c)]


WRONG = {
    "08.1": [
        lambda place: ((1 - place) / 2, (1 + place) / 2),
        lambda place: (np.sqrt((1 - place) / 2), np.sqrt((1 + place) / 2)),
        lambda place: (np.sin(np.pi / 4 * (place + 1)), np.cos(np.pi / 4 * (place + 1))),
        lambda place: (np.cos(np.pi / 4 * place), np.sin(np.pi / 4 * place)),
    ],
    "08.2": [
        lambda seconds, sr, n: 10 ** (-6 * np.arange(n) / (seconds * sr)),
        lambda seconds, sr, n: np.exp(-np.arange(n) / (seconds * sr)),
        lambda seconds, sr, n: 1000 ** (-np.arange(n) / n),
        lambda seconds, sr, n: np.linspace(1, 0.001, n),
    ],
    "08.3": [
        lambda pitches, scale: [pitch - 3 for pitch in pitches],
        lambda pitches, scale: [pitch - 4 for pitch in pitches],
        lambda pitches, scale: [12 * (p // 12) + scale[scale.index(p % 12) - 2] for p in pitches],
        lambda pitches, scale: _below(pitches, scale, 3),
        lambda pitches, scale: _below(pitches, scale, -2),
    ],
    "08.4": [
        lambda chords: _bars(lambda c: [c[0]], lambda c: sorted(c[1:]), chords),
        lambda chords: _bars(lambda c: [c[0] - 12], sorted, chords),
        lambda chords: _bars(lambda c: [c[0] - 12], lambda c: c[1:], chords),
        lambda chords: _bars(lambda c: [min(c) - 12], lambda c: sorted(c)[1:], [[67, 60, 64], *chords]),
    ],
    "08.5": [
        lambda X, share: int(np.argmax(1 - np.cumsum(s := np.linalg.svd(X)[1]) / s.sum() <= share)) + 1,
        lambda X, share: int(np.argmax(1 - np.cumsum(s := np.linalg.svd(X)[1] ** 2) / s.sum() <= share)),
        lambda X, share: len(X),
    ],
    "08.6": [
        lambda loudness, peak, wanted, ceiling: 10 ** ((wanted - loudness) / 20),
        lambda loudness, peak, wanted, ceiling: 10 ** (ceiling / 20) / peak,
        lambda loudness, peak, wanted, ceiling: 10 ** (min(wanted - loudness, ceiling - 10 * np.log10(peak)) / 20),
        lambda loudness, peak, wanted, ceiling: 10 ** (min(wanted - loudness, ceiling - 20 * np.log10(peak)) / 10),
    ],
}
