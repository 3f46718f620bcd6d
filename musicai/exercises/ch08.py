"""Exercises of chapter 8, performing."""

import numpy as np

from .framework import exercise

WALTZ = [[60, 64, 67], [57, 60, 64], [62, 65, 69, 72]]
RNG = np.random.default_rng(8)


@exercise("08.1", hint="Let an angle run from 0 to a quarter turn: cosine on the left, sine on the right.")
def pan_gains(place: float) -> tuple[float, float]:
    """The gains of the left and the right loudspeaker for a place from -1 (left) to 1 (right): the squares add up to 1,
    and the angle whose tangent is right / left grows linearly from 0 to a quarter turn."""
    angle = np.pi / 4 * (place + 1)
    return float(np.cos(angle)), float(np.sin(angle))


pan_gains.cases("The pair of gains at place {0}", (-1.0,), (0.0,), (1.0,), (-0.4,), (0.75,))


@exercise("08.2", hint="60 dB is a factor of 1000 in amplitude, and each sample multiplies by the same factor.")
def echo_envelope(seconds: float, sr: int, n: int) -> np.ndarray:
    """The first `n` samples of the amplitude of an echo that begins at 1 and falls by 60 dB in `seconds`."""
    return 1000 ** (-np.arange(n) / (seconds * sr))


echo_envelope.cases("The envelope of {0} s at {1} Hz", (1.0, 1_000, 1_001), (0.5, 8_000, 100), (2.5, 100, 400))


@exercise("08.3", hint="Find the note in the scale, go back two steps, and mind the octave when you pass the lowest.")
def second_fiddle(pitches: list[int], scale: list[int]) -> list[int]:
    """A second part, two steps of the scale below each note. `scale` holds seven pitch classes in ascending order, and
    every pitch belongs to it."""
    steps = [12 * (pitch // 12) + scale[scale.index(pitch % 12) - 2] for pitch in pitches]
    return [step - 12 * (step > pitch) for step, pitch in zip(steps, pitches, strict=True)]


_IN_G = [67, 69, 71, 72, 74, 76, 78, 79], [0, 2, 4, 6, 7, 9, 11]
_IN_C = [[60, 62, 64, 65, 67, 69, 71, 72], [62, 65, 69, 72, 71, 74, 62]]
second_fiddle.cases("The part below {0} in the scale {1}", _IN_G, *((part, [0, 2, 4, 5, 7, 9, 11]) for part in _IN_C))


@exercise("08.4", hint="Root an octave down on beat 0, 3, 6 ...; the chord without its root on the two beats after it.")
def oom_pah(chords: list[list[int]]) -> list[tuple[int, int]]:
    """A waltz accompaniment as (beat, pitch), by beat and then pitch. Each bar of three beats has one chord, its root
    first: that sounds an octave lower on the first beat, and the other notes on the second and on the third. The piece
    begins on beat 0."""
    bars = [[(0, chord[0] - 12)] + [(beat, p) for beat in (1, 2) for p in sorted(chord[1:])] for chord in chords]
    return [(3 * i + beat, pitch) for i, bar in enumerate(bars) for beat, pitch in bar]


oom_pah.cases("The accompaniment of {0}", (WALTZ[:1],), (WALTZ,), ([[55, 71, 62, 65]],))


@exercise("08.5", hint="The eigenvalues of X Xᵀ, or the squared singular values of X, say what each component holds.")
def components_needed(X: np.ndarray, share: float) -> int:
    """How many principal components of the columns of `X` (features, examples), not centred, leave out at most this
    share of the sum of squares?"""
    squares = np.linalg.svd(X, compute_uv=False) ** 2
    left = 1 - np.cumsum(squares) / squares.sum()
    return int(np.argmax(left <= share)) + 1


_KNOWN, _TALL = np.diag([5.0, 4.0, 3.0, 1.0]), RNG.standard_normal((8, 40)) * np.arange(1, 9)[:, None]
_LEFT_OUT = (_KNOWN, 0.2), (_KNOWN, 0.03), (_TALL, 0.1), (RNG.standard_normal((6, 3)), 1e-9)
components_needed.cases("The number of components that leave out a share of {1}", *_LEFT_OUT)


@exercise("08.6", hint="There are two limits in decibels; take the smaller one, and only then turn it into a factor.")
def safe_gain(loudness: float, peak: float, wanted: float, ceiling: float) -> float:
    """The factor that brings a sound to the `wanted` loudness in LUFS, or as near as its peak (an amplitude) can be
    lifted without passing the `ceiling` in dB."""
    return float(10 ** (min(wanted - loudness, ceiling - 20 * np.log10(peak)) / 20))


_SOUNDS = (-20.0, 0.5, -16.0, -1.0), (-30.0, 0.5, -16.0, -1.0), (-10.0, 0.99, -16.0, -1.0)
safe_gain.cases("The gain for {0} LUFS with peak {1}, towards {2} LUFS below {3} dB", *_SOUNDS)
