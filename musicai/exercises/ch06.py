"""Exercises of chapter 6, finding a melody."""

import numpy as np

from musicai.notes import Melody

from .framework import exercise

TUNE = [67, 69, 71, 67, 64, 62, 64, 67, 69, 71, 74, 71, 69, 67, 69, 71]
TUNES = {
    "Frere Jacques": [60, 62, 64, 60, 60, 62, 64, 60, 64, 65, 67, 67, 64, 65, 67, 67],
    "Au clair de la lune": [60, 60, 60, 62, 64, 64, 62, 62, 60, 64, 62, 62, 60, 60, 60],
    "Ode to Joy": [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62],
}


@exercise("06.1", "Twelve notes have eleven intervals and nine 3-grams; subtract those that use note 6.")
def grams_left() -> int:
    """How many 3-grams of intervals of a 12-note query survive if its sixth note is wrong?"""
    return 9 - 4


@exercise("06.2", "The reciprocal of a place is 1 / (index + 1), and 0 if the right tune isn't in the list.")
def mean_reciprocal_rank(rankings: list[list[int]], right: list[int]) -> float:
    """The mean, over all queries, of 1 / place of the right tune; places begin at 1.

    `rankings` has, for each query, tune numbers from best to worst; `right` has the number of each query's right tune.
    """
    pairs = zip(rankings, right, strict=True)
    return float(np.mean([1 / (ranking.index(one) + 1) if one in ranking else 0.0 for ranking, one in pairs]))


_RANKINGS = ([[7, 3, 5], [2, 9, 4], [1, 8, 6]], [7, 4, 5]), ([[3, 1], [1, 3], [2, 0]], [1, 1, 0]), ([[3, 1]], [2])
mean_reciprocal_rank.cases("The mean reciprocal rank of {1} in {0}", *_RANKINGS)


@exercise("06.3", "Row 0 is all zeros: the stretch may begin anywhere. Take the last row's least: it may end anywhere.")
def fewest_errors(query: list[int], tune: list[int]) -> int:
    """The fewest wrong, missing and extra notes that turn `query` into some stretch of `tune`, in the same key."""
    row = np.zeros(len(tune) + 1, dtype=int)
    for i, pitch in enumerate(query, 1):
        above, row = row, np.full(len(tune) + 1, i)
        for j, other in enumerate(tune, 1):
            row[j] = min(above[j - 1] + (pitch != other), above[j] + 1, row[j - 1] + 1)
    return int(row.min())


_QUERIES = [TUNE[4:9], [64, 62, 65, 67], [62, 67, 69, 71], [64, 62, 60, 64, 67], [50, 51, 52]]
_QUERIES += [TUNE[2:6] + TUNE[9:13], [*TUNE[:5], 66, *TUNE[5:9]], [*TUNE, 60]]
fewest_errors.cases("The fewest errors of {} in {}", *((query, TUNE) for query in _QUERIES), ([60, 62], []))


@exercise("06.4", "Add one to every count, divide by the totals, and take the logarithm of the ratio.")
def learned_costs(same_counts: np.ndarray, unrelated_counts: np.ndarray) -> np.ndarray:
    """The score (D,) of each of D pitch differences: the log of its share in `same_counts` (D,) over that in the other.

    The arguments say how often each difference occurred. One is added to each count, so that nothing is impossible.
    """
    a, b = same_counts + 1, unrelated_counts + 1
    return np.log(a / a.sum()) - np.log(b / b.sum())


_COUNTS = [[90, 7, 2, 0], [20, 25, 30, 25]], [[0, 0, 0], [0, 8, 0]], [[1000, 3], [5, 5]]
learned_costs.cases("Your answer for the counts {} and {}", *(tuple(np.array(pair)) for pair in _COUNTS))


@exercise("06.5", "Two right pairs fix a line. Try all lines through two pairs, and keep the one close to most pairs.")
def speed_and_start(clip: np.ndarray, file: np.ndarray) -> tuple[float, float]:
    """(speed, start) with file = start + speed * clip, from pairs of times (N,) in seconds, most of them wrong."""
    i, j = np.triu_indices(len(clip), 1)
    i, j = i[clip[i] != clip[j]], j[clip[i] != clip[j]]
    speed = (file[j] - file[i]) / (clip[j] - clip[i])
    start = file[i] - speed * clip[i]
    near = np.abs(start[:, None] + speed[:, None] * clip - file) < 0.02  # (lines, N)
    best = near.sum(1).argmax()
    slope, offset = np.polyfit(clip[near[best]], file[near[best]], 1)
    return float(slope), float(offset)


def _pairs(speed: float, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Times in a clip and in a file, eight right pairs among eighteen."""
    clip = np.sort(_rng.uniform(0, 8, 18)).round(2)
    return clip, np.where(_rng.permutation(18) < 8, start + speed * clip, _rng.uniform(0, 60, 18)).round(2)


_rng = np.random.default_rng(4)
_CLIPS = _pairs(1.0, 12.0), _pairs(1.05, 40.5), _pairs(0.96, 3.2)
speed_and_start.cases("The pair (speed, start) for clip = {} and file = {}", *_CLIPS, rtol=0, atol=0.03)


@exercise("06.6", "Build a MelodyIndex of Melodies, and give its find the pair (audio, sr): bare numbers are pitches.")
def sing_and_find(audio: np.ndarray, sr: int, tunes: dict[str, list[int]]) -> str:
    """Which of the `tunes` (name -> pitches of equal length) is hummed in `audio` (time,), in any key and tempo?"""
    from musicai.search import MelodyIndex

    melodies = [Melody.from_pitches(pitches, name=name) for name, pitches in tunes.items()]
    return MelodyIndex.build(melodies, progress=False).find((audio, sr), k=1)[0].title


def _hummed(pitches: list[int], shift: int, beat: float, sr: int = 16_000) -> np.ndarray:
    """A plain voice that glides from note to note and is a little sharp: harmonics over a smoothed pitch."""
    pitch = np.repeat(np.array(pitches) + shift + 0.3, int(beat * sr))
    pitch = np.convolve(np.pad(pitch, 400, mode="edge"), np.full(801, 1 / 801), mode="valid")
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / sr
    return (0.3 * sum(np.sin(n * phase) / n for n in range(1, 6))).astype(np.float32)


_HUMS = _hummed(TUNES["Frere Jacques"], -12, 0.6), _hummed(TUNES["Ode to Joy"], -7, 0.42)
sing_and_find.cases("What is hummed", *((hum, 16_000, TUNES) for hum in _HUMS))
