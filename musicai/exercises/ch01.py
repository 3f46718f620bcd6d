"""Exercises of chapter 1, Music as data."""

from collections.abc import Iterator
from itertools import islice, pairwise
from operator import length_hint

import numpy as np

from .framework import Wrong, call, exercise


@exercise("01.1", "Samples per second, times channels, times bytes per sample, times seconds.")
def bytes_a_minute() -> int:
    """How many bytes does one minute of uncompressed stereo audio take at 44.1 kHz and 16 bits?"""
    return 44_100 * 2 * 2 * 60


@exercise("01.2", "The spectrum repeats every sr hertz; fold whatever lies above sr / 2 back below it.")
def alias(frequency: float, sr: float) -> float:
    """The frequency in Hz, from 0 to sr / 2, that you hear when a tone of `frequency` Hz is sampled at `sr` Hz."""
    return min(frequency % sr, -frequency % sr)  # how far it is from the multiples of sr below and above


_TONES = (440, 16_000), (9_000, 16_000), (15_560, 16_000), (16_440, 16_000), (30_000, 8_000)
alias.cases("The alias of {} Hz at {} samples per second", *_TONES)


@exercise("01.3", "Solve |y| = log(1 + mu |x|) / log(1 + mu) for |x|, and keep the sign.")
def expand(y: np.ndarray, mu: int) -> np.ndarray:
    """The inverse of mu-law compression: `y` in [-1, 1], any shape, back to samples `x` in [-1, 1]."""
    return np.sign(y) * ((1 + mu) ** np.abs(y) - 1) / mu


_CURVE = np.array([-1, -0.6, -0.1, 0, 0.002, 0.4, 0.9, 1])
expand.cases("{} expanded with mu = {}", (_CURVE, 255), (_CURVE, 7), (_CURVE.reshape(2, 4), 7))


@exercise("01.4", "Compare each pitch with the one before it: a tune of n notes has n - 1 letters.")
def parsons(pitches: list[int]) -> str:
    """The Parsons code: "U", "D" or "R" for each step of a tune that goes up, down, or repeats the pitch."""
    return "".join("UDR"[0 if b > a else 1 if b < a else 2] for a, b in pairwise(pitches))


parsons.cases("The code of {}", ([60, 60, 67, 67, 69, 69, 67],), ([72, 71, 72, 72],), ([60],))


@exercise("01.5", "Look for the query's intervals among the tune's, not for the pitches themselves.")
def contains(tune: list[int], query: list[int]) -> bool:
    """Whether the pitches of `query` (two or more) occur in a row in `tune`, in any transposition."""
    steps, wanted = np.diff(tune).tolist(), np.diff(query).tolist()
    return any(steps[i : i + len(wanted)] == wanted for i in range(len(steps) - len(wanted) + 1))


_TUNE = [67, 69, 67, 64, 67, 69, 67, 64, 74, 74, 71]
_QUERIES = [67, 69, 67], [60, 62, 60, 57], [79, 79, 76], [67, 64, 71], [67, 67, 69], _TUNE, [*_TUNE, 71], [60, 60, 60]
contains.cases("For the tune {} and the query {} the answer", *((_TUNE, query) for query in _QUERIES))


@exercise("01.6", "Make a set of the training tunes' intervals, as tuples; look up each test tune in it.")
def leaked(train: list[list[int]], test: list[list[int]]) -> float:
    """The fraction of `test` tunes that also occur in `train`, in any transposition; a tune is a list of pitches."""
    known = {tuple(np.diff(tune)) for tune in train}
    return sum(tuple(np.diff(tune)) in known for tune in test) / len(test)


_TRAIN = [[60, 62, 64], [67, 67, 69, 71], [72, 71, 69, 67], [55, 60, 64, 67]]
_TEST = [[65, 67, 69], [60, 62, 65], [48, 48, 50, 52], [72, 71, 69, 67], [67, 67, 69]]
_AGAIN = [[55, 60, 64, 67], [54, 59, 63, 66], [54, 59, 63, 66], [1, 2]]
_TESTS = _TEST, [[67, 65, 64, 62], [60, 62, 64, 65], [60, 74, 76]], _AGAIN
leaked.cases("The fraction of leaked tunes for train = {} and test = {}", *((_TRAIN, test) for test in _TESTS))


@exercise("01.7", "Fill a list with `size` items; then yield a random one and put the next item in its place.")
def shuffled(items: Iterator, size: int, rng: np.random.Generator) -> Iterator:
    """Yield all `items` once, shuffled through a buffer: never hold more than `size` + 1 of them in memory."""
    items = iter(items)
    waiting = list(islice(items, size))
    for item in items:
        i = int(rng.integers(len(waiting)))
        yield waiting[i]
        waiting[i] = item
    rng.shuffle(waiting)
    yield from waiting


@shuffled.checker
def _(answer):
    for size in (1, 8, 100):
        got, held = call(_drawn, answer, size, 1)
        if sorted(map(str, got)) != sorted(map(str, range(40))):
            raise Wrong(f"Of 40 items with a buffer of {size}, each should come out once; {len(got)} came out.")
        if held > size + 1:
            raise Wrong(f"With a buffer of {size}, your function held {held} items in memory at once.")
        others = [list(range(40)), call(_drawn, answer, size, 2)[0]]
        if (size > 1 and got in others) or got != call(_drawn, answer, size, 1)[0]:
            raise Wrong(f"A buffer of {size} should shuffle the items, and `rng` alone should decide their order.")
    runs = [call(_drawn, answer, 8, seed)[0] for seed in range(60)]
    late = max(place - item for run in runs for place, item in enumerate(run))
    # Fair draws miss three of the eight, or keep none waiting, less than once in a billion times.
    if late <= 8 or len({str(run[0]) for run in runs}) < 6:
        raise Wrong("With a buffer of 8, draw one item at a time: any of them may come first, and some wait for long.")


def _drawn(answer, size: int, seed: int) -> tuple[list, int]:
    """What comes out of 40 items, and the most that were in memory when one came out, with that one."""
    items = iter(range(40))
    read = [(item, 40 - length_hint(items)) for item in islice(answer(items, size, np.random.default_rng(seed)), 80)]
    return [item for item, _ in read], max((n - place for place, (_, n) in enumerate(read)), default=0)
