"""Where in a line does a contour fit, at any key and tempo? Subsequence dynamic time warping. Chapter 6.

Both are cut into equal frames, the contour in seconds and the line in beats, as if its notes came at one of `PACES`. A
path then pairs every frame of the contour with a frame of the line, and it may start and end anywhere in the line.
"""

from itertools import pairwise

import numpy as np

from .contours import Contour

PACES = 0.14 * 2 ** (np.arange(5) / 2)  # seconds per note: a path may run at half or at twice each of them
CAP = 2.0  # semitones: a wrong note costs no more, however wrong it is
OCTAVE = 0.25  # semitones added to a note in another octave, where trackers often land
BEND = 0.25  # the cost of a step at half or at twice the tempo


def pitch_cost(difference: np.ndarray, octave: float = OCTAVE) -> np.ndarray:
    """What it costs to hear a pitch where the line has another: squared, gentle on octaves, and from 0 to 1.

    >>> pitch_cost(np.array([0.0, 1.0, -12.0, 6.0])).tolist()
    [0.0, 0.25, 0.015625, 1.0]

    Args:
        difference: semitones, any shape.
        octave: semitones that a change of octave counts; 0 compares pitch classes.

    Returns: costs of the same shape.

    Chapter 6.
    """
    folded = np.abs(difference - 12 * np.round(difference / 12))
    semitones = np.minimum(np.abs(difference), octave + folded)
    return np.minimum(semitones / CAP, 1) ** 2


def query_frames(contour: Contour, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a contour into frames: the median pitch of each, and a weight that is lower where the pitch is unsure.

    >>> contour = Contour(np.float32([60, 60, 62, np.nan]), np.float32([1, 1, 1, 0]), rate=4.0)
    >>> [values.tolist() for values in query_frames(contour, rate=2.0)]
    [[60.0, 62.0], [1.0, 0.5]]

    Args:
        contour: the query.
        rate: frames per second, at most the contour's own.

    Returns: pitches (frames,), 0 where there is none, and weights (frames,) from 0 to 1.

    Chapter 6.
    """
    count = max(1, int(contour.seconds * rate))
    which = np.minimum((np.arange(len(contour.pitches)) * rate / contour.rate).astype(int), count - 1)
    edges = np.searchsorted(which, np.arange(count + 1))
    spans = [(contour.pitches[a:b], contour.confidences[a:b]) for a, b in pairwise(edges)]
    pitches = np.array([np.nanmedian(p) if np.isfinite(p).any() else 0.0 for p, _ in spans])
    return pitches, np.array([c.mean() for _, c in spans])


def line_frames(pitches, starts, durations, step: float, more: int = 0) -> np.ndarray:
    """Read a line every `step` beats: the note that sounds there, or the last one during a rest.

    Tunes are played several times over, so the line may begin again after its end.

    >>> line_frames(np.array([60, 62]), np.array([0.0, 1.0]), np.array([1.0, 0.5]), step=0.5, more=2).tolist()
    [60, 60, 62, 60, 60]

    Args:
        pitches: MIDI numbers (notes,).
        starts: in beats (notes,).
        durations: in beats (notes,).
        step: beats from one frame to the next.
        more: frames of the second time, at most the whole line.

    Returns: MIDI numbers (frames,).

    Chapter 6.
    """
    count = max(1, int((starts[-1] + durations[-1] - starts[0]) / step))
    middles = starts[0] + (np.arange(count) + 0.5) * step
    once = pitches[np.searchsorted(starts, middles, side="right") - 1]
    return np.concatenate((once, once[:more]))


def beats_per_note(starts: np.ndarray) -> float:
    """How far apart the notes of a line are, as a geometric mean, so that a few long rests hardly count.

    >>> round(beats_per_note(np.array([0.0, 1.0, 3.0, 4.0, 6.0])), 3)
    1.414

    Args:
        starts: in beats (notes,).

    Returns: beats; 1 for a single note.

    Chapter 6.
    """
    return float(np.exp(np.mean(np.log(np.diff(starts))))) if len(starts) > 1 else 1.0


def warp(costs: np.ndarray, bend: float = BEND) -> tuple[float, int, int]:
    """Find the cheapest path through a table of costs by dynamic programming.

    Each frame of the query is on the path. From one to the next, the path moves one frame ahead in the line, or two; or
    it moves one frame ahead in two frames of the query. So its slope stays between 1/2 and 2.

    >>> warp(np.array([[9, 0, 9, 9], [9, 9, 0, 9], [9, 9, 9, 0]]))
    (0.0, 1, 4)

    Args:
        costs: (frames of the query, frames of the line), what it costs to pair them.
        bend: the cost of a step that is not diagonal.

    Returns: the path's cost, infinite if the line is too short, and the frames of the line from its start to its end.

    Source: subsequence DTW as in Mueller, "Fundamentals of Music Processing" (2015), section 7.2.
    Chapter 6.
    """
    n, m = costs.shape
    total = np.full((n + 1, m + 2), np.inf)  # a row above and two columns before, from which no path comes
    start = np.zeros((n + 1, m + 2), dtype=int)
    total[1, 2:], start[1, 2:] = costs[0], np.arange(m)
    for i in range(2, n + 1):
        for j in range(2, m + 2):
            ways = (
                (total[i - 1, j - 1], start[i - 1, j - 1]),
                (total[i - 1, j - 2] + bend, start[i - 1, j - 2]),
                (total[i - 2, j - 1] + costs[i - 2, j - 2] + bend, start[i - 2, j - 1]),
            )
            best, start[i, j] = min(ways, key=lambda way: way[0])
            total[i, j] = best + costs[i - 1, j - 2]
    end = int(total[n].argmin())
    return float(total[n, end]), int(start[n, end]), end - 1
